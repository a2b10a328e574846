"""Refunds of the calling business's payments."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints

from billing.charging import refund as refund_payment
from billing.history import api_lists as read
from billing.model.invoices import InvoiceLine
from core.errors import Invalid, NotFound
from core.money import tax_on
from core.request_context import db, services
from portal.billing_services import processor
from tenants.api.authentication import bp, caller
from tenants.api.idempotency.money_calls import idempotent
from tenants.api.request_parsing import Amount, Body, CurrencyCode, Id, Many, Metadata, PageQuery, body, query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import items, json_response
from tenants.api.shapes.payments import RefundItem, RefundShape


class RefundItemInput(Body):
    """A line to refund. `item_id` is an `items_id` of `GET /payments/{id}/line-items`, or the id of a product of the payment.

    `amount` is in minor units; without it the whole line is refunded. `tax_inclusive` says whether `amount` includes tax.
    """

    item_id: Id
    amount: Amount | None = None
    tax_inclusive: bool = True


class NewRefund(Body):
    """A refund. Without `items` everything that is left of the payment is refunded."""

    payment_id: Id
    currency: CurrencyCode | None = None
    items: Annotated[list[RefundItemInput], Field(max_length=100)] | None = None
    metadata: Metadata | None = None
    reason: Annotated[str, StringConstraints(max_length=3000)] | None = None


class RefundQuery(PageQuery):
    customer_id: str | None = None
    subscription_id: str | None = None
    status: Annotated[list[Literal["succeeded", "failed", "pending", "review"]] | None, Many] = None


@bp.post("/refunds", endpoint="create_refund")
@idempotent
@route_spec(RefundShape, body=NewRefund, errors=(503,))
def create() -> ResponseReturnValue:
    """Refund a payment: in full, or the given `items` only."""
    sent = body(NewRefund)
    with services().database.open(caller().scope) as reading:
        paid = read.payment(reading, sent.payment_id).payment
        lines = read.lines_of(reading, sent.payment_id) if sent.items else []
    if sent.currency not in (None, paid.currency):
        message = f"This payment was made in {paid.currency}."
        raise Invalid(sentence=f"currency: {message}", fields={"currency": message})
    refund_items = _refund_items(sent.items, lines, paid.left_minor) if sent.items else None
    row = refund_payment.refund(
        processor(), caller().scope, sent.payment_id, items=refund_items, reason=sent.reason, metadata=sent.metadata,
    )  # fmt: skip
    with services().database.open(caller().scope) as reading:
        return json_response(RefundShape.of(*read.refund(reading, row.id)))


@bp.get("/refunds", endpoint="refunds")
@route_spec(RefundItem, form="items", query=RefundQuery)
def index() -> ResponseReturnValue:
    """List refunds, newest first."""
    params = query(RefundQuery)
    rows = read.refunds(db(), params.page, customer_id=params.customer_id, subscription_id=params.subscription_id, status=params.status)
    return items(RefundItem.of(row) for row in rows)


@bp.get("/refunds/<refund_id>", endpoint="refund")
@route_spec(RefundShape)
def show(refund_id: str) -> ResponseReturnValue:
    """Return a refund."""
    return json_response(RefundShape.of(*read.refund(db(), refund_id)))


def _refund_items(wanted: list[RefundItemInput], lines: list[InvoiceLine], unrefunded: int) -> list[dict[str, Any]]:
    """Return the amount to refund of each line, tax included. Together they do not exceed what is left of the payment.

    Raises NotFound (no such line), Invalid (more than is left, or the same line twice).
    """
    by_id = {**{row.product_id: row for row in lines if row.product_id}, **{row.id: row for row in lines}}
    out: dict[str, int] = {}
    for place, item in enumerate(wanted):
        row = by_id.get(item.item_id)
        if row is None:
            raise NotFound(sentence=f"items.{place}.item_id: this payment has no such item.")
        left = min(row.net_minor + row.tax_minor - row.refunded_minor, unrefunded - sum(out.values()))
        amount = left if item.amount is None else item.amount if item.tax_inclusive else item.amount + tax_on(item.amount, row.tax_bps)
        if row.id in out or amount > left or amount <= 0:
            raise Invalid(
                "REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT" if amount > left else "INVALID_REQUEST_BODY",
                f"items.{place}: at most {left} of this item can be refunded, and each item only once.",
                fields={f"items.{place}.amount": f"At most {left}."},
            )  # fmt: skip
        out[row.id] = amount
    return [{"line_id": line_id, "amount_minor": amount} for line_id, amount in out.items()]
