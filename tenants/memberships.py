"""Changes to the team of a business: invite, accept, change a role, remove. A business always keeps an owner."""

from __future__ import annotations

from sqlalchemy import ColumnElement, select

from auth.models import Identity
from auth.sessions import Visit
from billing.model.email_address import clean_address
from core import clock
from core.db import Database, ScopedSession
from core.errors import N_, Conflict, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit
from core.scope import Actor, everything
from core.transaction_retry import retried
from tenants import granted_access
from tenants.emails import notify_owners
from tenants.roles import ROLES
from tenants.team import INVITATION_LIFE, Invitation, Membership, is_open


def invite(db: ScopedSession, business_id: str, email: str, role: str, *, by: str | None = None) -> Invitation:
    """Invite a person to the team; the worker sends the email. An older open invitation of the address is revoked.

    Raises Invalid (fields email, role), Conflict if the address is already in the team.
    """
    address, key = clean_address(email)
    if role not in ROLES:
        raise Invalid(fields={"role": N_("Choose one of the roles.")})
    if db.scalar(select(Membership.id).where(_of(business_id), Membership.email_key == key, Membership.removed_at.is_(None))):
        raise Conflict("MEMBER_ALREADY", N_("This person is already in the team."))
    at = clock.wall()
    for older in db.scalars(select(Invitation).where(Invitation.business_id == business_id, Invitation.email_key == key, *is_open())):
        older.revoked_at = at
    row = Invitation(
        business_id=business_id,
        id=new_id("inv"),
        email=address,
        email_key=key,
        role=role,
        invited_by=by,
        created_at=at,
        expires_at=at + INVITATION_LIFE,
    )
    db.add(row)
    db.flush()
    emit(db, "team.invited", business_id=business_id, noun=row.id, data={"email": address, "role": role})
    return row


def revoke(db: ScopedSession, invitation_id: str) -> Invitation:
    """Revoke an open invitation. Raises NotFound."""
    row = db.scalar(select(Invitation).where(Invitation.id == invitation_id, *is_open()))
    if row is None:
        raise NotFound(sentence=N_("This invitation no longer exists."))
    row.revoked_at = clock.wall()
    emit(db, "team.invitation_revoked", business_id=row.business_id, noun=row.id, data={"email": row.email})
    return row


@retried
def accept(database: Database, visit: Visit, invitation_id: str) -> Membership:
    """Add the person to the team. Raises NotFound unless the invitation is open and the visit verified its address.

    An invitation ends when its sender may no longer invite. The sender's row is locked first, as in `remove`.
    """
    with database.open(everything("accept an invitation"), write=True) as db:
        sender = select(Invitation.invited_by).where(Invitation.id == invitation_id).scalar_subquery()
        db.scalar(select(Membership).where(Membership.id == sender).with_for_update())
        row = db.scalar(
            select(Invitation)
            .where(Invitation.id == invitation_id, Invitation.email_key.in_(visit.addresses), *is_open())
            .with_for_update()
        )
        if row is None or visit.identity_id is None:
            raise NotFound(sentence=N_("This invitation no longer exists."))
        row.accepted_at = clock.wall()
        return join(db, row.business_id, visit.identity_id, email=row.email, email_key=row.email_key, role=row.role)


def join(db: ScopedSession, business_id: str, identity_id: str, *, email: str, email_key: str, role: str) -> Membership:
    """Add a person to the team, or add them again. `db` runs under everything(), because the person has no scope yet."""
    name = db.scalar(select(Identity.name).where(Identity.identity_id == identity_id)) or ""
    found = db.scalar(select(Membership).where(_of(business_id), Membership.identity_id == identity_id).with_for_update())
    if found is None:
        found = Membership(
            business_id=business_id,
            id=new_id("mem"),
            identity_id=identity_id,
            email=email,
            email_key=email_key,
            name=name,
            role=role,
            created_at=clock.wall(),
        )
        db.add(found)
    elif found.removed_at is not None:
        found.email, found.email_key, found.role, found.removed_at = email, email_key, role, None
    db.flush()
    emit(
        db,
        "team.joined",
        business_id=business_id,
        noun=found.id,
        data={"email": found.email, "role": found.role},
        actor=Actor("staff", found.id),
    )
    notify_owners(db, "team_joined", role, business_id=business_id, actor=Actor("staff", found.id))
    return found


def change_role(db: ScopedSession, membership_id: str, role: str) -> Membership:
    """Change a role, from the next request on. Raises NotFound, Invalid (role), Conflict (last owner)."""
    if role not in ROLES:
        raise Invalid(fields={"role": N_("Choose one of the roles.")})
    row = _locked_member(db, membership_id, stays_owner=role == "owner")
    if row.role != role:
        was, row.role = row.role, role
        granted_access.end_granted_access(db, row, role)
        emit(db, "team.role_changed", business_id=row.business_id, noun=row.id, data={"email": row.email, "was": was, "role": role})
        notify_owners(db, "team_role_changed", row.email)
    return row


def remove(db: ScopedSession, membership_id: str, *, keys_go_to: str | None = None) -> Membership:
    """Remove a member, from the next request on, and end the access they granted (tenants/granted_access.py).

    `keys_go_to`: the membership that takes over their API keys, which are revoked otherwise.
    Raises NotFound, Conflict (last owner).
    """
    row = _locked_member(db, membership_id, stays_owner=False)
    row.removed_at = clock.wall()
    granted_access.end_granted_access(db, row, None, keys_go_to)
    emit(db, "team.removed", business_id=row.business_id, noun=row.id, data={"email": row.email, "role": row.role})
    notify_owners(db, "team_removed", row.email)
    return row


def _locked_member(db: ScopedSession, membership_id: str, stays_owner: bool) -> Membership:
    """Return a membership after locking all owner rows, so that two owners cannot remove each other at the same time."""
    owners = list(
        db.scalars(
            select(Membership).where(Membership.role == "owner", Membership.removed_at.is_(None)).order_by(Membership.id).with_for_update()
        )
    )
    row = db.scalar(select(Membership).where(Membership.id == membership_id, Membership.removed_at.is_(None)).with_for_update())
    if row is None:
        raise NotFound(sentence=N_("This person is not in the team."))
    if not stays_owner and [owner.id for owner in owners] == [row.id]:
        raise Conflict("LAST_OWNER", N_("A business needs an owner. Make another person an owner first."))
    return row


def _of(business_id: str) -> ColumnElement[bool]:
    return Membership.business_id == business_id
