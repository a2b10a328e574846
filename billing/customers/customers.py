"""Create and change customers, for a business's API clients and staff."""

from __future__ import annotations

from typing import Any

from billing.charging import recognition
from billing.customers.customer_type import set_by_business
from billing.model import customer_search  # noqa: F401 - registers the listeners that store search words
from billing.model.customer_types import CustomerType
from billing.model.email_address import clean_address
from billing.model.events import emit_customer_event
from billing.model.parties import Customer
from billing.subscriptions.billing_details import check_tax_id
from billing.subscriptions.tax_id_checks import request_check
from core import clock
from core.db import ScopedSession
from core.errors import N_, Invalid
from core.ids import new_id
from core.outbox import emit

_UNCHANGED: Any = object()


def create_customer(
    db: ScopedSession,
    business_id: str,
    *,
    email: str,
    name: str,
    phone: str | None = None,
    locale: str | None = None,
    metadata: dict[str, Any] | None = None,
    business_name: str | None = None,
    tax_id: str | None = None,
    customer_type: CustomerType | None = None,
) -> Customer:
    """Create a customer. Raises Invalid (fields email, name, business_name, tax_id)."""
    address, key = clean_address(email)
    company, number = clean_company(business_name, tax_id, None)
    customer = Customer(
        business_id=business_id,
        customer_id=new_id("cus"),
        email=address,
        email_key=key,
        name=clean_name(name),
        phone=phone,
        locale=locale,
        billing={},
        business_name=company,
        tax_id=number,
        customer_type=customer_type,
        customer_type_by="business" if customer_type else None,
        meta=metadata or {},
        created_at=clock.now(),
    )
    db.add(customer)
    db.flush()
    emit_customer_event(db, customer, "customer.created")
    return customer


def update_customer(
    db: ScopedSession,
    customer: Customer,
    *,
    email: str = _UNCHANGED,
    name: str = _UNCHANGED,
    phone: str | None = _UNCHANGED,
    locale: str | None = _UNCHANGED,
    metadata: dict[str, Any] = _UNCHANGED,
    business_name: str | None = _UNCHANGED,
    tax_id: str | None = _UNCHANGED,
    customer_type: CustomerType | None = _UNCHANGED,
) -> Customer:
    """Change the given fields. The old email address is notified of a new one.

    Clearing the tax number clears the company's name. Raises Invalid (fields email, name, business_name, tax_id), Conflict for a
    customer type that the customer chose otherwise.
    """
    changed: list[str] = []
    if customer_type is not _UNCHANGED and customer_type != customer.customer_type:
        set_by_business(customer, customer_type)
        changed.append("customer_type")
    if business_name is not _UNCHANGED or tax_id is not _UNCHANGED:
        if tax_id is _UNCHANGED:  # the stored number was checked when it was saved
            customer.business_name = _clean_company_name(business_name, customer.tax_id)
        else:
            company = business_name if business_name is not _UNCHANGED else customer.business_name if tax_id else None
            customer.business_name, customer.tax_id = clean_company(company, tax_id, (customer.billing or {}).get("country"))
            request_check(db, customer.business_id, customer.customer_id, customer.tax_id, (customer.billing or {}).get("country"))
        changed += [name for name, value in (("business_name", business_name), ("tax_id", tax_id)) if value is not _UNCHANGED]
    if email is not _UNCHANGED:
        address, key = clean_address(email)
        if key != customer.email_key:
            emit(
                db,
                "customer.email_changed",
                business_id=customer.business_id,
                customer_id=customer.customer_id,
                noun=customer.customer_id,
                data={"old": customer.email},
                private={"recognized": customer.is_recognized},
            )
            recognition.change_address(customer, address, key)
        customer.email = address
        changed.append("email")
    for field, value in (("name", name), ("phone", phone), ("locale", locale), ("meta", metadata)):
        if value is not _UNCHANGED:
            setattr(customer, field, clean_name(str(value or "")) if field == "name" else value)
            changed.append(field)
    if changed:
        emit_customer_event(db, customer, "customer.updated", fields=changed)
    return customer


def clean_company(business_name: str | None, tax_id: str | None, country: str | None) -> tuple[str | None, str | None]:
    """Return (company, tax number) trimmed, empty as None. Checks the number by the rules of the country, if known.

    Raises Invalid (fields business_name, tax_id): a company's invoice needs its tax number.
    """
    company, number = (" ".join((text or "").split()) or None for text in (business_name, tax_id))
    problems: dict[str, str] = {}
    if len(company or "") > 250:
        problems["business_name"] = N_("Please keep it under 250 characters.")
    if number:
        try:
            number = check_tax_id(number, country or "")
        except Invalid as refused:
            problems |= refused.fields
    elif company:
        problems["tax_id"] = N_("Enter the company's tax number.")
    if problems:
        raise Invalid("INVALID_TAX_ID" if number and set(problems) == {"tax_id"} else None, fields=problems)
    return company, number


def _clean_company_name(business_name: str | None, tax_id: str | None) -> str | None:
    """Clean a company name for an existing tax number. Raises Invalid (fields business_name, tax_id)."""
    company = " ".join((business_name or "").split()) or None
    if company and len(company) > 250:
        raise Invalid(fields={"business_name": N_("Please keep it under 250 characters.")})
    if company and not tax_id:
        raise Invalid(fields={"tax_id": N_("Enter the company's tax number.")})  # missing, so not INVALID_TAX_ID
    return company


def clean_name(name: str) -> str:
    if not isinstance(name, str) or any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise Invalid(
            sentence=N_("This name cannot be used."), fields={"name": N_("A name cannot contain line breaks or control characters.")}
        )
    name = " ".join(name.split())
    if not name or len(name) > 200:
        raise Invalid(sentence=N_("A name must have 1 to 200 characters."), fields={"name": N_("Enter a name of 1 to 200 characters.")})
    return name
