"""Unpaid invoices of Stripe as records, and the page where one is paid."""

from __future__ import annotations

from typing import Any

from billing.model.imported_records import Record
from core.errors import N_
from tenants.external.stripe.payments import MOST_LINES, REASONS, cart_of
from tenants.external.stripe.values import address, child, children, currency, id_of, minor, moment
from tenants.external.system import CallFailed, Json
from tenants.imports.shapes import mirrored_invoice

STATES = {"open": "open", "paid": "paid", "void": "void", "uncollectible": "void"}
"""A draft has no number and is not shown. The business does not expect an uncollectible invoice to be paid, so it cannot be paid here."""

NOT_READY = N_("This invoice isn't ready to be paid yet. Please try again later.")
NOT_PAYABLE = N_("This invoice can no longer be paid. Contact the business.")
NO_INVOICE = N_("There is no unpaid invoice for this subscription.")


def invoice(data: Json) -> list[Record]:
    """Return an invoice of a subscription; none for a draft, and for one without a subscription, a customer or a number."""
    status, buyer = STATES.get(str(data.get("status"))), id_of(data.get("customer"))
    subscription = id_of(child(data, "parent", "subscription_details", "subscription"))
    if status is None or buyer is None or subscription is None or not data.get("number"):
        return []
    code, lines = currency(data.get("currency")), children(data, "lines")[:MOST_LINES]
    total = max(minor(data.get("total"), code), 0)
    tax = sum(minor(item.get("amount"), code) for item in children(data, "total_taxes"))
    period = child(lines[0], "period") if lines else None
    return [mirrored_invoice({
        "invoice_id": data.get("id"), "number": data.get("number"), "customer": {"customer_id": buyer}, "subscription_id": subscription,
        "status": status, "currency": code, "total": total, "tax": min(max(tax, 0), total),
        "due": minor(data.get("amount_remaining"), code) if status == "open" else 0,
        "kind": REASONS.get(str(data.get("billing_reason")), "new"), "product_cart": cart_of(lines),
        "billing": address(data.get("customer_address")), "created_at": moment(data.get("created")),
        "service_periods": [{"starts_at": moment(child(period, "start")), "ends_at": moment(child(period, "end"))}] if period else [],
    })]  # fmt: skip


def payment_page(api: Any, subscription_id: str, invoice_id: str | None) -> str | None:
    """Return the hosted page of an open invoice, by default of the subscription's latest; None for a paid one.

    Raises CallFailed for one that cannot be paid. The hosted page belongs to the invoice, so asking twice changes nothing.
    """
    if invoice_id:
        found = api.get(f"/v1/invoices/{invoice_id}")
    else:
        found = api.get(f"/v1/subscriptions/{subscription_id}", expand=["latest_invoice"]).get("latest_invoice")
    status, link = child(found, "status"), child(found, "hosted_invoice_url")
    if status == "open" and isinstance(link, str):
        return link
    if status == "paid" and invoice_id:
        return None
    raise CallFailed(400, NOT_READY if status == "draft" else NOT_PAYABLE if invoice_id else NO_INVOICE)
