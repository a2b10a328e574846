"""The providers a person signs in with: add one, remove one. The letter stays, so none of them is ever the last way in."""

from __future__ import annotations

from flask import flash, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import sessions
from auth.providers import leaving, parties, views
from auth.sessions import Visit
from core.errors import Forbidden, NotFound, Unauthorized
from core.web import db, house
from portal import proof
from unified import door

_HERE = "/profile/providers"


@door.get(_HERE)
def provider_list() -> ResponseReturnValue:
    _visit()
    offered = parties.of_operator(house().settings)
    return render_template(
        "unified/providers.html", logins=leaving.of_person(db()), names={one.key: one.label for one in offered},
        offered=[(one.key.removeprefix("op/"), one.label) for one in offered], is_fresh=proof.is_fresh(),
        prove_url=sessions.fresh_proof_url(_HERE))


@door.post(_HERE + "/<provider>")
def add_provider(provider: str) -> ResponseReturnValue:
    visit = _visit()
    party = parties.named(house().settings, provider)
    if party is None:
        raise NotFound()
    if not proof.is_fresh():
        return proof.prove(_HERE)
    return views.leave(party, "link", _HERE, visit.identity_id)


@door.post(_HERE + "/<login_id>/removal")
def remove_login(login_id: str) -> ResponseReturnValue:
    visit = _visit()
    if not proof.is_fresh():
        return proof.prove(_HERE)
    leaving.remove(db(), house().settings, login_id, visit.session_id)
    flash(_("Removed. It does not sign you in any more; the letter always does."), "good")
    return redirect(_HERE, 303)


def _visit() -> Visit:
    visit = sessions.current()
    if visit is None or not visit.is_person:
        raise Unauthorized()
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", "Sign in with your main address first.")
    return visit
