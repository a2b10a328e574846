"""Creates the invoices and refund documents of imported payments, in the format of our own and with the source's numbers."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import undefer

from billing.charging.method_details import method_label
from billing.charging.refund_outcomes import refund_sums
from billing.documents.issuing import seller_of, snapshot
from billing.imports.batch import ImportBatch
from billing.model.catalogue import Product
from billing.model.imported_records import Record
from billing.model.invoices import Invoice, InvoiceLine
from billing.model.parties import Customer
from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from billing.pricing.prices import PriceLine
from core.ids import new_id
from core.money import largest_remainder, tax_on

_KINDS = {"renewal": "renewal", "plan_change": "plan_change"}


def lines_for(items: list[tuple[Product, int]], amount: int, tax: int) -> list[PriceLine]:
    """Distribute a paid amount over the bought items in proportion to their prices, at the rate that its net and tax imply."""
    net, weights = amount - tax, [product.price_minor * count for product, count in items]
    if not items:
        return []
    if not sum(weights):
        weights = [0] * (len(items) - 1) + [1]
    nets, taxes = (largest_remainder([Fraction(whole * weight, sum(weights)) for weight in weights], whole) for whole in (net, tax))
    bps, lines = rate(net, tax), []
    for (product, count), part, tax_part in zip(items, nets, taxes, strict=True):
        each, rest = divmod(part, count)
        count, each = (1, part) if rest else (count, each)
        lines.append(PriceLine(product.name, count, each, part, tax_part, bps, product.id, tax_code="S" if bps else None))
    return lines


def bill(batch: ImportBatch, payment: Payment, record: Record, buyer: Customer, plan: Subscription | None) -> str:
    """Close the open invoice of a payment, or create a paid one with the source's number. Returns its id.

    If two payments name the same invoice, each successful payment gets its own.
    """
    source_id = batch.names.reference_of("payment", payment.id)
    number = record.more["invoice_id"] or f"inv_{source_id}"
    receipt = {"state": "paid", "at": payment.created_at.isoformat(), "method": method_label(payment.method)}
    if (unpaid := _unpaid(batch, payment, number)) is not None:
        unpaid.status, unpaid.paid_minor, unpaid.paid_at, unpaid.receipt = "paid", unpaid.due_minor, payment.created_at, receipt
        unpaid.snapshot = {**unpaid.snapshot, "paid": receipt, "payment_id": payment.id}
        return unpaid.id
    net, tax = payment.amount_minor - payment.tax_minor, payment.tax_minor
    lines = [PriceLine(**item) for item in payment.cart] or [PriceLine(batch.business.name, 1, net, net, tax, rate(net, tax))]
    starts_at, ends_at = record.more["starts_at"], record.more["ends_at"]
    invoice = add_invoice(
        batch, new_id("inv"), number, buyer, plan, lines, suffix=source_id, payment_id=payment.id,
        operation=f"{batch.origin.account_id}:{payment.id}", kind=_KINDS.get(payment.charge_type, "new" if plan else "one_time"),
        status="paid", currency=payment.currency, tax_minor=tax, total_minor=payment.amount_minor,
        credit_applied_minor=0, due_minor=payment.amount_minor, paid_minor=payment.amount_minor,
        starts_at=starts_at if ends_at else None, ends_at=ends_at if starts_at else None, issued_at=payment.created_at,
        paid_at=payment.created_at, receipt=receipt, billing=payment.billing,
    )  # fmt: skip
    return invoice.id


def _unpaid(batch: ImportBatch, payment: Payment, number: str) -> Invoice | None:
    """Return the account's invoice of this number that the payment pays in full."""
    return batch.db.scalar(
        select(Invoice)
        .options(undefer(Invoice.snapshot))
        .where(
            Invoice.number == number,
            Invoice.account_id == batch.origin.account_id,
            Invoice.customer_id == payment.customer_id,
            Invoice.paid_minor == 0,
            Invoice.due_minor == payment.amount_minor,
        )
    )


def add_invoice(
    batch: ImportBatch, invoice_id: str, number: str, buyer: Customer, plan: Subscription | None, lines: list[PriceLine], *,
    billing: dict[str, Any], suffix: str = "", payment_id: str | None = None, **columns: Any,
) -> Invoice:  # fmt: skip
    """Add an invoice with its lines and its snapshot. `suffix`: for a number that is taken. `payment_id`: of the payment that paid it."""
    invoice = Invoice(
        business_id=batch.business_id, account_id=batch.origin.account_id, customer_id=buyer.customer_id, id=invoice_id,
        number=_free_number(batch, Invoice, number, suffix or invoice_id), subscription_id=plan.id if plan else None,
        description=(", ".join(line.description for line in lines) or batch.business.name)[:200],
        subtotal_minor=columns["total_minor"] - columns["tax_minor"], refunded_minor=0, credited_minor=0, **columns,
    )  # fmt: skip
    recipient = plan or buyer  # the source has the company of a subscription, and of a customer
    issued = snapshot(
        batch.business, buyer, invoice, lines, billing=billing, tax_id=recipient.tax_id, business_name=recipient.business_name,
        test_mode=batch.test_mode,
    )  # fmt: skip
    paid = {"paid": invoice.receipt, "payment_id": payment_id} if payment_id else {}
    invoice.snapshot = {**issued, **paid, "held_by": batch.source}
    batch.db.add(invoice)
    batch.db.flush()
    batch.db.add_all(
        InvoiceLine(
            business_id=batch.business_id, customer_id=buyer.customer_id, id=f"{invoice_id}.{n}", invoice_id=invoice_id, position=n,
            product_id=line.product_id, description=line.description, quantity=line.quantity, unit_minor=line.unit_minor,
            net_minor=line.net_minor, tax_minor=line.tax_minor, tax_bps=line.tax_bps, tax_code=line.tax_code, refunded_minor=0,
        )
        for n, line in enumerate(lines)
    )  # fmt: skip
    return invoice


def refund_number(batch: ImportBatch, refund: Refund) -> str:
    """Return the number of a refund's document, which is the source's id."""
    return _free_number(batch, Refund, batch.names.reference_of("refund", refund.id), refund.id)


def _free_number(batch: ImportBatch, model: type[Invoice] | type[Refund], wanted: str, source_id: str) -> str:
    """Return `wanted`, or a longer number if it is taken. A mirrored account gets no number of our own series either."""
    prefix = re.escape(batch.business.invoice_prefix)
    is_free = not (batch.origin.is_mirror and re.fullmatch(rf"{prefix}(-[A-Z]+)?-?[0-9]+", wanted, re.IGNORECASE))
    if is_free and batch.db.scalar(select(model.id).where(model.number == wanted).limit(1)) is None:
        return wanted
    longer = f"{wanted}.{source_id}"
    return longer if batch.db.scalar(select(model.id).where(model.number == longer).limit(1)) is None else f"{wanted}.{new_id('doc')}"


def refund_snapshot(batch: ImportBatch, refund: Refund, invoice: Invoice, method: str | None) -> dict[str, Any]:
    at = refund.created_at.isoformat()
    return {
        **invoice.snapshot,
        "kind": "refund",
        "number": refund.number,
        "credits": invoice.number,
        "seller": seller_of(batch.business),
        "issued_at": at,
        "reason": refund.reason,
        "total_minor": refund.amount_minor,
        "due_minor": refund.amount_minor,
        "credit_applied_minor": 0,
        "paid": {"state": "paid", "at": at, "method": method},
        **refund_sums(invoice, refund.amount_minor),
    }


def rate(net: int, tax: int) -> int:
    """Return the roundest tax rate in basis points that gives `tax` for `net` (19 % rather than 18.98 %)."""
    if net <= 0 or tax <= 0:
        return 0
    raw = tax * 10_000 / net
    for step in (100, 50, 25, 10, 5):
        if tax_on(net, near := round(raw / step) * step) == tax:
            return near
    return round(raw)
