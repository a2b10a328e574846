"""Records the outcome of a refund on its payment, invoice, license keys and totals."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import undefer

from billing.charging import totals
from billing.charging.look_up_times import next_settled_look_up
from billing.charging.method_details import receipt_label
from billing.charging.purchase_keys import follow_money
from billing.charging.refunds import lock_subscription
from billing.documents.issuing import seller_of
from billing.documents.numbering import take_number
from billing.model import lifecycle
from billing.model.authors import actor_of
from billing.model.disputes import taken_by_disputes
from billing.model.events import emit_about
from billing.model.invoices import Invoice, InvoiceLine
from billing.model.parties import Business
from billing.model.payments import Payment, Refund
from billing.pricing import credit
from billing.receipts.write import write_refund_receipt
from core import clock
from core.db import ScopedSession
from core.money import largest_remainder, major, round_half_up


def record_refund_success(db: ScopedSession, refund: Refund) -> None:
    """Record a successful refund on its payment, invoice, license keys and totals, and create the snapshot of its document."""
    is_minimal = refund.status == "succeeded"  # `minimal_bookings.py` has already recorded it on the payment
    if not is_minimal:
        refund.status = lifecycle.move(lifecycle.REFUND, refund.status, "succeed")
    refund.settled_at = clock.now()
    refund.check_at = next_settled_look_up(refund.settled_at)
    business = db.scalar(select(Business))
    payment = db.scalar(select(Payment).where(Payment.id == refund.payment_id).with_for_update())
    assert business is not None and payment is not None
    lock_subscription(db, refund.subscription_id)
    payment.refunded_minor += 0 if is_minimal else refund.amount_minor
    invoice = None
    if refund.invoice_id:
        query = select(Invoice).options(undefer(Invoice.snapshot))  # the guard refuses to load a column later
        invoice = db.scalar(query.where(Invoice.id == refund.invoice_id).with_for_update())
    if invoice is not None:
        if refund.withdrawn is None:
            credit.withdraw(db, refund.invoice_id, refund.amount_minor)
        invoice.refunded_minor += refund.amount_minor
        parts = allocate_refund(db, invoice, refund)
        refund.allocated = [{"line_id": line.id, "amount_minor": part} for line, part in parts]
        refund.number = take_number(db, business, "refund", f"{business.invoice_prefix}-R")
        refund.snapshot = {
            **invoice.snapshot,
            "kind": "refund",
            "number": refund.number,
            "credits": invoice.number,
            "seller": seller_of(business),
            "issued_at": clock.now().isoformat(),
            "reason": refund.reason,
            "total_minor": refund.amount_minor,
            "due_minor": refund.amount_minor,
            "credit_applied_minor": 0,
            "paid": {"state": "paid", "at": clock.now().isoformat(), "method": receipt_label(payment.method)},
            **refund_sums(invoice, refund.amount_minor, parts if refund.lines else ()),
        }
    if refund.invoice_id:
        follow_money(db, business, payment, taken_by_disputes(db, payment))
    totals.add_refunded(db, business, refund.customer_id, refund.amount_minor, refund.currency)
    actor, method = actor_of(refund), receipt_label(payment.method)
    emit_about(
        db,
        refund,
        "refund.succeeded",
        actor=actor,
        **write_refund_receipt(db, refund, actor=actor, paid_at=payment.created_at, method=method),
        payment_id=payment.id,
        amount=refund.amount_minor,
        currency=refund.currency,
        subscription_id=refund.subscription_id,
    )


def allocate_refund(db: ScopedSession, invoice: Invoice, refund: Refund) -> list[tuple[InvoiceLine, int]]:
    """Record a refund on the invoice's items: on the named ones, or from the first item on, at most the amount of each item.

    Returns the items with their refunded amounts.
    """
    lines = list(db.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position)))
    named = {item["line_id"]: item["amount_minor"] for item in refund.lines}
    left, out = refund.amount_minor, []
    for line in lines:
        available = max(line.net_minor + line.tax_minor - line.refunded_minor, 0)  # 0 for a credit line
        part = min(available, named.get(line.id, 0) if named else left)
        line.refunded_minor += part
        left -= part
        if part:
            out.append((line, part))
    return out


def refund_sums(invoice: Invoice, amount_minor: int, named: Sequence[tuple[InvoiceLine, int]] = ()) -> dict[str, Any]:
    """Return the lines and tax of a refund's document, one line for each tax rate, with the tax contained in `amount_minor`.

    The amounts come from the `named` lines, or follow the proportions of the invoice.
    """
    rates = (
        [(item.tax_code, item.tax_bps, item.tax_reason, item.net_minor, item.tax_minor) for item, _ in named]
        or [(item.get("code"), item["bps"], item.get("reason"), item["net_minor"], item["tax_minor"]) for item in invoice.snapshot["tax"]]
        or [(None, 0, None, amount_minor, 0)]
    )
    whole = sum(net + tax for *_, net, tax in rates)
    shares = [part for _, part in named] or largest_remainder(
        [Fraction((net + tax) * amount_minor, whole) if whole else Fraction(0) for *_, net, tax in rates], amount_minor
    )
    sums: dict[tuple[Any, ...], list[int]] = {}
    for (code, bps, reason, net, tax), share in zip(rates, shares, strict=True):
        part = sums.setdefault((code, bps, reason), [0, 0])
        part[1] += (tax_share := round_half_up(Fraction(share * tax, net + tax)) if net + tax else 0)
        part[0] += share - tax_share
    exact = {(item.get("code"), item["bps"], item.get("reason")): item["rate"] for item in invoice.snapshot["tax"] if item.get("rate")}
    tax_rows = [
        {"code": key[0], "bps": key[1], "reason": key[2], "net_minor": net, "tax_minor": tax, **_if_exact("rate", exact.get(key))}
        for key, (net, tax) in sums.items()
    ]
    lines = [
        {
            "kind": "item",
            "description": invoice.description,
            "quantity": 1,
            "unit_minor": tax_row["net_minor"],
            "unit_net": major(tax_row["net_minor"], invoice.currency),
            "list_minor": tax_row["net_minor"],
            "net_minor": tax_row["net_minor"],
            "tax_minor": tax_row["tax_minor"],
            "tax_bps": tax_row["bps"],
            "tax_code": tax_row["code"],
            "tax_reason": tax_row["reason"],
            "starts_at": None,
            "ends_at": None,
            **_if_exact("tax_rate", tax_row.get("rate")),
        }
        for tax_row in tax_rows
    ]
    return {"lines": lines, "subtotal_minor": sum(tax_row["net_minor"] for tax_row in tax_rows), "tax": tax_rows, "inclusive": False}


def _if_exact(name: str, rate: str | None) -> dict[str, str]:
    """Return the percentage of a rate that basis points cannot express."""
    return {name: rate} if rate else {}
