"""Scope: who is asking, and which rows exist for them. The file to read first.

A frozen value. `core.db.Database.open(scope)` is the only way to a database session, and
`core/guard.py` turns the scope into row filters. A row outside the scope does not exist: 404, never 403.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["nobody", "resolving", "person", "customer", "business", "everything"]
Pair = tuple[str, str]
"""(business_id, customer_id)"""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it; written on every event (contract: cancelled_by.actor_type)."""

    type: Literal["customer", "staff", "api_key", "system", "visitor"]
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    kind: Kind
    actor: Actor
    identity_id: str | None = None
    pairs: tuple[Pair, ...] = ()
    business: str | None = None
    addresses: tuple[str, ...] = ()
    why: str | None = None

    @property
    def business_ids(self) -> tuple[str, ...]:
        if self.business:
            return (self.business,)
        return tuple(dict.fromkeys(business for business, _ in self.pairs))

    @property
    def customer_ids(self) -> tuple[str, ...]:
        return tuple(customer for _, customer in self.pairs)

    @property
    def joined_pairs(self) -> tuple[str, ...]:
        """business_id/customer_id, as one value each: for filters that must not mix one pair with another."""
        return tuple(f"{business}/{customer}" for business, customer in self.pairs)

    @property
    def is_everything(self) -> bool:
        return self.kind == "everything"

    @property
    def is_customer(self) -> bool:
        """Somebody who buys (at either door), rather than staff, a program or the system."""
        return self.kind in ("person", "customer")


def nobody() -> Scope:
    """Before anybody is known: open tables only; any owned table raises."""
    return Scope("nobody", Actor("visitor"))


def resolving(addresses: Iterable[str], *, identity_id: str | None = None) -> Scope:
    """Find the customer rows of proved addresses (folded), once, before the session is narrowed."""
    return Scope("resolving", Actor("system"), identity_id=identity_id, addresses=tuple(addresses))


def person(identity_id: str, customers: Iterable[Pair]) -> Scope:
    """A person at the unified door: the customer rows of their proved addresses, in every business."""
    return Scope("person", Actor("customer", identity_id), identity_id=identity_id, pairs=tuple(customers))


def customer_of(business_id: str, customer_ids: str | Iterable[str], identity_id: str | None = None) -> Scope:
    """The customer rows (mostly one) of somebody at one business's door. `identity_id` only where a person was proved."""
    ids = (customer_ids,) if isinstance(customer_ids, str) else tuple(customer_ids)
    return Scope(
        "customer", Actor("customer", identity_id or (ids[0] if ids else None)), identity_id=identity_id,
        pairs=tuple((business_id, one) for one in ids), business=business_id,
    )


def staff(business_id: str, staff_id: str) -> Scope:
    return Scope("business", Actor("staff", staff_id), business=business_id)


def api_key(business_id: str, key_id: str) -> Scope:
    return Scope("business", Actor("api_key", key_id), business=business_id)


def system(business_id: str, actor: Actor | None = None) -> Scope:
    """Work for one business on behalf of `actor` (the system itself, unless somebody asked for it)."""
    return Scope("business", actor or Actor("system"), business=business_id)


def everything(why: str) -> Scope:
    """Every row of every business. Greppable, logged; for sweeps and operators, never for a request's page."""
    if not why:
        raise ValueError("everything() needs a reason")
    return Scope("everything", Actor("system"), why=why)
