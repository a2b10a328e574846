"""A person's passkeys: add, rename, remove. Adding and removing need a recent sign-in and email every address."""

from __future__ import annotations

from flask import Response, flash, redirect, render_template, request, session
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import cookies, passkeys, sessions
from auth.devices import device_words
from auth.passkey_ceremonies import RelyingParty, relying_party
from auth.sessions import Visit
from core.errors import N_, Forbidden, Invalid, NotFound, Unauthorized
from core.request_context import db, services
from portal import step_up
from unified import door

_PATH = "/profile/passkeys"
CEREMONY = "passkey"


@door.get(_PATH)
def passkey_list() -> ResponseReturnValue:
    return _page()


@door.post(_PATH + "/options")
def new_passkey_options() -> ResponseReturnValue:
    """Return the JSON options for navigator.credentials.create()."""
    visit, party = _visit(), _party()
    if not step_up.is_fresh():
        raise Forbidden("PROOF_NEEDED", _("Sign in again first."))
    browser = cookies.browser(services().settings)
    session[CEREMONY], options = passkeys.registration_options(services().database, services().settings, party, visit, browser)
    answer = Response(options, mimetype="application/json")
    cookies.keep_browser(services().settings, answer, browser)
    return answer


@door.post(_PATH)
def add_passkey() -> ResponseReturnValue:
    visit, party = _visit(), _party()
    if not step_up.is_fresh():
        return step_up.prove(_PATH)
    name = request.form.get("name", "")
    try:
        passkeys.add(
            db(),
            services().settings,
            party,
            visit,
            ceremony_id=str(session.pop(CEREMONY, "")),
            browser=cookies.read(services().settings, "browser") or "",
            credential=request.form.get("credential", ""),
            name=name,
        )
    except Invalid as wrong:
        return _page(name[:60], _(wrong.fields["credential"])), 422
    flash(_("Your passkey is ready. You can use it the next time you sign in."), "good")
    return redirect(_PATH, 303)


@door.post(_PATH + "/<credential_id>/name")
def name_passkey(credential_id: str) -> ResponseReturnValue:
    _visit()
    passkeys.rename(db(), credential_id, request.form.get("name", ""))
    flash(_("Saved."), "good")
    return redirect(_PATH, 303)


@door.post(_PATH + "/<credential_id>/removal")
def remove_passkey(credential_id: str) -> ResponseReturnValue:
    visit = _visit()
    if not step_up.is_fresh():
        return step_up.prove(_PATH)
    passkeys.remove(db(), credential_id, visit.session_id)
    flash(_("Passkey removed. Other browsers that signed in with it are signed out."), "good")
    return redirect(_PATH, 303)


def _visit() -> Visit:
    """Return the visit if it opens the whole account. Sessions of a secondary address cannot manage passkeys."""
    visit = sessions.current_visit()
    if visit is None or not visit.is_person:
        raise Unauthorized()
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", N_("Sign in with your main address first."))
    return visit


def _party() -> RelyingParty:
    party = relying_party(services().settings)
    if party is None:
        raise NotFound()
    return party


def _page(name: str = "", error: str = "") -> str:
    _visit()
    return render_template(
        "unified/passkeys.html",
        passkeys=passkeys.of_person(db()),
        name=name or device_words(request.user_agent.string),
        error=error,
        is_fresh=step_up.is_fresh(),
        works=relying_party(services().settings) is not None,
        prove_url=sessions.fresh_proof_url(_PATH),
    )
