"""Payments of the calling business, and one-time purchases."""

from __future__ import annotations

from typing import Annotated, Literal

from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints, model_validator

from billing.commands.buying import buy
from billing.pricing import line_words
from billing.queries import api as read
from billing.till import PAGE_LIFE
from core.errors import Invalid
from core.web import db, house
from tenants.api.buyers import Buyer, customer_for
from tenants.api.door import bp, caller
from tenants.api.once import once
from tenants.api.reading import (
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
    Words,
    body,
    codes,
    query,
    return_url,
)
from tenants.api.saying import says
from tenants.api.shapes import CustomerLimited, Json, Shape, Stamp, items, one
from tenants.api.shapes.discounts import ids_of
from tenants.api.shapes.payments import PaymentItem, PaymentShape

Status = Literal[
    "succeeded", "failed", "cancelled", "processing", "requires_customer_action", "requires_merchant_action", "requires_payment_method",
    "requires_confirmation", "requires_capture", "partially_captured", "partially_captured_and_capturable",
]  # fmt: skip


class CartItem(Body):
    """`amount`: what a customer pays for a product whose price they choose. Other products ignore it, and here are no such."""

    product_id: Id
    quantity: Quantity
    amount: int | None = None


class NewPayment(Body):
    """The hosted page always leads back at once (`redirect_immediately`), and no fees are taken for another currency."""

    billing: Billing
    customer: Buyer
    product_cart: Annotated[list[CartItem], Field(min_length=1, max_length=100)]
    adaptive_currency_fees_inclusive: bool | None = None
    billing_currency: CurrencyCode | None = None
    customer_business_name: Words | None = None
    discount_code: str | None = None
    discount_codes: Codes | None = None
    metadata: Metadata | None = None
    payment_link: bool | None = None
    payment_method_id: Id | None = None
    redirect_immediately: bool | None = None
    return_url: str | None = None
    tax_id: Annotated[str, StringConstraints(max_length=50)] | None = None

    @model_validator(mode="after")
    def fits(self) -> NewPayment:
        if self.customer_business_name and not self.tax_id:
            raise ValueError("customer_business_name needs a tax_id")
        if self.payment_method_id and not self.customer.customer_id:
            raise ValueError("payment_method_id needs a customer_id")
        if self.payment_method_id and self.payment_link:
            raise ValueError("payment_link: a payment_method_id is charged at once, without a link")
        return self


class PaymentQuery(PageQuery):
    brand_id: str | None = None
    currency: CurrencyCode | None = None
    customer_id: str | None = None
    product_id: str | None = None
    subscription_id: str | None = None
    status: Annotated[list[Status] | None, Many] = None


class Begun(Shape):
    client_secret: str = ""  # there is no card form to embed: buyers pay on the hosted page
    customer: CustomerLimited
    metadata: Json
    payment_id: str
    total_amount: int
    discount_id: str | None = None
    discount_ids: list[str] | None = None
    expires_on: Stamp | None = None
    payment_link: str | None
    product_cart: list[Json]


class LineShape(Shape):
    """`refundable_amount`: what of it can still be given back, tax included."""

    amount: int
    items_id: str
    refundable_amount: int
    tax: int
    description: str | None
    name: str | None


class PaymentLines(Shape):
    currency: str
    items: list[LineShape]
    partial_refund_allowed: bool


class LinesQuery(Query):
    currency: CurrencyCode | None = None


@bp.post("/payments", endpoint="create_payment")
@once
@says(Begun, takes=NewPayment, refuses=(503,))
def create() -> ResponseReturnValue:
    """With a payment_method_id it is charged now; otherwise `payment_link` is the hosted page where the buyer pays."""
    sent = body(NewPayment)
    back = return_url(sent.return_url, caller().business_id)
    started = buy(
        house().till, caller().scope, customer_id=customer_for(sent.customer),
        cart=[(item.product_id, item.quantity) for item in sent.product_cart], billing=sent.billing.model_dump(exclude_none=True),
        payment_method_id=sent.payment_method_id, return_url=back, metadata=sent.metadata, currency=sent.billing_currency,
        tax_id=sent.tax_id, business_name=sent.customer_business_name,
        discount_codes=codes(sent.discount_code, sent.discount_codes) or (),
    )  # fmt: skip
    with house().database.open(caller().scope) as db:
        paid = read.payment(db, started.payment_id)
    return one(
        Begun(
            customer=CustomerLimited.of(paid.customer), metadata=paid.payment.meta or {}, payment_id=started.payment_id,
            total_amount=started.total_minor, payment_link=started.link,
            expires_on=paid.payment.created_at + PAGE_LIFE if started.link else None, **ids_of(paid.payment.discounts),
            product_cart=[{"product_id": item.product_id, "quantity": item.quantity, "amount": None} for item in sent.product_cart],
        )
    )  # fmt: skip


@bp.get("/payments", endpoint="payments")
@says(PaymentItem, form="items", asks=PaymentQuery)
def index() -> ResponseReturnValue:
    asked = query(PaymentQuery)
    rows = read.payments(
        db(), asked.page, customer_id=asked.customer_id, subscription_id=asked.subscription_id, status=asked.status,
        currency=asked.currency, brand_id=asked.brand_id, product_id=asked.product_id,
    )  # fmt: skip
    return items(PaymentItem.of(row) for row in rows)


@bp.get("/payments/<payment_id>", endpoint="payment")
@says(PaymentShape)
def show(payment_id: str) -> ResponseReturnValue:
    paid = read.payment(db(), payment_id)
    return one(PaymentShape.of(paid, read.refunds(db(), read.Page(size=100), payment_id=payment_id)))


@bp.get("/payments/<payment_id>/line-items", endpoint="payment_lines")
@says(PaymentLines, asks=LinesQuery)
def lines(payment_id: str) -> ResponseReturnValue:
    """What was paid for, line by line, with what of it can still be refunded."""
    asked, payment = query(LinesQuery), read.payment(db(), payment_id).payment
    if asked.currency not in (None, payment.currency):
        words = f"This was paid in {payment.currency}."
        raise Invalid("INVALID_QUERY_PARAMS", f"currency: {words}", fields={"currency": words})
    rows = read.lines_of(db(), payment_id)
    left = payment.amount_minor - payment.refunded_minor  # less than the lines were, where credit paid for a part of them
    shaped = [
        LineShape(items_id=row.id, name=line_words(row.kind, row.description), description=None,
                  amount=row.net_minor + row.tax_minor, tax=row.tax_minor,
                  refundable_amount=max(min(row.net_minor + row.tax_minor - row.refunded_minor, left), 0))
        for row in rows
    ]  # fmt: skip
    return one(PaymentLines(currency=payment.currency, items=shaped, partial_refund_allowed=True))
