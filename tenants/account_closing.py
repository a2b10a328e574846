"""Ends the memberships of a closed account, and the access granted through them (tenants/granted_access.py).

Memberships are also found by email address, so a remaining row would give access to whoever verifies the address later.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, or_, select

from auth.sessions import Visit
from billing.model.parties import Business
from core import clock
from core.db import Database, ScopedSession
from core.errors import Conflict
from core.outbox import emit
from core.scope import Actor, everything
from tenants import granted_access
from tenants.emails import notify_owners
from tenants.team import Membership


def only_owner_of(database: Database, visit: Visit) -> list[str]:
    """Return the names of open businesses that have no other owner. They must be handed over or closed first."""
    with database.open(everything("which businesses have this owner alone")) as db:
        keys, names = [key for _email, key, _is_primary in visit.emails], []
        for business in _businesses(db, _of_account(visit.identity_id, keys)):
            owners = list(db.scalars(select(Membership).where(*_owners(business))))
            if _is_last_owner(business, owners, visit.identity_id, keys):
                names.append(business.name)
        return names


def leave_all(db: ScopedSession, identity_id: str, address_keys: Sequence[str]) -> None:
    """End every membership of the account, in the caller's transaction under everything(). Raises Conflict for the last owner.

    Owner rows are locked as in tenants/memberships.py, and businesses in the order of their ids.
    """
    of_account = _of_account(identity_id, address_keys)
    for business in _businesses(db, of_account):
        owners = list(db.scalars(select(Membership).where(*_owners(business)).order_by(Membership.id).with_for_update()))
        if _is_last_owner(business, owners, identity_id, address_keys):
            raise Conflict(
                "LAST_OWNER", f"You are the only owner of {business.name}. Make another person an owner first, or close the business."
            )
        rows = select(Membership).where(Membership.business_id == business.business_id, of_account, Membership.removed_at.is_(None))
        for row in db.scalars(rows.order_by(Membership.id).with_for_update()):
            actor = Actor("staff", row.id)
            row.removed_at = clock.wall()
            granted_access.end_granted_access(db, row, None)
            emit(db, "team.removed", business_id=row.business_id, noun=row.id, data={"email": row.email, "role": row.role}, actor=actor)
            notify_owners(db, "team_left", row.email, business_id=row.business_id, actor=actor)


def _of_account(identity_id: str | None, address_keys: Sequence[str]) -> ColumnElement[bool]:
    return or_(Membership.identity_id == identity_id, Membership.email_key.in_(address_keys))


def _businesses(db: ScopedSession, of_account: ColumnElement[bool]) -> list[Business]:
    business_ids = select(Membership.business_id).where(of_account, Membership.removed_at.is_(None))
    return list(db.scalars(select(Business).where(Business.business_id.in_(business_ids)).order_by(Business.business_id)))


def _owners(business: Business) -> tuple[ColumnElement[bool], ...]:
    return (Membership.business_id == business.business_id, Membership.role == "owner", Membership.removed_at.is_(None))


def _is_last_owner(business: Business, owners: list[Membership], identity_id: str | None, address_keys: Sequence[str]) -> bool:
    """Return whether an open business would be left without an owner. Operators can reopen a closed business."""
    others = [owner for owner in owners if owner.identity_id != identity_id and owner.email_key not in address_keys]
    return business.archived_at is None and bool(owners) and not others
