"""The businesses that a person belongs to, and their pending invitations."""

from __future__ import annotations

from flask import flash, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import sessions
from auth.sessions import Visit
from core.errors import Unauthorized
from core.request_context import services
from tenants import memberships, team
from tenants.console.access import bp, outside_business
from tenants.roles import ROLES


@bp.get("")
@outside_business
def businesses() -> ResponseReturnValue:
    visit = person()
    return render_template(
        "tenants/console/businesses.html",
        memberships=team.memberships(services().database, visit),
        roles=ROLES,
        invitations=team.invitations_for(services().database, visit),
        visit=visit,
    )


@bp.post("/invitations/<invitation_id>/acceptance")
@outside_business
def accept_invitation(invitation_id: str) -> ResponseReturnValue:
    joined = memberships.accept(services().database, person(), invitation_id)
    flash(_("You have joined. Your role: %(role)s.", role=ROLES[joined.role]), "good")
    return redirect(f"/console/{joined.business_id}", 303)


def person() -> Visit:
    visit = sessions.current_visit()
    if visit is None or not visit.is_person:
        raise Unauthorized()
    return visit
