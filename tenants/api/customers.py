"""Customers of the calling business, and their saved payment methods."""

from __future__ import annotations

from typing import Annotated, Any

from flask.typing import ResponseReturnValue
from pydantic import StringConstraints

from billing.commands.customers import create_customer, update_customer
from billing.queries import api as read
from core.web import db
from tenants.api.door import bp, caller
from tenants.api.reading import Body, Locale, Metadata, PageQuery, body, query
from tenants.api.saying import says
from tenants.api.shapes import items, one
from tenants.api.shapes.customers import CustomerShape, PaymentMethodShape

Phone = Annotated[str, StringConstraints(pattern=r"^\+?[0-9 ().\-]{5,30}$")]


class NewCustomer(Body):
    email: str
    name: str
    phone_number: Phone | None = None
    metadata: Metadata | None = None
    preferred_locale: Locale | None = None


class CustomerChange(Body):
    email: str | None = None
    name: str | None = None
    phone_number: Phone | None = None
    metadata: Metadata | None = None
    preferred_locale: Locale | None = None


class CustomerQuery(PageQuery):
    email: str | None = None
    name: str | None = None




@bp.post("/customers", endpoint="create_customer")
@says(CustomerShape, takes=NewCustomer)
def create() -> ResponseReturnValue:
    sent = body(NewCustomer)
    row = create_customer(
        db(), caller().business_id, email=sent.email, name=sent.name, phone=sent.phone_number, locale=sent.preferred_locale,
        metadata=sent.metadata,
    )  # fmt: skip
    return one(CustomerShape.of(row))


@bp.get("/customers", endpoint="customers")
@says(CustomerShape, form="items", asks=CustomerQuery)
def index() -> ResponseReturnValue:
    asked = query(CustomerQuery)
    return items(CustomerShape.of(row) for row in read.customers(db(), asked.page, email=asked.email, name=asked.name))


@bp.get("/customers/<customer_id>", endpoint="customer")
@says(CustomerShape)
def show(customer_id: str) -> ResponseReturnValue:
    return one(CustomerShape.of(read.customer(db(), customer_id)))


@bp.patch("/customers/<customer_id>", endpoint="change_customer")
@says(CustomerShape, takes=CustomerChange)
def change(customer_id: str) -> ResponseReturnValue:
    """Only what is given changes. A null takes a phone number or a language away; name and e-mail stay as they are."""
    sent = body(CustomerChange)
    given: dict[str, Any] = {}
    names = {"email": "email", "name": "name", "phone_number": "phone", "preferred_locale": "locale", "metadata": "metadata"}
    for field, name in names.items():
        value = getattr(sent, field)
        if field in sent.model_fields_set and (value is not None or field in ("phone_number", "preferred_locale")):
            given[name] = value
    row = read.customer(db(), customer_id)
    return one(CustomerShape.of(update_customer(db(), row, **given)))


@bp.get("/customers/<customer_id>/payment-methods")
@says(PaymentMethodShape, form="items")
def payment_methods(customer_id: str) -> ResponseReturnValue:
    read.customer(db(), customer_id)
    return items(PaymentMethodShape.of(row) for row in read.payment_methods(db(), customer_id))
