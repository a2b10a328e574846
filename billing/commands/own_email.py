"""A buyer changes the address that businesses know them by: proved by a letter to the new one before it comes here."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from billing import finding, knowing  # noqa: F401 - a customer is written with the words it is found by
from billing.parties import Business, Customer
from core.db import ScopedSession
from core.outbox import emit
from core.scope import Actor, Pair


def change_own_email(db: ScopedSession, customers: Iterable[Pair], known: Iterable[str], email: str, key: str, actor: Actor) -> list[str]:
    """Of those customer rows the ones that are still found by an address in `known` (folded). Returns the businesses' names.

    `db` runs under everything(): the new address opens none of these rows yet. Each business hears of its own row (profile.edited).
    The person who proved the address wants these businesses here, so what they accepted stays accepted.
    """
    changed, theirs = [], set(known)
    for business_id, customer_id in customers:
        query = select(Customer, Business.name).join(Business, Business.business_id == Customer.business_id)
        found = db.execute(query.where(Customer.business_id == business_id, Customer.customer_id == customer_id,
                                       ~Customer.is_declined, Business.archived_at.is_(None)).with_for_update(of=Customer)).first()
        if found is None or found[0].email_key not in theirs or found[0].email_key == key:
            continue
        row, name = found
        knowing.moved_by_themselves(row, email, key)
        emit(db, "profile.edited", business_id=business_id, customer_id=customer_id, noun=customer_id, data={"fields": ["email"]},
             actor=actor)
        changed.append(name)
    return changed
