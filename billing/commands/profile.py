"""A person's own details, at the businesses they name: each gets the change and an event of its own."""

from __future__ import annotations

from collections.abc import Iterable

import phonenumbers
from sqlalchemy import select

from billing.commands.customers import clean_name
from billing.parties import Customer
from core.db import ScopedSession
from core.errors import Invalid, NotFound
from core.outbox import emit


def edit_profile(db: ScopedSession, customer_ids: Iterable[str], *, name: str, phone: str | None, locale: str | None) -> list[Customer]:
    """Change name, phone (international, or empty) and language of these customer rows; emits profile.edited for each changed one.

    Raises Invalid (fields name, phone, to), NotFound when one of the ids is outside of the scope: then nothing changes.
    """
    wanted = list(dict.fromkeys(customer_ids))
    if not wanted:
        raise Invalid(fields={"to": "Choose at least one business."})
    errors: dict[str, str] = {}
    cleaned, number = name, None
    for check in ("name", "phone"):
        try:
            if check == "name":
                cleaned = clean_name(name)
            else:
                number = clean_phone(phone)
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
        if before == (cleaned, number, locale):
            continue
        fields = [
            field for field, old, new in zip(("name", "phone", "locale"), before, (cleaned, number, locale), strict=True) if old != new
        ]
        customer.name, customer.phone, customer.locale = cleaned, number, locale
        emit(
            db,
            "profile.edited",
            business_id=customer.business_id,
            customer_id=customer.customer_id,
            noun=customer.customer_id,
            data={"fields": fields},
        )
        changed.append(customer)
    return changed


def clean_phone(text: str | None) -> str | None:
    """E.164, or None for an empty one. Raises Invalid (field phone)."""
    typed = (text or "").strip()
    if not typed:
        return None
    try:
        number = phonenumbers.parse(typed, None)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        raise Invalid(fields={"phone": "Write the number with its country code, like +44 20 7946 0100."})
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
