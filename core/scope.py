"""Scope: the actor of a request or job, and the rows that are visible to it. Read this file first.

A scope is immutable. `core.db.Database.open(scope)` is the only way to a database session, and
`core/guard.py` turns the scope into row filters. A row outside the scope does not exist: 404, never 403.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

ActorType = Literal["customer", "staff", "api_key", "system", "visitor", "processor"]
Kind = Literal["nobody", "resolving", "person", "customer", "business", "everything"]
Pair = tuple[str, str]
"""(business_id, customer_id)"""


@dataclass(frozen=True, slots=True)
class Actor:
    """The actor of an action, stored with every event (contract: cancelled_by.actor_type).

    `country`: of a customer's IP address, if a trusted proxy named it (alpha-2). It is evidence for taxes.
    """

    type: ActorType
    id: str | None = None
    country: str | None = field(default=None, compare=False)


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
        """Return each pair as one value `business_id/customer_id`, for filters that must not mix pairs."""
        return tuple(f"{business}/{customer}" for business, customer in self.pairs)

    @property
    def is_everything(self) -> bool:
        return self.kind == "everything"

    @property
    def is_customer(self) -> bool:
        """Whether the actor is a customer (at either door), not staff, an API key or the system."""
        return self.kind in ("person", "customer")


def nobody() -> Scope:
    """Before authentication: only open tables; every owned table raises ScopeError."""
    return Scope("nobody", Actor("visitor"))


def resolving(addresses: Iterable[str], *, identity_id: str | None = None) -> Scope:
    """Find the customer rows of verified addresses (case-folded), before the final scope is known."""
    return Scope("resolving", Actor("system"), identity_id=identity_id, addresses=tuple(addresses))


def person(identity_id: str, customers: Iterable[Pair]) -> Scope:
    """A person at the unified door: the customer rows of their verified addresses, in every business."""
    return Scope("person", Actor("customer", identity_id), identity_id=identity_id, pairs=tuple(customers))


def customer_of(business_id: str, customer_ids: str | Iterable[str], identity_id: str | None = None) -> Scope:
    """The customer rows (usually one) of a visitor at one business's door. `identity_id` only for a signed-in person."""
    ids = (customer_ids,) if isinstance(customer_ids, str) else tuple(customer_ids)
    return Scope(
        "customer",
        Actor("customer", identity_id or (ids[0] if ids else None)),
        identity_id=identity_id,
        pairs=tuple((business_id, row_id) for row_id in ids),
        business=business_id,
    )


def staff(business_id: str, staff_id: str) -> Scope:
    return Scope("business", Actor("staff", staff_id), business=business_id)


def api_key(business_id: str, key_id: str) -> Scope:
    return Scope("business", Actor("api_key", key_id), business=business_id)


def system(business_id: str, actor: Actor | None = None) -> Scope:
    """Work for one business on behalf of `actor`, by default the system."""
    return Scope("business", actor or Actor("system"), business=business_id)


def everything(why: str) -> Scope:
    """Every row of every business. Logged; for recurring jobs and operators, never for a page."""
    if not why:
        raise ValueError("everything() needs a reason")
    return Scope("everything", Actor("system"), why=why)
