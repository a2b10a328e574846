"""Imports invoices that another system has issued and that are not paid yet.

They are shown with their amount, and paid on a page of that system. Nothing is charged for them here. A payment that is imported later
closes its invoice (`invoices.bill`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import undefer

from billing.imports.batch import ImportBatch
from billing.imports.invoices import add_invoice, lines_for
from billing.model.catalogue import Product
from billing.model.imported_records import Record
from billing.model.invoices import Invoice
from billing.model.parties import Customer
from billing.model.subscriptions import Subscription


def invoices(batch: ImportBatch, records: list[Record]) -> None:
    """Add open invoices, and close those that were paid or voided. One that was never open here is left out."""
    query = select(Invoice).options(undefer(Invoice.snapshot)).where(Invoice.id.in_([record.id for record in records]))
    rows = {row.id: row for row in batch.db.scalars(query)}
    buyers = batch.found(Customer, [record.customer_id for record in records], "customer_id")
    plans = batch.found(Subscription, [record.values["subscription_id"] for record in records])
    products = batch.found(Product, {item["product_id"] for record in records for item in record.more["cart"]})
    for record in records:
        row, values, plan = rows.get(record.id), record.values, plans[record.values["subscription_id"]]
        if row is None:
            is_theirs = plan.customer_id == record.customer_id and plan.collected_by == batch.source
            if values["status"] == "open" and values["due_minor"] > 0 and is_theirs:
                items = [(products[item["product_id"]], item["quantity"]) for item in record.more["cart"]]
                add_invoice(
                    batch, record.id, values["number"], buyers[str(record.customer_id)], plan,
                    lines_for(items, values["total_minor"], values["tax_minor"]), **_columns(batch, record),
                )  # fmt: skip
        elif row.status == "open" and row.customer_id == record.customer_id:
            _update(row, values)


def _columns(batch: ImportBatch, record: Record) -> dict[str, Any]:
    values = record.values
    starts_at, ends_at = record.more["starts_at"], record.more["ends_at"]
    return {
        "operation": f"{batch.origin.account_id}:{record.id}", "kind": values["kind"], "status": "open", "currency": values["currency"],
        "tax_minor": values["tax_minor"], "total_minor": values["total_minor"],
        "credit_applied_minor": max(values["total_minor"] - values["due_minor"], 0), "due_minor": values["due_minor"], "paid_minor": 0,
        "starts_at": starts_at if ends_at else None, "ends_at": ends_at if starts_at else None,
        "issued_at": values["created_at"] or batch.at, "billing": values["billing"],
    }  # fmt: skip


def _update(row: Invoice, values: dict[str, Any]) -> None:
    if values["status"] != "open":
        row.status = values["status"]  # a payment adds when and how much was paid
    elif 0 < values["due_minor"] <= row.total_minor:
        row.due_minor, row.credit_applied_minor = values["due_minor"], row.total_minor - values["due_minor"]
