"""The team: members, roles and invitations. Changes require a recent sign-in, and every owner is notified."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from core.errors import Conflict, Invalid
from core.links import here
from core.request_context import db
from portal.step_up import is_fresh
from tenants import granted_access, memberships
from tenants import team as query
from tenants.console.access import bp, current_member, needs, needs_fresh_proof
from tenants.granted_access import MAKES_KEYS
from tenants.roles import DUTIES, ROLES, may


@bp.get("/<business_id>/team")
@needs("team.read")
def team() -> ResponseReturnValue:
    return _page({}, {})


@bp.post("/<business_id>/team/invitations")
@needs("team.write")
@needs_fresh_proof
def invite() -> ResponseReturnValue:
    typed = {"email": request.form.get("email", "")[:320], "role": request.form.get("role", "")}
    try:
        memberships.invite(db(), current_member().business_id, typed["email"], typed["role"], by=current_member().id)
    except Invalid as wrong:
        return _page(typed, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    except Conflict as problem:
        return _page(typed, {"email": _(problem.sentence)}), 422
    flash(_("We email %(address)s. They join by signing in with that address.", address=typed["email"].strip()), "good")
    return redirect(here("console.team"), 303)


@bp.post("/<business_id>/team/invitations/<invitation_id>/revocation")
@needs("team.write")
@needs_fresh_proof
def revoke_invitation(invitation_id: str) -> ResponseReturnValue:
    memberships.revoke(db(), invitation_id)
    flash(_("The invitation is revoked."), "good")
    return redirect(here("console.team"), 303)


@bp.post("/<business_id>/team/<membership_id>/role")
@needs("team.write")
@needs_fresh_proof
def change_role(membership_id: str) -> ResponseReturnValue:
    """Change a member's role. A refusal is shown on the team page."""
    try:
        changed = memberships.change_role(db(), membership_id, request.form.get("role", ""))
    except (Conflict, Invalid) as problem:
        return _refused(problem)
    flash(_("The role of %(address)s is now %(role)s.", address=changed.email, role=ROLES[changed.role]), "good")
    return redirect(here("console.team"), 303)


@bp.post("/<business_id>/team/<membership_id>/removal")
@needs("team.write")
@needs_fresh_proof
def remove_member(membership_id: str) -> ResponseReturnValue:
    try:
        keeps = request.form.get("keys") == "keep" and membership_id != current_member().id
        gone = memberships.remove(db(), membership_id, keys_go_to=current_member().id if keeps else None)
    except Conflict as problem:
        return _refused(problem)
    flash(_("%(address)s is removed from the team.", address=gone.email), "good")
    return redirect("/console" if gone.id == current_member().id else here("console.team"), 303)


def _refused(problem: Conflict | Invalid) -> ResponseReturnValue:
    flash(_(next(iter(problem.fields.values()), problem.sentence)), "due")
    return redirect(here("console.team"), 303)


def _page(typed: dict[str, str], errors: dict[str, str]) -> str:
    members = query.members(db())
    return render_template(
        "tenants/console/team.html",
        members=members,
        keys_made=granted_access.keys_made(db(), members),
        makes_keys=MAKES_KEYS,
        invitations=query.open_invitations(db()),
        roles=ROLES,
        duties=DUTIES,
        values=typed,
        errors=errors,
        is_fresh=is_fresh(),
        role_may=may,
        prefix=here("console.team"),
    )
