"""Before a business is chosen: the ones somebody works at, and the invitations that wait for them."""

from __future__ import annotations

from flask import flash, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import sessions
from auth.sessions import Visit
from core.errors import NotFound, Unauthorized
from core.web import house
from tenants import joining, team
from tenants.console import nav
from tenants.console.door import bp, lobby, me, needs
from tenants.roles import ROLES


@bp.get("")
@lobby
def businesses() -> ResponseReturnValue:
    visit = person()
    return render_template(
        "tenants/console/businesses.html", memberships=team.memberships(house().database, visit), roles=ROLES,
        invitations=team.invitations_for(house().database, visit), visit=visit)


@bp.post("/invitations/<invitation_id>/acceptance")
@lobby
def accept_invitation(invitation_id: str) -> ResponseReturnValue:
    joined = joining.accept(house().database, person(), invitation_id)
    flash(_("You are in. Your role here: %(role)s.", role=ROLES[joined.role]), "good")
    return redirect(f"/console/{joined.business_id}", 303)


@bp.get("/<business_id>")
@needs("customers.read")
def home() -> ResponseReturnValue:
    page = nav.first_page(me())
    if page is None:
        raise NotFound()
    return redirect(page, 303)


def person() -> Visit:
    visit = sessions.current()
    if visit is None or not visit.is_person:
        raise Unauthorized()
    return visit
