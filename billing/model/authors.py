"""Stores the author of a payment or refund on its row, because the system records the outcome later."""

from __future__ import annotations

from typing import Any

from billing.model.payments import Payment, Refund
from core.db import ScopedSession
from core.scope import Actor


def author_of(db: ScopedSession, actor: Actor | None = None) -> dict[str, Any]:
    """Return `actor`, or the actor of this session, in its stored form. `country` only if it is known."""
    author = actor or db.scope.actor
    return {"type": author.type, "id": author.id, **({"country": author.country} if author.country else {})}


def actor_of(row: Payment | Refund) -> Actor | None:
    """Return the author of a row. None for rows from before authors were stored: the actor who records the outcome counts instead."""
    return Actor(row.author["type"], row.author.get("id")) if row.author else None
