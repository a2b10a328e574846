"""Imports payments with their invoices, and refunds. None of them is open, because our gateway does not know their keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import undefer

from billing.charging import recognition
from billing.charging.method_details import method_label
from billing.charging.refund_outcomes import allocate_refund
from billing.imports.batch import ImportBatch
from billing.imports.invoices import bill, lines_for, rate, refund_number, refund_snapshot
from billing.imports.parties import ensure_methods
from billing.model.catalogue import Product
from billing.model.imported_records import Record
from billing.model.invoices import Invoice
from billing.model.parties import Customer
from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from billing.pricing.line_items import cart_of

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""The look-up date of refunds that another system settles."""
RECENT = timedelta(days=2)


def payments(batch: ImportBatch, records: list[Record]) -> None:
    rows = batch.found(Payment, [record.id for record in records])
    buyers = batch.found(Customer, [record.customer_id for record in records], "customer_id")
    plans = batch.found(Subscription, [record.values["subscription_id"] for record in records])
    wanted = {item["product_id"] for record in records for item in record.more["cart"]} | {plan.product_id for plan in plans.values()}
    products = batch.found(Product, wanted)
    named = {record.more["method_id"]: (str(record.customer_id), record.values["method"]) for record in records if record.more["method_id"]}
    methods = ensure_methods(batch, named)
    billed: list[tuple[Payment, Record]] = []
    for entry in records:
        row, plan = rows.get(entry.id), plans.get(entry.values["subscription_id"] or "")
        if row is not None and (row.status == "succeeded" or row.customer_id != entry.customer_id):
            continue  # a successful payment does not change; refunds are separate records
        items = [(item["product_id"], item["quantity"]) for item in entry.more["cart"]] or ([(plan.product_id, 1)] if plan else [])
        lines = lines_for(
            [(products[product_id], quantity) for product_id, quantity in items], entry.values["amount_minor"], entry.values["tax_minor"]
        )
        method_id = entry.more["method_id"]
        was = row.status if row is not None else None
        row = batch.write(
            Payment, entry, row, customer_id=entry.customer_id, brand_id=batch.business_id, key=f"{batch.origin.account_id}/{entry.id}",
            is_open=False, gateway=batch.source, cart=cart_of(lines),
            updated_at=entry.values["updated_at"] or entry.values["created_at"] or batch.at,
            payment_method_id=method_id if method_id in methods and methods[method_id].customer_id == entry.customer_id else None,
        )  # fmt: skip
        if row.status == "succeeded" and was != "succeeded" and row.amount_minor:
            batch.add_money(row.customer_id, row.currency, row.created_at, paid=row.amount_minor)
            recognition.record_external_payment(buyers[row.customer_id], row)
            _update_tax_rate(batch, row, plan)
        if row.status == "succeeded" and row.amount_minor and row.invoice_id is None:
            billed.append((row, entry))
    batch.db.flush()
    for row, entry in billed:
        plan = plans.get(row.subscription_id or "")
        row.invoice_id = bill(batch, row, entry, buyers[row.customer_id], plan)
    batch.db.flush()


def _update_tax_rate(batch: ImportBatch, payment: Payment, plan: Subscription | None) -> None:
    """Store the tax rate of the latest payment as the subscription's rate. Lists start with the newest payment."""
    if plan is None or plan.collected_by == "us" or payment.charge_type not in ("new", "renewal"):
        return
    if "tax_bps" not in plan.billing or batch.at - payment.created_at < RECENT:
        plan.billing = {**plan.billing, "tax_bps": rate(payment.amount_minor - payment.tax_minor, payment.tax_minor)}


def refunds(batch: ImportBatch, records: list[Record]) -> None:
    rows = batch.found(Refund, [record.id for record in records])
    paid = batch.found(Payment, [record.values["payment_id"] for record in records])
    query = select(Invoice).options(undefer(Invoice.snapshot)).where(Invoice.id.in_([item.invoice_id or "" for item in paid.values()]))
    invoices = {entry.id: entry for entry in batch.db.scalars(query.execution_options(populate_existing=True))}
    for record in records:
        row, payment = rows.get(record.id), paid[record.values["payment_id"]]
        if (row is not None and row.status == "succeeded") or payment.account_id != batch.origin.account_id:
            continue  # a successful refund does not change
        if row is not None and row.payment_id != payment.id:
            continue
        left = payment.amount_minor - payment.refunded_minor
        amount = left if record.values["amount_minor"] is None else record.values["amount_minor"]
        row = batch.write(Refund, record, row, **_columns(batch, record, payment, amount))
        if row.status == "succeeded" and 0 < amount <= left:
            _record_refund(batch, row, payment, invoices.get(payment.invoice_id or ""))


def _columns(batch: ImportBatch, record: Record, payment: Payment, amount: int) -> dict[str, Any]:
    values = record.values
    return {
        "customer_id": payment.customer_id, "invoice_id": payment.invoice_id, "subscription_id": payment.subscription_id,
        "brand_id": payment.brand_id, "amount_minor": amount, "currency": payment.currency, "key": f"{batch.origin.account_id}/{record.id}",
        "is_partial": amount < payment.amount_minor if values["is_partial"] is None else values["is_partial"], "lines": [],
        "check_at": NEVER, "settled_at": (values["created_at"] or batch.at) if values["status"] in ("succeeded", "failed") else None,
    }  # fmt: skip


def _record_refund(batch: ImportBatch, row: Refund, payment: Payment, invoice: Invoice | None) -> None:
    payment.refunded_minor += row.amount_minor
    batch.add_money(row.customer_id, row.currency, row.created_at, refunded=row.amount_minor)
    if invoice is not None:  # a refund without an invoice has no document and no number
        row.number = refund_number(batch, row)
        invoice.refunded_minor += row.amount_minor
        batch.db.flush()
        allocate_refund(batch.db, invoice, row)
        row.snapshot = refund_snapshot(batch, row, invoice, method_label(payment.method))
