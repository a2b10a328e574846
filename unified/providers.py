"""The identity providers a person signs in with: add one, remove one. Sign-in by email always remains available."""

from __future__ import annotations

from flask import flash, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import sessions
from auth.oidc_client import provider_config, unlink, views
from auth.sessions import Visit
from core.errors import N_, Forbidden, NotFound, Unauthorized
from core.request_context import db, services
from portal import step_up
from unified import door

_PATH = "/profile/providers"


@door.get(_PATH)
def provider_list() -> ResponseReturnValue:
    _visit()
    offered = provider_config.of_operator(services().settings)
    return render_template(
        "unified/providers.html",
        logins=unlink.of_person(db()),
        names={item.key: item.label for item in offered},
        offered=[(item.key.removeprefix("op/"), item.label) for item in offered],
        is_fresh=step_up.is_fresh(),
        prove_url=sessions.fresh_proof_url(_PATH),
    )


@door.post(_PATH + "/<provider>")
def add_provider(provider: str) -> ResponseReturnValue:
    visit = _visit()
    party = provider_config.named(services().settings, provider)
    if party is None:
        raise NotFound()
    if not step_up.is_fresh():
        return step_up.prove(_PATH)
    return views.redirect_to_provider(party, "link", _PATH, visit.identity_id)


@door.post(_PATH + "/<login_id>/removal")
def remove_login(login_id: str) -> ResponseReturnValue:
    visit = _visit()
    if not step_up.is_fresh():
        return step_up.prove(_PATH)
    unlink.remove(db(), services().settings, login_id, visit.session_id)
    flash(_("Removed. You can no longer sign in with it. You can always sign in by email."), "good")
    return redirect(_PATH, 303)


def _visit() -> Visit:
    visit = sessions.current_visit()
    if visit is None or not visit.is_person:
        raise Unauthorized()
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", N_("Sign in with your main address first."))
    return visit
