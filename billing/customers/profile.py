"""Change a person's own details at chosen businesses. Each business gets its own event."""

from __future__ import annotations

from collections.abc import Iterable

import phonenumbers
from sqlalchemy import select

from billing.customers.customer_type import check_type, say_type
from billing.customers.customers import clean_name
from billing.model.events import emit_customer_event
from billing.model.parties import Customer
from core.db import ScopedSession
from core.errors import N_, Invalid, NotFound


def edit_profile(
    db: ScopedSession, customer_ids: Iterable[str], *, name: str, phone: str | None, locale: str | None, customer_type: str | None = None
) -> list[Customer]:
    """Change name, phone (international or empty) and language of these customer rows. Emits profile.edited for each changed row.

    `customer_type`: what they say about themselves, consumer or business; None or empty: it stays. Raises Invalid (fields name, phone,
    customer_type, to), and NotFound if an id is outside the scope; then nothing changes.
    """
    wanted = list(dict.fromkeys(customer_ids))
    if not wanted:
        raise Invalid(fields={"to": N_("Choose at least one business.")})
    errors: dict[str, str] = {}
    cleaned, number = name, None
    for check in ("name", "phone", "customer_type"):
        try:
            if check == "name":
                cleaned = clean_name(name)
            elif check == "phone":
                number = clean_phone(phone)
            else:
                check_type(customer_type)
        except Invalid as wrong:
            errors |= wrong.fields
    if errors:
        raise Invalid(fields=errors)
    rows = list(db.scalars(select(Customer).where(Customer.customer_id.in_(wanted))))
    if len(rows) != len(wanted):
        raise NotFound()
    changed = []
    for customer in rows:
        before = (customer.name, customer.phone, customer.locale)
        fields = [
            field for field, old, new in zip(("name", "phone", "locale"), before, (cleaned, number, locale), strict=True) if old != new
        ]
        if customer_type and say_type(customer, customer_type):
            fields.append("customer_type")
        if not fields:
            continue
        customer.name, customer.phone, customer.locale = cleaned, number, locale
        emit_customer_event(db, customer, "profile.edited", fields=fields)
        changed.append(customer)
    return changed


def clean_phone(text: str | None) -> str | None:
    """Return the number in E.164 format, or None if empty. Raises Invalid (field phone)."""
    typed = (text or "").strip()
    if not typed:
        return None
    try:
        number = phonenumbers.parse(typed, None)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        raise Invalid(fields={"phone": N_("Enter the number with its country code, such as +44 20 7946 0100.")})
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
