"""What a member of the team gave to others, or to programs, ends with their own right to give it (docs/identity.md).

* invitations to the team: with the right to change the team
* API keys they made: with the right to make keys, unless whoever removes them takes the keys over
* links that they handed to customers: with the right to invite customers (auth/links.py)
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, select

from auth.links import revoke_those_of
from core import clock
from core.db import ScopedSession
from core.outbox import emit
from tenants.keys import ApiKey, revoke_key
from tenants.roles import may
from tenants.team import Invitation, Membership

INVITES, MAKES_KEYS, LINKS = "team.write", "developers.keys", "customers.invite"


def end(db: ScopedSession, row: Membership, role: str | None, keys_go_to: str | None = None) -> None:
    """`row` has `role` from now on; None: none, they left the team. `keys_go_to`: the membership that answers for their keys now."""
    if role is None or not may(role, INVITES):
        sent = select(Invitation).where(Invitation.business_id == row.business_id, Invitation.invited_by == row.id,
                                        Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None)).order_by(Invitation.id)
        for invitation in db.scalars(sent.with_for_update()):
            invitation.revoked_at = clock.wall()
            emit(db, "team.invitation_revoked", business_id=row.business_id, noun=invitation.id, data={"email": invitation.email})
    if role is None or not may(role, MAKES_KEYS):
        made = select(ApiKey).where(ApiKey.business_id == row.business_id, ApiKey.created_by == row.id, ApiKey.revoked_at.is_(None))
        for key in db.scalars(made.order_by(ApiKey.id).with_for_update()):
            if keys_go_to is not None:
                key.created_by = keys_go_to
            else:
                revoke_key(db, key)
    if role is None or not may(role, LINKS):
        revoke_those_of(db, row.business_id, row.id)


def keys_made(db: ScopedSession, members: Iterable[Membership]) -> dict[str, int]:
    """Membership id → how many keys in use they made. `db` is the business's."""
    query = (select(ApiKey.created_by, func.count()).where(ApiKey.revoked_at.is_(None), ApiKey.created_by.in_([one.id for one in members]))
             .group_by(ApiKey.created_by))
    return {str(made_by): count for made_by, count in db.execute(query)}
