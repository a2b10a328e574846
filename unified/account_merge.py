"""Merge two accounts of one person. Each side agrees or refuses on this page."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import account_merge, cookies, email_addresses, sessions, sign_in_context
from auth.devices import device_words
from auth.sessions import Visit
from core import i18n
from core.errors import N_, Forbidden, NotFound, Unauthorized
from core.request_context import services
from portal import step_up
from unified import door

_LIST = "/profile/addresses"
_HERE = _LIST + "/merges/<merge_id>"


@door.get(_HERE)
def merge(merge_id: str) -> ResponseReturnValue:
    proposal = account_merge.view(services().database, _visit(), merge_id)
    url = f"{_LIST}/merges/{merge_id}"
    return render_template(
        "unified/merge.html", proposal=proposal, url=url, is_fresh=step_up.is_fresh(), prove_url=sessions.fresh_proof_url(url)
    )


@door.post(_HERE)
def agree_to_merge(merge_id: str) -> ResponseReturnValue:
    visit = _visit()
    if not step_up.is_fresh():
        return step_up.prove(f"{_LIST}/merges/{merge_id}")
    is_asker = account_merge.view(services().database, visit, merge_id).is_asker
    if not account_merge.agree(services().database, visit, merge_id):
        flash(_("You’ve agreed. The accounts are merged once the other account agrees too."), "wait")
        return redirect(f"{_LIST}/merges/{merge_id}", 303)
    flash(_("The accounts are merged. We emailed every address."), "good")
    if not is_asker:
        return redirect("/login", 303)  # the other side's sessions ended with it
    return sign_in_context.opens_more(redirect(_LIST, 303), visit)


@door.post(_HERE + "/refusal")
def refuse_to_merge(merge_id: str) -> ResponseReturnValue:
    account_merge.refuse(services().database, _visit(), merge_id)
    flash(_("The accounts weren’t merged. Nothing was changed."), "good")
    return redirect(_LIST, 303)


@door.post(_HERE + "/address")
def take_address(merge_id: str) -> ResponseReturnValue:
    """Move only the confirmed address, which is not the main address of its account."""
    visit = _visit()
    if not step_up.is_fresh():
        return step_up.prove(f"{_LIST}/merges/{merge_id}")
    email_addresses.take(services().database, visit, merge_id)
    flash(_("The email address is now in your account. We emailed the other account."), "good")
    return sign_in_context.opens_more(redirect(_LIST, 303), visit)


@door.post(_HERE + "/email")
def email_to_main(merge_id: str) -> ResponseReturnValue:
    """Email a link to the main address of the other account. Opening it in this browser counts as that account's consent."""
    visit, settings = _visit(), services().settings
    if not step_up.is_fresh():
        return step_up.prove(f"{_LIST}/merges/{merge_id}")
    proposal = account_merge.view(services().database, visit, merge_id)
    if not proposal.is_asker or proposal.is_main or proposal.has_passkey:
        raise NotFound()
    browser = cookies.browser(settings)
    due = email_addresses.request_address(
        services().database,
        settings,
        visit,
        proposal.other_main,
        browser=browser,
        source=request.remote_addr,
        device=device_words(request.user_agent.string),
        locale=i18n.locale(),
        next=_LIST,
    )
    if wait := sign_in_context.seconds_until(due):
        flash(
            _("We will email the main address of that account in about %(seconds)d seconds. Open the link in this browser.", seconds=wait),
            "good",
        )
    else:
        flash(_("We emailed the main address of that account. Open the link in this browser."), "good")
    answer = redirect(f"{_LIST}/merges/{merge_id}", 303)
    cookies.keep_browser(settings, answer, browser)
    return answer


def _visit() -> Visit:
    visit = sessions.current_visit()
    if visit is None or not visit.is_person:
        raise Unauthorized()
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", N_("Sign in with your main address first."))
    return visit
