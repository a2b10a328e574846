"""Loading payments with their invoices, and refunds. Nothing of it is open here: no gateway of ours knows these keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import undefer

from billing import knowing
from billing.cart import cart_of
from billing.catalogue import Product
from billing.commands.loading.batch import Batch
from billing.commands.loading.papers import bill, lines_for, rate, refund_number, refund_paper
from billing.commands.loading.parties import mention
from billing.invoices import Invoice
from billing.loaded import Record
from billing.methods import method_words
from billing.parties import Customer
from billing.payments import Payment, Refund
from billing.refunds import spread
from billing.subscriptions import Subscription

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""When our gateway is asked about what another system settles."""
LATELY = timedelta(days=2)


def payments(batch: Batch, records: list[Record]) -> None:
    rows = batch.found(Payment, [one.id for one in records])
    buyers = batch.found(Customer, [one.customer_id for one in records], "customer_id")
    plans = batch.found(Subscription, [one.values["subscription_id"] for one in records])
    wanted = {item["product_id"] for one in records for item in one.more["cart"]} | {plan.product_id for plan in plans.values()}
    products = batch.found(Product, wanted)
    named = {one.more["method_id"]: (str(one.customer_id), one.values["method"]) for one in records if one.more["method_id"]}
    methods = mention(batch, named)
    billed: list[tuple[Payment, Record]] = []
    for one in records:
        row, plan = rows.get(one.id), plans.get(one.values["subscription_id"] or "")
        if row is not None and (row.status == "succeeded" or row.customer_id != one.customer_id):
            continue  # what was taken stays as it was told; what goes back is a refund
        items = [(item["product_id"], item["quantity"]) for item in one.more["cart"]] or ([(plan.product_id, 1)] if plan else [])
        lines = lines_for([(products[product_id], quantity) for product_id, quantity in items], one.values["amount_minor"],
                          one.values["tax_minor"])
        method_id = one.more["method_id"]
        was = row.status if row is not None else None
        row = batch.write(
            Payment, one, row, customer_id=one.customer_id, brand_id=batch.business_id, key=f"{batch.origin.account_id}/{one.id}",
            is_open=False, gateway=batch.source, cart=cart_of(lines),
            updated_at=one.values["updated_at"] or one.values["created_at"] or batch.at,
            payment_method_id=method_id if method_id in methods and methods[method_id].customer_id == one.customer_id else None,
        )  # fmt: skip
        if row.status == "succeeded" and was != "succeeded" and row.amount_minor:
            batch.money(row.customer_id, row.currency, row.created_at, paid=row.amount_minor)
            knowing.paid_elsewhere(buyers[row.customer_id], row)
            _taxed(batch, row, plan)
        if row.status == "succeeded" and row.amount_minor and row.invoice_id is None:
            billed.append((row, one))
    batch.db.flush()
    for row, one in billed:
        plan = plans.get(row.subscription_id or "")
        row.invoice_id = bill(batch, row, one, buyers[row.customer_id], plan)
    batch.db.flush()


def _taxed(batch: Batch, payment: Payment, plan: Subscription | None) -> None:
    """What the other system took as tax is what it will take next time: lists begin with the newest payment."""
    if plan is None or plan.collected_by == "us" or payment.charge_type not in ("new", "renewal"):
        return
    if "tax_bps" not in plan.billing or batch.at - payment.created_at < LATELY:
        plan.billing = {**plan.billing, "tax_bps": rate(payment.amount_minor - payment.tax_minor, payment.tax_minor)}


def refunds(batch: Batch, records: list[Record]) -> None:
    rows = batch.found(Refund, [one.id for one in records])
    paid = batch.found(Payment, [one.values["payment_id"] for one in records])
    whole = select(Invoice).options(undefer(Invoice.snapshot)).where(Invoice.id.in_([one.invoice_id or "" for one in paid.values()]))
    invoices = {one.id: one for one in batch.db.scalars(whole.execution_options(populate_existing=True))}
    for one in records:
        row, payment = rows.get(one.id), paid[one.values["payment_id"]]
        if (row is not None and row.status == "succeeded") or payment.account_id != batch.origin.account_id:
            continue  # money that went back stays back
        if row is not None and row.payment_id != payment.id:
            continue
        left = payment.amount_minor - payment.refunded_minor
        amount = left if one.values["amount_minor"] is None else one.values["amount_minor"]
        row = batch.write(Refund, one, row, **_columns(batch, one, payment, amount))
        if row.status == "succeeded" and 0 < amount <= left:
            _gone_back(batch, row, payment, invoices.get(payment.invoice_id or ""))


def _columns(batch: Batch, one: Record, payment: Payment, amount: int) -> dict[str, Any]:
    told = one.values
    return {
        "customer_id": payment.customer_id, "invoice_id": payment.invoice_id, "subscription_id": payment.subscription_id,
        "brand_id": payment.brand_id, "amount_minor": amount, "currency": payment.currency, "key": f"{batch.origin.account_id}/{one.id}",
        "is_partial": amount < payment.amount_minor if told["is_partial"] is None else told["is_partial"], "lines": [],
        "check_at": NEVER, "settled_at": (told["created_at"] or batch.at) if told["status"] in ("succeeded", "failed") else None,
    }  # fmt: skip


def _gone_back(batch: Batch, row: Refund, payment: Payment, invoice: Invoice | None) -> None:
    payment.refunded_minor += row.amount_minor
    batch.money(row.customer_id, row.currency, row.created_at, refunded=row.amount_minor)
    row.number = refund_number(batch, row)
    if invoice is not None:
        invoice.refunded_minor += row.amount_minor
        batch.db.flush()
        spread(batch.db, invoice, row)
        row.snapshot = refund_paper(batch, row, invoice, method_words(payment.method))


