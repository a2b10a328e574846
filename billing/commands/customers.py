"""Customers of a business: created and changed by the business's programs and staff."""

from __future__ import annotations

from typing import Any

from billing import finding, knowing  # noqa: F401 - a customer is written with the words it is found by
from billing.addresses import clean_address
from billing.commands.billing_details import check_tax_id
from billing.parties import Customer
from core import clock
from core.db import ScopedSession
from core.errors import Invalid
from core.ids import new_id
from core.outbox import emit

_KEEP: Any = object()


def create_customer(
    db: ScopedSession, business_id: str, *, email: str, name: str, phone: str | None = None, locale: str | None = None,
    metadata: dict[str, Any] | None = None, business_name: str | None = None, tax_id: str | None = None,
) -> Customer:
    """Raises Invalid (fields email, name, business_name, tax_id)."""
    address, key = clean_address(email)
    company, number = clean_company(business_name, tax_id, None)
    customer = Customer(
        business_id=business_id, customer_id=new_id("cus"), email=address, email_key=key, name=clean_name(name), phone=phone,
        locale=locale, billing={}, business_name=company, tax_id=number, meta=metadata or {}, created_at=clock.now(),
    )
    db.add(customer)
    db.flush()
    emit(db, "customer.created", business_id=business_id, customer_id=customer.customer_id, noun=customer.customer_id)
    return customer


def update_customer(
    db: ScopedSession, customer: Customer, *, email: str = _KEEP, name: str = _KEEP, phone: str | None = _KEEP,
    locale: str | None = _KEEP, metadata: dict[str, Any] = _KEEP, business_name: str | None = _KEEP, tax_id: str | None = _KEEP,
) -> Customer:
    """Only what is given changes. A changed address tells the old one (event data holds both keys' hashes only).

    Clearing the tax number clears the company's name. Raises Invalid (fields email, name, business_name, tax_id).
    """
    changed: list[str] = []
    if business_name is not _KEEP or tax_id is not _KEEP:
        number = customer.tax_id if tax_id is _KEEP else tax_id
        company = business_name if business_name is not _KEEP else customer.business_name if number else None
        customer.business_name, customer.tax_id = clean_company(company, number, (customer.billing or {}).get("country"))
        changed += [name for name, value in (("business_name", business_name), ("tax_id", tax_id)) if value is not _KEEP]
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


def clean_company(business_name: str | None, tax_id: str | None, country: str | None) -> tuple[str | None, str | None]:
    """(company, tax number), trimmed; empty is None. The number is checked by its country's rules where the country is known.

    Raises Invalid (fields business_name, tax_id): a company's invoice needs its tax number.
    """
    company, number = (" ".join((text or "").split()) or None for text in (business_name, tax_id))
    wrong: dict[str, str] = {}
    if len(company or "") > 250:
        wrong["business_name"] = "Please keep it under 250 characters."
    if number:
        try:
            number = check_tax_id(number, country or "")
        except Invalid as refused:
            wrong |= refused.fields
    elif company:
        wrong["tax_id"] = "A company's invoice needs its tax number."
    if wrong:
        raise Invalid("INVALID_TAX_ID" if set(wrong) == {"tax_id"} else None, fields=wrong)
    return company, number


def clean_name(name: str) -> str:
    if not isinstance(name, str) or any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise Invalid(sentence="This name cannot be used.", fields={"name": "A name has no line breaks or control characters."})
    name = " ".join(name.split())
    if not name or len(name) > 200:
        raise Invalid(sentence="A name has 1 to 200 characters.", fields={"name": "Give a name of 1 to 200 characters."})
    return name
