"""The addresses of a person: add one (proved by a letter), name the main one, remove one. All need a fresh proof."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import cookies, doors, linking, merging, sessions
from auth.devices import device_words
from auth.sessions import Visit
from core import i18n
from core.errors import Invalid, Unauthorized
from core.web import house
from unified import door

_HERE = "/profile/addresses"


@door.get(_HERE)
def addresses() -> ResponseReturnValue:
    return _page()


@door.post(_HERE)
def add_address() -> ResponseReturnValue:
    """The answer is the same whoever the address belongs to."""
    visit = _visit()
    if not sessions.proved_within(visit):
        return _prove()
    settings, email = house().settings, request.form.get("email", "")
    browser = cookies.browser(settings)
    try:
        due = linking.ask_to_add(
            house().database, settings, visit, email, browser=browser, source=request.remote_addr,
            device=device_words(request.user_agent.string), locale=i18n.locale(), next=_HERE,
        )
    except Invalid as wrong:
        return _page(email[:320], _(wrong.fields["email"])), 422
    if wait := doors.seconds_until(due):
        flash(_("We will email %(address)s in about %(seconds)d seconds. Open the link in this browser.", address=email.strip(),
                seconds=wait), "good")
    else:
        flash(_("We sent a letter to %(address)s. Open its link in this browser.", address=email.strip()), "good")
    answer = redirect(_HERE, 303)
    cookies.keep_browser(settings, answer, browser)
    return answer


@door.post(_HERE + "/removal")
def remove_address() -> ResponseReturnValue:
    visit = _visit()
    if not sessions.proved_within(visit):
        return _prove()
    linking.remove(house().database, visit, request.form.get("address", ""))
    flash(_("Removed. Browsers that signed in with it are signed out."), "good")
    return redirect(_HERE, 303)


@door.post(_HERE + "/main")
def name_main_address() -> ResponseReturnValue:
    visit = _visit()
    if not sessions.proved_within(visit):
        return _prove()
    linking.make_primary(house().database, visit, request.form.get("address", ""))
    flash(_("Your main address is changed."), "good")
    return doors.opens_more(redirect(_HERE, 303), visit)


def _visit() -> Visit:
    visit = sessions.current()
    if visit is None or not visit.is_person:
        raise Unauthorized()
    return visit


def _prove() -> ResponseReturnValue:
    """Nothing is changed on an old proof: a letter first, then back here."""
    return redirect(sessions.fresh_proof_url(_HERE), 303)


def _page(email: str = "", error: str = "") -> str:
    visit = _visit()
    return render_template(
        "unified/addresses.html", visit=visit, email=email, error=error, is_fresh=sessions.proved_within(visit),
        opens_all=visit.opens_all,
        waiting=merging.waiting(house().database, visit), prove_url=sessions.fresh_proof_url(_HERE),
    )
