"""Payments and one-time purchases of the calling business."""

from __future__ import annotations

from typing import Annotated, Literal

from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints, model_validator

from billing.charging.payment_processor import PAGE_LIFE
from billing.history import api_lists as read
from billing.history.disputes import disputes_of
from billing.pricing.prices import line_label
from billing.subscriptions.subscribe import buy
from core.errors import Invalid
from core.request_context import db, services
from portal.billing_services import processor
from tenants.api.authentication import bp, caller
from tenants.api.consents import Consents
from tenants.api.customer_input import CustomerInput, customer_for
from tenants.api.idempotency.money_calls import idempotent
from tenants.api.request_parsing import (
    Billing,
    Body,
    Codes,
    CurrencyCode,
    Id,
    Many,
    Metadata,
    PageQuery,
    Quantity,
    Query,
    ShortText,
    body,
    codes,
    query,
    return_url,
)
from tenants.api.route_spec import route_spec
from tenants.api.shapes import CustomerLimited, Json, Shape, Stamp, items, json_response
from tenants.api.shapes.discounts import discount_ids
from tenants.api.shapes.payments import PaymentItem, PaymentShape

Status = Literal[
    "succeeded", "failed", "cancelled", "processing", "requires_customer_action", "requires_merchant_action", "requires_payment_method",
    "requires_confirmation", "requires_capture", "partially_captured", "partially_captured_and_capturable",
]  # fmt: skip


class CartItemInput(Body):
    """One product of the purchase. `amount` is accepted and ignored: products whose price the customer chooses are not supported."""

    product_id: Id
    quantity: Quantity
    amount: int | None = None


class NewPayment(Body):
    """A one-time purchase. Amounts are in minor units.

    `redirect_immediately` and `adaptive_currency_fees_inclusive` have no effect: the hosted page always redirects at the end, and
    there are no currency conversion fees. `consents` is an addition to the contract: what the customer agreed to before.
    """

    billing: Billing
    customer: CustomerInput
    product_cart: Annotated[list[CartItemInput], Field(min_length=1, max_length=100)]
    adaptive_currency_fees_inclusive: bool | None = None
    billing_currency: CurrencyCode | None = None
    customer_business_name: ShortText | None = None
    discount_code: str | None = None
    discount_codes: Codes | None = None
    consents: Consents | None = None
    metadata: Metadata | None = None
    payment_link: bool | None = None
    payment_method_id: Id | None = None
    redirect_immediately: bool | None = None
    return_url: str | None = None
    tax_id: Annotated[str, StringConstraints(max_length=50)] | None = None

    @model_validator(mode="after")
    def fits(self) -> NewPayment:
        if self.customer_business_name and not self.tax_id:
            raise ValueError("customer_business_name requires a tax_id")
        if self.payment_method_id and not self.customer.customer_id:
            raise ValueError("payment_method_id requires a customer_id")
        if self.payment_method_id and self.payment_link:
            raise ValueError("payment_link cannot be true with a payment_method_id, which is charged immediately")
        return self


class PaymentQuery(PageQuery):
    brand_id: str | None = None
    currency: CurrencyCode | None = None
    customer_id: str | None = None
    product_id: str | None = None
    subscription_id: str | None = None
    status: Annotated[list[Status] | None, Many] = None


class PaymentCreated(Shape):
    client_secret: str = ""  # always empty: there is no card form to embed, customers pay on the hosted page
    customer: CustomerLimited
    metadata: Json
    payment_id: str
    total_amount: int
    discount_id: str | None = None
    discount_ids: list[str] | None = None
    expires_on: Stamp | None = None
    payment_link: str | None
    product_cart: list[Json]


class LineItemShape(Shape):
    """One line of a payment. `refundable_amount` is the part that can still be refunded. Amounts include tax, in minor units."""

    amount: int
    items_id: str
    refundable_amount: int
    tax: int
    description: str | None
    name: str | None


class LineItems(Shape):
    currency: str
    items: list[LineItemShape]
    partial_refund_allowed: bool


class LineItemsQuery(Query):
    currency: CurrencyCode | None = None


@bp.post("/payments", endpoint="create_payment")
@idempotent
@route_spec(PaymentCreated, body=NewPayment, errors=(503,))
def create() -> ResponseReturnValue:
    """Create a one-time payment.

    With a `payment_method_id` it is charged immediately. Otherwise the customer pays on the hosted page at `payment_link`.
    """
    sent = body(NewPayment)
    url = return_url(sent.return_url, caller().business_id)
    started = buy(
        processor(), caller().scope, customer_id=customer_for(sent.customer),
        cart=[(item.product_id, item.quantity) for item in sent.product_cart], billing=sent.billing.model_dump(exclude_none=True),
        payment_method_id=sent.payment_method_id, return_url=url, metadata=sent.metadata, currency=sent.billing_currency,
        tax_id=sent.tax_id, business_name=sent.customer_business_name,
        discount_codes=codes(sent.discount_code, sent.discount_codes) or (), consents=[item.agreed for item in sent.consents or ()],
    )  # fmt: skip
    with services().database.open(caller().scope) as db:
        paid = read.payment(db, started.payment_id)
    return json_response(
        PaymentCreated(
            customer=CustomerLimited.of(paid.customer), metadata=paid.payment.meta or {}, payment_id=started.payment_id,
            total_amount=started.total_minor, payment_link=started.link,
            expires_on=paid.payment.created_at + PAGE_LIFE if started.link else None, **discount_ids(paid.payment.discounts),
            product_cart=[{"product_id": item.product_id, "quantity": item.quantity, "amount": None} for item in sent.product_cart],
        )
    )  # fmt: skip


@bp.get("/payments", endpoint="payments")
@route_spec(PaymentItem, form="items", query=PaymentQuery)
def index() -> ResponseReturnValue:
    """List payments, newest first."""
    params = query(PaymentQuery)
    rows = read.payments(
        db(), params.page, customer_id=params.customer_id, subscription_id=params.subscription_id, status=params.status,
        currency=params.currency, brand_id=params.brand_id, product_id=params.product_id,
    )  # fmt: skip
    return items(PaymentItem.of(row) for row in rows)


@bp.get("/payments/<payment_id>", endpoint="payment")
@route_spec(PaymentShape)
def show(payment_id: str) -> ResponseReturnValue:
    """Return a payment with its refunds."""
    paid = read.payment(db(), payment_id)
    refunds = read.refunds(db(), read.ListPage(size=100), payment_id=payment_id)
    return json_response(PaymentShape.of(paid, refunds, disputes_of(db(), payment_id)))


@bp.get("/payments/<payment_id>/line-items", endpoint="payment_lines")
@route_spec(LineItems, query=LineItemsQuery)
def lines(payment_id: str) -> ResponseReturnValue:
    """List the line items of a payment, with the amount of each that can still be refunded."""
    params, payment = query(LineItemsQuery), read.payment(db(), payment_id).payment
    if params.currency not in (None, payment.currency):
        message = f"This payment was made in {payment.currency}."
        raise Invalid("INVALID_QUERY_PARAMS", f"currency: {message}", fields={"currency": message})
    rows = read.lines_of(db(), payment_id)
    left = payment.left_minor  # less than the sum of the lines if credit paid a part of them
    shaped = [
        LineItemShape(items_id=row.id, name=line_label(row.kind, row.description), description=None,
                  amount=row.net_minor + row.tax_minor, tax=row.tax_minor,
                  refundable_amount=max(min(row.net_minor + row.tax_minor - row.refunded_minor, left), 0))
        for row in rows
    ]  # fmt: skip
    return json_response(LineItems(currency=payment.currency, items=shaped, partial_refund_allowed=True))
