"""Two accounts of one person become one: the page where each side says yes or no."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import cookies, doors, linking, merging, sessions
from auth.devices import device_words
from auth.sessions import Visit
from core import i18n
from core.errors import Forbidden, NotFound, Unauthorized
from core.web import house
from portal import proof
from unified import door

_LIST = "/profile/addresses"
_HERE = _LIST + "/merges/<merge_id>"


@door.get(_HERE)
def merge(merge_id: str) -> ResponseReturnValue:
    asked = merging.look(house().database, _visit(), merge_id)
    url = f"{_LIST}/merges/{merge_id}"
    return render_template("unified/merge.html", asked=asked, url=url, is_fresh=proof.is_fresh(), prove_url=sessions.fresh_proof_url(url))


@door.post(_HERE)
def agree_to_merge(merge_id: str) -> ResponseReturnValue:
    visit = _visit()
    if not proof.is_fresh():
        return proof.prove(f"{_LIST}/merges/{merge_id}")
    is_asker = merging.look(house().database, visit, merge_id).is_asker
    if not merging.agree(house().database, visit, merge_id):
        flash(_("Noted. It is done as soon as the other account says yes as well."), "wait")
        return redirect(f"{_LIST}/merges/{merge_id}", 303)
    flash(_("The two accounts are one now. Every address was told."), "good")
    if not is_asker:
        return redirect("/login", 303)  # the other side's sessions ended with it
    return doors.opens_more(redirect(_LIST, 303), visit)


@door.post(_HERE + "/refusal")
def refuse_to_merge(merge_id: str) -> ResponseReturnValue:
    merging.refuse(house().database, _visit(), merge_id)
    flash(_("The two accounts stay two. Nothing was changed."), "good")
    return redirect(_LIST, 303)


@door.post(_HERE + "/address")
def take_address(merge_id: str) -> ResponseReturnValue:
    """Only the address that was proved, which is not the main one of its account."""
    visit = _visit()
    if not proof.is_fresh():
        return proof.prove(f"{_LIST}/merges/{merge_id}")
    linking.take(house().database, visit, merge_id)
    flash(_("The address is yours now. The other account was told."), "good")
    return doors.opens_more(redirect(_LIST, 303), visit)


@door.post(_HERE + "/letter")
def letter_to_main(merge_id: str) -> ResponseReturnValue:
    """A link to the main address of the other account: opened in this browser, it is that account's yes."""
    visit, settings = _visit(), house().settings
    if not proof.is_fresh():
        return proof.prove(f"{_LIST}/merges/{merge_id}")
    asked = merging.look(house().database, visit, merge_id)
    if not asked.is_asker or asked.is_main or asked.has_passkey:
        raise NotFound()
    browser = cookies.browser(settings)
    due = linking.ask_to_add(house().database, settings, visit, asked.other_main, browser=browser, source=request.remote_addr,
                             device=device_words(request.user_agent.string), locale=i18n.locale(), next=_LIST)
    if wait := doors.seconds_until(due):
        flash(_("We will email the main address of that account in about %(seconds)d seconds. Open the link in this browser.",
                seconds=wait), "good")
    else:
        flash(_("We sent a letter to the main address of that account. Open its link in this browser."), "good")
    answer = redirect(f"{_LIST}/merges/{merge_id}", 303)
    cookies.keep_browser(settings, answer, browser)
    return answer


def _visit() -> Visit:
    visit = sessions.current()
    if visit is None or not visit.is_person:
        raise Unauthorized()
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", "Sign in with your main address first.")
    return visit
