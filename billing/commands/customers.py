"""Customers of a business: created and changed by the business's programs and staff."""

from __future__ import annotations

from typing import Any

from billing import finding, knowing  # noqa: F401 - a customer is written with the words it is found by
from billing.addresses import clean_address
from billing.parties import Customer
from core import clock
from core.db import ScopedSession
from core.errors import Invalid
from core.ids import new_id
from core.outbox import emit

_KEEP: Any = object()


def create_customer(
    db: ScopedSession, business_id: str, *, email: str, name: str, phone: str | None = None, locale: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Customer:
    """Raises Invalid (fields email, name)."""
    address, key = clean_address(email)
    customer = Customer(
        business_id=business_id, customer_id=new_id("cus"), email=address, email_key=key, name=clean_name(name), phone=phone,
        locale=locale, billing={}, meta=metadata or {}, created_at=clock.now(),
    )
    db.add(customer)
    db.flush()
    emit(db, "customer.created", business_id=business_id, customer_id=customer.customer_id, noun=customer.customer_id)
    return customer


def update_customer(
    db: ScopedSession, customer: Customer, *, email: str = _KEEP, name: str = _KEEP, phone: str | None = _KEEP,
    locale: str | None = _KEEP, metadata: dict[str, Any] = _KEEP,
) -> Customer:
    """Only what is given changes. A changed address tells the old one (event data holds both keys' hashes only)."""
    changed: list[str] = []
    if email is not _KEEP:
        address, key = clean_address(email)
        if key != customer.email_key:
            emit(db, "customer.email_changed", business_id=customer.business_id, customer_id=customer.customer_id,
                 noun=customer.customer_id, data={"old": customer.email}, private={"known": customer.is_known})
            knowing.moved(customer, address, key)
        customer.email = address
        changed.append("email")
    for field, value in (("name", name), ("phone", phone), ("locale", locale), ("meta", metadata)):
        if value is not _KEEP:
            setattr(customer, field, clean_name(str(value or "")) if field == "name" else value)
            changed.append(field)
    if changed:
        emit(db, "customer.updated", business_id=customer.business_id, customer_id=customer.customer_id,
             noun=customer.customer_id, data={"fields": changed})
    return customer


def clean_name(name: str) -> str:
    if not isinstance(name, str) or any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise Invalid(sentence="This name cannot be used.", fields={"name": "A name has no line breaks or control characters."})
    name = " ".join(name.split())
    if not name or len(name) > 200:
        raise Invalid(sentence="A name has 1 to 200 characters.", fields={"name": "Give a name of 1 to 200 characters."})
    return name
