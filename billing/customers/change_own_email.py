"""Change a person's email address at businesses, after the new address was confirmed by email."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from billing.charging import recognition
from billing.model import customer_search  # noqa: F401 - registers the listeners that store search words
from billing.model.parties import Business, Customer
from core.db import ScopedSession
from core.outbox import emit
from core.scope import Actor, Pair


def change_own_email(db: ScopedSession, customers: Iterable[Pair], known: Iterable[str], email: str, key: str, actor: Actor) -> list[str]:
    """Change the rows that still have one of the (folded) addresses in `known`. Returns the names of their businesses.

    `db` is an `everything()` session, because the new address has no access to these rows yet. Each business gets an event for
    its own row (profile.edited). Acceptances stay, because the person has confirmed the new address.
    """
    changed, known_keys = [], set(known)
    for business_id, customer_id in customers:
        query = select(Customer, Business.name).join(Business, Business.business_id == Customer.business_id)
        found = db.execute(
            query.where(
                Customer.business_id == business_id,
                Customer.customer_id == customer_id,
                ~Customer.is_declined,
                Business.archived_at.is_(None),
            ).with_for_update(of=Customer)
        ).first()
        if found is None or found[0].email_key not in known_keys or found[0].email_key == key:
            continue
        row, name = found
        recognition.change_own_address(row, email, key)
        emit(
            db,
            "profile.edited",
            business_id=business_id,
            customer_id=customer_id,
            noun=customer_id,
            data={"fields": ["email"]},
            actor=actor,
        )
        changed.append(name)
    return changed
