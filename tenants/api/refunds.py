"""Refunds of the calling business's payments."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints

from billing.commands import refunding
from billing.invoices import InvoiceLine
from billing.queries import api as read
from core.errors import Invalid, NotFound
from core.money import tax_on
from core.web import db, house
from tenants.api.door import bp, caller
from tenants.api.once import once
from tenants.api.reading import Amount, Body, CurrencyCode, Id, Many, Metadata, PageQuery, body, query
from tenants.api.saying import says
from tenants.api.shapes import items, one
from tenants.api.shapes.payments import RefundItem, RefundShape


class ItemBack(Body):
    """`item_id`: a line of GET /payments/{id}/line-items, or a product of the payment. Without an amount: all of it."""

    item_id: Id
    amount: Amount | None = None
    tax_inclusive: bool = True


class NewRefund(Body):
    payment_id: Id
    currency: CurrencyCode | None = None
    items: Annotated[list[ItemBack], Field(max_length=100)] | None = None
    metadata: Metadata | None = None
    reason: Annotated[str, StringConstraints(max_length=3000)] | None = None


class RefundQuery(PageQuery):
    customer_id: str | None = None
    subscription_id: str | None = None
    status: Annotated[list[Literal["succeeded", "failed", "pending", "review"]] | None, Many] = None


@bp.post("/refunds", endpoint="create_refund")
@once
@says(RefundShape, takes=NewRefund, refuses=(503,))
def create() -> ResponseReturnValue:
    sent = body(NewRefund)
    with house().database.open(caller().scope) as reading:
        paid = read.payment(reading, sent.payment_id).payment
        lines = read.lines_of(reading, sent.payment_id) if sent.items else []
    if sent.currency not in (None, paid.currency):
        raise Invalid(sentence=f"currency: this payment was made in {paid.currency}.", fields={"currency": f"It was {paid.currency}."})
    back = _back(sent.items, lines, paid.amount_minor - paid.refunded_minor) if sent.items else None
    row = refunding.refund(
        house().till, caller().scope, sent.payment_id, items=back, reason=sent.reason, metadata=sent.metadata,
    )  # fmt: skip
    with house().database.open(caller().scope) as reading:
        return one(RefundShape.of(*read.refund(reading, row.id)))


@bp.get("/refunds", endpoint="refunds")
@says(RefundItem, form="items", asks=RefundQuery)
def index() -> ResponseReturnValue:
    asked = query(RefundQuery)
    rows = read.refunds(db(), asked.page, customer_id=asked.customer_id, subscription_id=asked.subscription_id, status=asked.status)
    return items(RefundItem.of(row) for row in rows)


@bp.get("/refunds/<refund_id>", endpoint="refund")
@says(RefundShape)
def show(refund_id: str) -> ResponseReturnValue:
    return one(RefundShape.of(*read.refund(db(), refund_id)))


def _back(wanted: list[ItemBack], lines: list[InvoiceLine], unrefunded: int) -> list[dict[str, Any]]:
    """Which line gives back how much, tax included; of all of it, no more than is left of the payment.

    Raises NotFound (no such line), Invalid (more than is left, twice).
    """
    by_id = {**{row.product_id: row for row in lines if row.product_id}, **{row.id: row for row in lines}}
    out: dict[str, int] = {}
    for place, item in enumerate(wanted):
        row = by_id.get(item.item_id)
        if row is None:
            raise NotFound(sentence=f"items.{place}.item_id: there is no such item in this payment.")
        left = min(row.net_minor + row.tax_minor - row.refunded_minor, unrefunded - sum(out.values()))
        amount = left if item.amount is None else item.amount if item.tax_inclusive else item.amount + tax_on(item.amount, row.tax_bps)
        if row.id in out or amount > left or amount <= 0:
            raise Invalid(
                "REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT" if amount > left else "INVALID_REQUEST_BODY",
                f"items.{place}: at most {left} of this item can be refunded, once.", fields={f"items.{place}.amount": f"At most {left}."},
            )  # fmt: skip
        out[row.id] = amount
    return [{"line_id": line_id, "amount_minor": amount} for line_id, amount in out.items()]
