"""A person's email addresses: add one, choose the main one, remove one. Each change needs a recent sign-in."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import account_merge, cookies, email_addresses, sessions, sign_in_context
from auth.devices import device_words
from auth.sessions import Visit
from core import i18n
from core.errors import Invalid, Unauthorized
from core.request_context import services
from unified import door

_PATH = "/profile/addresses"


@door.get(_PATH)
def addresses() -> ResponseReturnValue:
    return _page()


@door.post(_PATH)
def add_address() -> ResponseReturnValue:
    """Email a confirmation link. The response does not reveal whether the address has an account."""
    visit = _visit()
    if not sessions.proved_within(visit):
        return _prove()
    settings, email = services().settings, request.form.get("email", "")
    browser = cookies.browser(settings)
    try:
        due = email_addresses.request_address(
            services().database,
            settings,
            visit,
            email,
            browser=browser,
            source=request.remote_addr,
            device=device_words(request.user_agent.string),
            locale=i18n.locale(),
            next=_PATH,
        )
    except Invalid as wrong:
        return _page(email[:320], _(wrong.fields["email"])), 422
    if wait := sign_in_context.seconds_until(due):
        flash(
            _(
                "We will email %(address)s in about %(seconds)d seconds. Open the link in this browser.",
                address=email.strip(),
                seconds=wait,
            ),
            "good",
        )
    else:
        flash(_("We emailed %(address)s. Open the link in this browser.", address=email.strip()), "good")
    answer = redirect(_PATH, 303)
    cookies.keep_browser(settings, answer, browser)
    return answer


@door.post(_PATH + "/removal")
def remove_address() -> ResponseReturnValue:
    visit = _visit()
    if not sessions.proved_within(visit):
        return _prove()
    email_addresses.remove(services().database, visit, request.form.get("address", ""))
    flash(_("Email address removed. Browsers that signed in with it are signed out."), "good")
    return redirect(_PATH, 303)


@door.post(_PATH + "/main")
def name_main_address() -> ResponseReturnValue:
    visit = _visit()
    if not sessions.proved_within(visit):
        return _prove()
    email_addresses.make_primary(services().database, visit, request.form.get("address", ""))
    flash(_("Your main email address was changed."), "good")
    return sign_in_context.opens_more(redirect(_PATH, 303), visit)


def _visit() -> Visit:
    visit = sessions.current_visit()
    if visit is None or not visit.is_person:
        raise Unauthorized()
    return visit


def _prove() -> ResponseReturnValue:
    """Redirect to the sign-in page, which returns here."""
    return redirect(sessions.fresh_proof_url(_PATH), 303)


def _page(email: str = "", error: str = "") -> str:
    visit = _visit()
    return render_template(
        "unified/addresses.html",
        visit=visit,
        email=email,
        error=error,
        is_fresh=sessions.proved_within(visit),
        opens_all=visit.opens_all,
        waiting=account_merge.pending(services().database, visit),
        prove_url=sessions.fresh_proof_url(_PATH),
    )
