"""The team: who works here, in which role, and who is invited. Changing it wants a fresh proof, and every owner is told."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from core.errors import Conflict, Invalid
from core.web import db, here
from portal.proof import is_fresh
from tenants import joining, powers
from tenants import team as query
from tenants.console.door import bp, fresh, me, needs
from tenants.powers import MAKES_KEYS
from tenants.roles import DUTIES, ROLES, may


@bp.get("/<business_id>/team")
@needs("team.read")
def team() -> ResponseReturnValue:
    return _page({}, {})


@bp.post("/<business_id>/team/invitations")
@needs("team.write")
@fresh
def invite() -> ResponseReturnValue:
    typed = {"email": request.form.get("email", "")[:320], "role": request.form.get("role", "")}
    try:
        joining.invite(db(), me().business_id, typed["email"], typed["role"], by=me().id)
    except Invalid as wrong:
        return _page(typed, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    except Conflict as problem:
        return _page(typed, {"email": _(problem.sentence)}), 422
    flash(_("We send a letter to %(address)s. They join by signing in with that address.", address=typed["email"].strip()), "good")
    return redirect(here("console.team"), 303)


@bp.post("/<business_id>/team/invitations/<invitation_id>/revocation")
@needs("team.write")
@fresh
def revoke_invitation(invitation_id: str) -> ResponseReturnValue:
    joining.revoke(db(), invitation_id)
    flash(_("The invitation is taken back."), "good")
    return redirect(here("console.team"), 303)


@bp.post("/<business_id>/team/<membership_id>/role")
@needs("team.write")
@fresh
def change_role(membership_id: str) -> ResponseReturnValue:
    """A refusal is said on the page: nothing was changed by it."""
    try:
        changed = joining.change_role(db(), membership_id, request.form.get("role", ""))
    except (Conflict, Invalid) as problem:
        return _refused(problem)
    flash(_("%(address)s is now: %(role)s.", address=changed.email, role=ROLES[changed.role]), "good")
    return redirect(here("console.team"), 303)


@bp.post("/<business_id>/team/<membership_id>/removal")
@needs("team.write")
@fresh
def remove_member(membership_id: str) -> ResponseReturnValue:
    try:
        keeps = request.form.get("keys") == "keep" and membership_id != me().id
        gone = joining.remove(db(), membership_id, keys_go_to=me().id if keeps else None)
    except Conflict as problem:
        return _refused(problem)
    flash(_("%(address)s is out of the team, from their next click on.", address=gone.email), "good")
    return redirect("/console" if gone.id == me().id else here("console.team"), 303)


def _refused(problem: Conflict | Invalid) -> ResponseReturnValue:
    flash(_(next(iter(problem.fields.values()), problem.sentence)), "due")
    return redirect(here("console.team"), 303)


def _page(typed: dict[str, str], errors: dict[str, str]) -> str:
    members = query.members(db())
    return render_template(
        "tenants/console/team.html", members=members, keys_made=powers.keys_made(db(), members), makes_keys=MAKES_KEYS,
        invitations=query.open_invitations(db()), roles=ROLES, duties=DUTIES,
        values=typed, errors=errors, is_fresh=is_fresh(), role_may=may, prefix=here("console.team"))
