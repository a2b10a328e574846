"""Ends the access that a team member granted when they lose the right to grant it (docs/identity.md).

* Invitations end with the right to change the team.
* API keys end with the right to create keys, unless another member takes them over.
* Portal links for customers end with the right to invite customers (auth/portal_links.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, select

from auth.portal_links import revoke_created_by
from core import clock
from core.db import ScopedSession
from core.outbox import emit
from tenants.api_keys import ApiKey, revoke_key
from tenants.roles import may
from tenants.team import Invitation, Membership

INVITES, MAKES_KEYS, LINKS = "team.write", "developers.keys", "customers.invite"


def end_granted_access(db: ScopedSession, row: Membership, role: str | None, keys_go_to: str | None = None) -> None:
    """End access that `role`, the new role of the member, may not grant. None: they left the team.

    `keys_go_to`: the membership that takes over their API keys.
    """
    if role is None or not may(role, INVITES):
        sent = (
            select(Invitation)
            .where(
                Invitation.business_id == row.business_id,
                Invitation.invited_by == row.id,
                Invitation.accepted_at.is_(None),
                Invitation.revoked_at.is_(None),
            )
            .order_by(Invitation.id)
        )
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
        revoke_created_by(db, row.business_id, row.id)


def keys_made(db: ScopedSession, members: Iterable[Membership]) -> dict[str, int]:
    """Return the number of active keys that each member created. `db` is a session of the business."""
    query = (
        select(ApiKey.created_by, func.count())
        .where(ApiKey.revoked_at.is_(None), ApiKey.created_by.in_([member.id for member in members]))
        .group_by(ApiKey.created_by)
    )
    return {str(made_by): count for made_by, count in db.execute(query)}
