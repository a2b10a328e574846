"""Customers of the calling business, and their saved payment methods."""

from __future__ import annotations

from typing import Annotated, Any

from flask.typing import ResponseReturnValue
from pydantic import StringConstraints

from billing.customers.customers import create_customer, update_customer
from billing.history import api_lists as read
from billing.model.customer_types import CustomerType
from core.request_context import db
from tenants.api.authentication import bp, caller
from tenants.api.request_parsing import Body, Locale, Metadata, PageQuery, ShortText, body, query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import items, json_response
from tenants.api.shapes.customers import CustomerShape, PaymentMethodShape

Phone = Annotated[str, StringConstraints(pattern=r"^\+?[0-9 ().\-]{5,30}$")]
TaxId = Annotated[str, StringConstraints(max_length=50)]
CLEARABLE = frozenset({"phone_number", "preferred_locale", "business_name", "tax_id", "customer_type"})


class NewCustomer(Body):
    """A new customer. `business_name` and `tax_id` are extensions of the contract: the company that new invoices are issued to.

    `business_name` requires `tax_id`. `customer_type` is an extension as well: consumer (default) or business.
    """

    email: str
    name: str
    phone_number: Phone | None = None
    metadata: Metadata | None = None
    preferred_locale: Locale | None = None
    business_name: ShortText | None = None
    tax_id: TaxId | None = None
    customer_type: CustomerType | None = None


class CustomerChange(Body):
    email: str | None = None
    name: str | None = None
    phone_number: Phone | None = None
    metadata: Metadata | None = None
    preferred_locale: Locale | None = None
    business_name: ShortText | None = None
    tax_id: TaxId | None = None
    customer_type: CustomerType | None = None


class CustomerQuery(PageQuery):
    email: str | None = None
    name: str | None = None


@bp.post("/customers", endpoint="create_customer")
@route_spec(CustomerShape, body=NewCustomer)
def create() -> ResponseReturnValue:
    """Create a customer."""
    sent = body(NewCustomer)
    row = create_customer(
        db(), caller().business_id, email=sent.email, name=sent.name, phone=sent.phone_number, locale=sent.preferred_locale,
        metadata=sent.metadata, business_name=sent.business_name, tax_id=sent.tax_id, customer_type=sent.customer_type,
    )  # fmt: skip
    return json_response(CustomerShape.of(row))


@bp.get("/customers", endpoint="customers")
@route_spec(CustomerShape, form="items", query=CustomerQuery)
def index() -> ResponseReturnValue:
    """List customers, newest first."""
    params = query(CustomerQuery)
    return items(CustomerShape.of(row) for row in read.customers(db(), params.page, email=params.email, name=params.name))


@bp.get("/customers/<customer_id>", endpoint="customer")
@route_spec(CustomerShape)
def show(customer_id: str) -> ResponseReturnValue:
    """Return a customer."""
    return json_response(CustomerShape.of(read.customer(db(), customer_id)))


@bp.patch("/customers/<customer_id>", endpoint="change_customer")
@route_spec(CustomerShape, body=CustomerChange)
def change(customer_id: str) -> ResponseReturnValue:
    """Update a customer. Fields that are not sent stay unchanged.

    null clears `phone_number`, `preferred_locale`, `business_name`, `tax_id` or `customer_type`; clearing `tax_id` clears
    `business_name` as well. A null `name` or `email` is ignored. A `customer_type` that the customer chose cannot be changed (409).
    """
    sent = body(CustomerChange)
    given: dict[str, Any] = {}
    names = {"email": "email", "name": "name", "phone_number": "phone", "preferred_locale": "locale", "metadata": "metadata",
             "business_name": "business_name", "tax_id": "tax_id", "customer_type": "customer_type"}  # fmt: skip
    for field, name in names.items():
        value = getattr(sent, field)
        if field in sent.model_fields_set and (value is not None or field in CLEARABLE):
            given[name] = value
    row = read.customer(db(), customer_id)
    return json_response(CustomerShape.of(update_customer(db(), row, **given)))


@bp.get("/customers/<customer_id>/payment-methods")
@route_spec(PaymentMethodShape, form="items")
def payment_methods(customer_id: str) -> ResponseReturnValue:
    """List the saved payment methods of a customer."""
    read.customer(db(), customer_id)
    return items(PaymentMethodShape.of(row) for row in read.payment_methods(db(), customer_id))
