"""Joining and leaving a business's team: invite, accept, change a role, remove. A business is never without an owner."""

from __future__ import annotations

from sqlalchemy import select

from auth.models import Identity
from auth.sessions import Visit
from billing.addresses import clean_address
from core import clock
from core.conflicts import retried
from core.db import Database, ScopedSession
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit
from core.scope import Actor, everything
from tenants import powers
from tenants.letters import tell_owners
from tenants.roles import ROLES
from tenants.team import INVITATION_LIFE, Invitation, Membership, is_open


def invite(db: ScopedSession, business_id: str, email: str, role: str, *, by: str | None = None) -> Invitation:
    """Ask somebody to join; the worker writes the letter. An older open invitation of the address ends.

    Raises Invalid (fields email, role), Conflict when the address is in the team already.
    """
    address, key = clean_address(email)
    if role not in ROLES:
        raise Invalid(fields={"role": "Choose one of the roles."})
    if db.scalar(select(Membership.id).where(_of(business_id), Membership.email_key == key, Membership.removed_at.is_(None))):
        raise Conflict("MEMBER_ALREADY", "This address is in the team already.")
    at = clock.wall()
    for older in db.scalars(select(Invitation).where(Invitation.business_id == business_id, Invitation.email_key == key, *is_open())):
        older.revoked_at = at
    row = Invitation(business_id=business_id, id=new_id("inv"), email=address, email_key=key, role=role, invited_by=by, created_at=at,
                     expires_at=at + INVITATION_LIFE)
    db.add(row)
    db.flush()
    emit(db, "team.invited", business_id=business_id, noun=row.id, data={"email": address, "role": role})
    return row


def revoke(db: ScopedSession, invitation_id: str) -> Invitation:
    """Take an open invitation back. Raises NotFound."""
    row = db.scalar(select(Invitation).where(Invitation.id == invitation_id, *is_open()))
    if row is None:
        raise NotFound(sentence="There is no such invitation any more.")
    row.revoked_at = clock.wall()
    emit(db, "team.invitation_revoked", business_id=row.business_id, noun=row.id, data={"email": row.email})
    return row


@retried
def accept(database: Database, visit: Visit, invitation_id: str) -> Membership:
    """The person proved the invited address, so they join. Raises NotFound for anybody else's invitation, or one that is over:
    one whose sender may not invite any more is over as well. The sender's row is locked first, as where they are removed."""
    with database.open(everything("accept an invitation"), write=True) as db:
        sender = select(Invitation.invited_by).where(Invitation.id == invitation_id).scalar_subquery()
        db.scalar(select(Membership).where(Membership.id == sender).with_for_update())
        row = db.scalar(select(Invitation).where(
            Invitation.id == invitation_id, Invitation.email_key.in_(visit.addresses), *is_open()).with_for_update())
        if row is None or visit.identity_id is None:
            raise NotFound(sentence="There is no such invitation any more.")
        row.accepted_at = clock.wall()
        return join(db, row.business_id, visit.identity_id, email=row.email, email_key=row.email_key, role=row.role)


def join(db: ScopedSession, business_id: str, identity_id: str, *, email: str, email_key: str, role: str) -> Membership:
    """Make somebody staff, or staff again. `db` runs under everything(): the person has no scope at the business yet."""
    name = db.scalar(select(Identity.name).where(Identity.identity_id == identity_id)) or ""
    found = db.scalar(select(Membership).where(_of(business_id), Membership.identity_id == identity_id).with_for_update())
    if found is None:
        found = Membership(business_id=business_id, id=new_id("mem"), identity_id=identity_id, email=email, email_key=email_key, name=name,
                           role=role, created_at=clock.wall())
        db.add(found)
    elif found.removed_at is not None:
        found.email, found.email_key, found.role, found.removed_at = email, email_key, role, None
    db.flush()
    emit(db, "team.joined", business_id=business_id, noun=found.id, data={"email": found.email, "role": found.role},
         actor=Actor("staff", found.id))
    tell_owners(db, "team_joined", role, business_id=business_id, actor=Actor("staff", found.id))
    return found


def change_role(db: ScopedSession, membership_id: str, role: str) -> Membership:
    """From their next request on. Raises NotFound, Invalid (role), Conflict where nobody would be owner."""
    if role not in ROLES:
        raise Invalid(fields={"role": "Choose one of the roles."})
    row = _one(db, membership_id, stays_owner=role == "owner")
    if row.role != role:
        was, row.role = row.role, role
        powers.end(db, row, role)
        emit(db, "team.role_changed", business_id=row.business_id, noun=row.id, data={"email": row.email, "was": was, "role": role})
        tell_owners(db, "team_role_changed", row.email)
    return row


def remove(db: ScopedSession, membership_id: str, *, keys_go_to: str | None = None) -> Membership:
    """Out with their next request; what they gave to others ends (tenants/powers.py). `keys_go_to`: the membership that takes
    over the API keys they made, which stop working otherwise. Raises NotFound, Conflict where nobody would be owner."""
    row = _one(db, membership_id, stays_owner=False)
    row.removed_at = clock.wall()
    powers.end(db, row, None, keys_go_to)
    emit(db, "team.removed", business_id=row.business_id, noun=row.id, data={"email": row.email, "role": row.role})
    tell_owners(db, "team_removed", row.email)
    return row


def _one(db: ScopedSession, membership_id: str, stays_owner: bool) -> Membership:
    """The membership, with every owner's row locked first: two owners who remove each other at once must wait for one another."""
    owners = list(db.scalars(
        select(Membership).where(Membership.role == "owner", Membership.removed_at.is_(None)).order_by(Membership.id)
        .with_for_update()))
    row = db.scalar(select(Membership).where(Membership.id == membership_id, Membership.removed_at.is_(None)).with_for_update())
    if row is None:
        raise NotFound(sentence="There is no such person in the team.")
    if not stays_owner and [one.id for one in owners] == [row.id]:
        raise Conflict("LAST_OWNER", "Somebody has to be the owner. Make another person one first.")
    return row


def _of(business_id: str):  # type: ignore[no-untyped-def]
    return Membership.business_id == business_id
