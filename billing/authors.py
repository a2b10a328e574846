"""The author of a payment or a refund, kept on its row because the system records the outcome later."""

from __future__ import annotations

from typing import Any

from billing.payments import Payment, Refund
from core.db import ScopedSession
from core.scope import Actor


def author_of(db: ScopedSession, actor: Actor | None = None) -> dict[str, Any]:
    """The actor of this session, or another one, as it is stored."""
    one = actor or db.scope.actor
    return {"type": one.type, "id": one.id}


def actor_of(row: Payment | Refund) -> Actor | None:
    """None for rows from before authors were kept: whoever records the outcome stands for them."""
    return Actor(row.author["type"], row.author.get("id")) if row.author else None
