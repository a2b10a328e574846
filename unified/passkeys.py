"""The passkeys of a person: add, name, remove. Adding and removing want a fresh proof; every address hears of it."""

from __future__ import annotations

from flask import Response, flash, redirect, render_template, request, session
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import cookies, passkeys, sessions
from auth.devices import device_words
from auth.passkeys import RelyingParty
from auth.sessions import Visit
from core.errors import Forbidden, Invalid, NotFound, Unauthorized
from core.web import db, house
from portal import proof
from unified import door

_HERE = "/profile/passkeys"
CEREMONY = "passkey"


@door.get(_HERE)
def passkey_list() -> ResponseReturnValue:
    return _page()


@door.post(_HERE + "/options")
def new_passkey_options() -> ResponseReturnValue:
    """JSON for navigator.credentials.create()."""
    visit, party = _visit(), _party()
    if not proof.is_fresh():
        raise Forbidden("PROOF_NEEDED", "Sign in once more first.")
    browser = cookies.browser(house().settings)
    session[CEREMONY], options = passkeys.ask_to_add(house().database, house().settings, party, visit, browser)
    answer = Response(options, mimetype="application/json")
    cookies.keep_browser(house().settings, answer, browser)
    return answer


@door.post(_HERE)
def add_passkey() -> ResponseReturnValue:
    visit, party = _visit(), _party()
    if not proof.is_fresh():
        return proof.prove(_HERE)
    name = request.form.get("name", "")
    try:
        passkeys.add(db(), house().settings, party, visit, str(session.pop(CEREMONY, "")), cookies.read(house().settings, "browser") or "",
                     request.form.get("credential", ""), name)
    except Invalid as wrong:
        return _page(name[:60], _(wrong.fields["credential"])), 422
    flash(_("Your passkey is ready. Next time it signs you in without a letter."), "good")
    return redirect(_HERE, 303)


@door.post(_HERE + "/<credential_id>/name")
def name_passkey(credential_id: str) -> ResponseReturnValue:
    _visit()
    passkeys.rename(db(), credential_id, request.form.get("name", ""))
    flash(_("Saved."), "good")
    return redirect(_HERE, 303)


@door.post(_HERE + "/<credential_id>/removal")
def remove_passkey(credential_id: str) -> ResponseReturnValue:
    visit = _visit()
    if not proof.is_fresh():
        return proof.prove(_HERE)
    passkeys.remove(db(), credential_id, visit.session_id)
    flash(_("Removed. That passkey does not sign in any more, and other browsers it signed in are signed out."), "good")
    return redirect(_HERE, 303)


def _visit() -> Visit:
    """Somebody whose session opens everything: a secondary address does not touch the keys of the whole account."""
    visit = sessions.current()
    if visit is None or not visit.is_person:
        raise Unauthorized()
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", "Sign in with your main address first.")
    return visit


def _party() -> RelyingParty:
    party = passkeys.relying_party(house().settings)
    if party is None:
        raise NotFound()
    return party


def _page(name: str = "", error: str = "") -> str:
    _visit()
    return render_template(
        "unified/passkeys.html", passkeys=passkeys.of_person(db()), name=name or device_words(request.user_agent.string), error=error,
        is_fresh=proof.is_fresh(), works=passkeys.relying_party(house().settings) is not None, prove_url=sessions.fresh_proof_url(_HERE),
    )
