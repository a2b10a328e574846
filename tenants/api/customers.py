"""Customers of the calling business, and their saved payment methods."""

from __future__ import annotations

from typing import Annotated, Any

from flask.typing import ResponseReturnValue
from pydantic import StringConstraints

from billing.commands.customers import create_customer, update_customer
from billing.queries import api as read
from core.web import db
from tenants.api.door import bp, caller
from tenants.api.reading import Body, Locale, Metadata, PageQuery, Words, body, query
from tenants.api.saying import says
from tenants.api.shapes import items, one
from tenants.api.shapes.customers import CustomerShape, PaymentMethodShape

Phone = Annotated[str, StringConstraints(pattern=r"^\+?[0-9 ().\-]{5,30}$")]
TaxId = Annotated[str, StringConstraints(max_length=50)]
CLEARABLE = frozenset({"phone_number", "preferred_locale", "business_name", "tax_id"})


class NewCustomer(Body):
    """`business_name` and `tax_id` are our addition: the company that new purchases are made out to. A name needs a number."""

    email: str
    name: str
    phone_number: Phone | None = None
    metadata: Metadata | None = None
    preferred_locale: Locale | None = None
    business_name: Words | None = None
    tax_id: TaxId | None = None


class CustomerChange(Body):
    email: str | None = None
    name: str | None = None
    phone_number: Phone | None = None
    metadata: Metadata | None = None
    preferred_locale: Locale | None = None
    business_name: Words | None = None
    tax_id: TaxId | None = None


class CustomerQuery(PageQuery):
    email: str | None = None
    name: str | None = None


@bp.post("/customers", endpoint="create_customer")
@says(CustomerShape, takes=NewCustomer)
def create() -> ResponseReturnValue:
    sent = body(NewCustomer)
    row = create_customer(
        db(), caller().business_id, email=sent.email, name=sent.name, phone=sent.phone_number, locale=sent.preferred_locale,
        metadata=sent.metadata, business_name=sent.business_name, tax_id=sent.tax_id,
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
    """Only what is given changes. A null clears a phone number, a language, a company or its tax number (which clears the company).

    Name and e-mail stay as they are.
    """
    sent = body(CustomerChange)
    given: dict[str, Any] = {}
    names = {"email": "email", "name": "name", "phone_number": "phone", "preferred_locale": "locale", "metadata": "metadata",
             "business_name": "business_name", "tax_id": "tax_id"}  # fmt: skip
    for field, name in names.items():
        value = getattr(sent, field)
        if field in sent.model_fields_set and (value is not None or field in CLEARABLE):
            given[name] = value
    row = read.customer(db(), customer_id)
    return one(CustomerShape.of(update_customer(db(), row, **given)))


@bp.get("/customers/<customer_id>/payment-methods")
@says(PaymentMethodShape, form="items")
def payment_methods(customer_id: str) -> ResponseReturnValue:
    read.customer(db(), customer_id)
    return items(PaymentMethodShape.of(row) for row in read.payment_methods(db(), customer_id))
