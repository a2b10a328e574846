"""Refunds: the row and its derived key, before the gateway hears of it; and what its outcome does to payment, invoice and totals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from fractions import Fraction
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import undefer

from billing import credit, lifecycle, parked, policy, totals
from billing.authors import actor_of, author_of
from billing.invoices import Invoice, InvoiceLine
from billing.invoicing import seller_of
from billing.licences import LicenseKey
from billing.methods import method_words
from billing.numbers import take_number
from billing.parties import Business
from billing.payments import Payment, Refund
from billing.ports import Outcome
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.errors import Conflict, Invalid
from core.ids import new_id
from core.money import largest_remainder, major, round_half_up
from core.outbox import emit
from core.scope import Actor
from core.settings import Settings

WINDOW = timedelta(days=90)
"""How long somebody may ask. What we owe back by ourselves (money that came too late) has no such end."""


def request_refund(
    db: ScopedSession, payment: Payment, amount_minor: int, reason: str | None, settings: Settings, *,
    lines: Sequence[dict[str, Any]] = (), metadata: dict[str, Any] | None = None, actor: Actor | None = None, owed: bool = True,
) -> Refund:
    """`payment` is locked by the caller. `owed` False: the money was never wanted, so no invoice was paid with it.

    Raises Conflict with the contract's refund codes (§1.5), Invalid (lines); PAYMENT_NOT_BOOKED for a part of what is not booked in full;
    PREVIOUS_PAYMENT_PENDING while a plan change of the subscription waits for its payment, because its figures count on this money.
    """
    if payment.status != "succeeded":
        raise Conflict("PAYMENT_NOT_SUCCEEDED", "Only a payment that was taken can be refunded.")
    lock_subscription(db, payment.subscription_id)
    owed = owed and paid_its_invoice(db, payment)
    if owed and open_plan_change(db, payment.subscription_id) is not None:
        raise Conflict("PREVIOUS_PAYMENT_PENDING", "A plan change of this subscription is being paid. Refund it when that is settled.")
    check_refund(db, payment, amount_minor, lines, owed=owed)
    if owed and payment.invoice_id:  # only what an invoice was paid with is refunded against it
        lifecycle.move(lifecycle.INVOICE, db.scalar(select(Invoice.status).where(Invoice.id == payment.invoice_id)) or "", "refund")
    number = (db.scalar(select(func.count()).select_from(Refund).where(Refund.payment_id == payment.id)) or 0) + 1
    refund = Refund(
        business_id=payment.business_id, customer_id=payment.customer_id, id=new_id("ref"), payment_id=payment.id,
        invoice_id=payment.invoice_id if owed else None, subscription_id=payment.subscription_id, brand_id=payment.brand_id,
        amount_minor=amount_minor, currency=payment.currency, status="pending", is_partial=amount_minor < payment.amount_minor,
        reason=reason, key=f"{settings.mode}/{payment.business_id}/refund:{payment.id}/{number}", lines=list(lines), meta=metadata or {},
        withdrawn=[], author=author_of(db, actor), check_at=clock.wall(), fence=0, created_at=clock.now(),
    )
    refund.withdrawn = credit.withdraw(db, refund.invoice_id, amount_minor)
    db.add(refund)
    emit(db, "refund.pending", business_id=payment.business_id, customer_id=payment.customer_id, noun=refund.id, actor=actor,
         data={"payment_id": payment.id, "amount": amount_minor, "currency": payment.currency})
    return refund


def check_refund(
    db: ScopedSession, payment: Payment, amount_minor: int, lines: Sequence[dict[str, Any]], *, owed: bool, lock: bool = True
) -> None:
    """Raises as `request_refund`, but for an open plan change. `lock`: False where nothing is written yet."""
    left = payment.amount_minor - payment.refunded_minor - (credit.spent(db, payment, lock=lock) if owed else 0)
    if payment.amount_minor == 0:
        raise Conflict("ZERO_AMOUNT_PAYMENT_REFUND_NOT_ALLOWED", "Nothing was taken, so nothing can be refunded.")
    if left == 0:
        raise Conflict("PAYMENT_ALREADY_REFUNDED", "All of it was refunded already.")
    if amount_minor <= 0:
        raise Conflict("NOTHING_TO_REFUND", "The amount to refund must be more than nothing.")
    if amount_minor > left:
        raise Conflict("REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT", "This is more than what is left of the payment.")
    if owed and clock.now() - payment.created_at > WINDOW:
        raise Conflict("REFUND_WINDOW_EXPIRED", "A payment can be refunded for 90 days.")
    if amount_minor < left and parked.is_unbooked(db, payment.id):  # of what was refunded before it was booked, nothing is delivered
        raise Conflict("PAYMENT_NOT_BOOKED", "This money was taken. Complete its booking, or refund all of it first.")
    check_lines(db, payment, lines)
    mine = select(Refund).where(Refund.payment_id == payment.id)
    if db.scalar(mine.where(Refund.status == "pending").limit(1)) is not None:
        raise Conflict("EXISTING_REFUND_REQUEST_PROCESSING", "A refund of this payment is under way.")


def paid_its_invoice(db: ScopedSession, payment: Payment) -> bool:
    """False for money that arrived when nothing was owed: its refunds are booked on no invoice, also when one of them failed."""
    unowed = select(Refund.id).where(Refund.payment_id == payment.id, Refund.invoice_id.is_(None))
    if payment.invoice_id is None or db.scalar(unowed.limit(1)) is not None:
        return False
    return db.scalar(select(Invoice.id).where(Invoice.id == payment.invoice_id, Invoice.status == "paid")) is not None


def refundable(db: ScopedSession, payment: Payment) -> int:
    """What of a payment can be refunded now, in minor units: not what was refunded, nor what became credit and was used."""
    used = credit.spent(db, payment, lock=False) if paid_its_invoice(db, payment) else 0
    return max(payment.amount_minor - payment.refunded_minor - used, 0) if payment.status == "succeeded" else 0


def has_refund(db: ScopedSession, payment: Payment) -> bool:
    """Whether a refund of the payment was made or is under way."""
    mine = select(Refund.id).where(Refund.payment_id == payment.id, Refund.status != "failed")
    return db.scalar(mine.limit(1)) is not None


def open_plan_change(db: ScopedSession, subscription_id: str | None) -> Payment | None:
    """The payment that a plan change of the subscription waits for."""
    if subscription_id is None:
        return None
    return db.scalar(
        select(Payment).where(Payment.subscription_id == subscription_id, Payment.charge_type == "plan_change", Payment.is_open).limit(1)
    )


def lock_subscription(db: ScopedSession, subscription_id: str | None) -> None:
    """One lock order everywhere: payment, subscription, invoice. Whoever needs an invoice's subscription locks that first."""
    if subscription_id:
        db.scalar(select(Subscription.id).where(Subscription.id == subscription_id).with_for_update())


def check_lines(db: ScopedSession, payment: Payment, lines: Sequence[dict[str, Any]]) -> None:
    """Every named line is one of the payment's invoice, named once, and has that much left."""
    if not lines:
        return
    rows = {one.id: one for one in db.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == payment.invoice_id))}
    if len({one["line_id"] for one in lines}) != len(lines) or any(one["line_id"] not in rows for one in lines):
        raise Invalid(sentence="Name each line of this payment's invoice at most once.", fields={"items": "Not a line of it."})
    for one in lines:
        row = rows[one["line_id"]]
        if not 0 < one["amount_minor"] <= row.net_minor + row.tax_minor - row.refunded_minor:
            raise Conflict("REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT", "This is more than what is left of this line.")


def refunded(db: ScopedSession, refund: Refund) -> None:
    minimal = refund.status == "succeeded"  # `unbooked.py` booked it on the payment already
    if not minimal:
        refund.status = lifecycle.move(lifecycle.REFUND, refund.status, "succeed")
    refund.settled_at, refund.check_at = clock.now(), None
    business = db.scalar(select(Business))
    payment = db.scalar(select(Payment).where(Payment.id == refund.payment_id).with_for_update())
    assert business is not None and payment is not None
    lock_subscription(db, refund.subscription_id)
    payment.refunded_minor += 0 if minimal else refund.amount_minor
    invoice = None
    if refund.invoice_id:
        whole = select(Invoice).options(undefer(Invoice.snapshot))  # the guard refuses loading a column afterwards
        invoice = db.scalar(whole.where(Invoice.id == refund.invoice_id).with_for_update())
    if invoice is not None:
        if refund.withdrawn is None:
            credit.withdraw(db, refund.invoice_id, refund.amount_minor)
        invoice.refunded_minor += refund.amount_minor
        parts = spread(db, invoice, refund)
        refund.number = take_number(db, business, "refund", f"{business.invoice_prefix}-R")
        refund.snapshot = {
            **invoice.snapshot, "kind": "refund", "number": refund.number, "credits": invoice.number, "seller": seller_of(business),
            "issued_at": clock.now().isoformat(), "reason": refund.reason, "total_minor": refund.amount_minor,
            "due_minor": refund.amount_minor, "credit_applied_minor": 0,
            "paid": {"state": "paid", "at": clock.now().isoformat(), "method": method_words(payment.method)},
            **refund_sums(invoice, refund, parts if refund.lines else ()),
        }
    if refund.invoice_id and payment.refunded_minor == payment.amount_minor and policy.setting(business, "keys_on_full_refund") == "revoke":
        revoke_keys(db, payment)
    totals.refunded(db, business, refund.customer_id, refund.amount_minor, refund.currency)
    emit(db, "refund.succeeded", business_id=refund.business_id, customer_id=refund.customer_id, noun=refund.id, actor=actor_of(refund),
         data={"payment_id": payment.id, "amount": refund.amount_minor, "currency": refund.currency,
               "subscription_id": refund.subscription_id})


def revoke_keys(db: ScopedSession, payment: Payment) -> None:
    """The license keys of a purchase that was refunded in full stop working. Those of a subscription follow the subscription."""
    for key in db.scalars(select(LicenseKey).where(LicenseKey.payment_id == payment.id, LicenseKey.revoked_at.is_(None))):
        key.revoked_at = clock.now()
        if key.status == "active":
            key.status = "disabled"
        emit(db, "license_key.updated", business_id=key.business_id, customer_id=key.customer_id, noun=key.id,
             data={"fields": ["status"], "why": "refunded"})


def refund_failed(db: ScopedSession, refund: Refund, outcome: Outcome) -> None:
    refund.status = lifecycle.move(lifecycle.REFUND, refund.status, "fail")
    refund.settled_at, refund.check_at = clock.now(), None
    lock_subscription(db, refund.subscription_id)
    credit.restore(db, refund)
    emit(db, "refund.failed", business_id=refund.business_id, customer_id=refund.customer_id, noun=refund.id, actor=actor_of(refund),
         data={"payment_id": refund.payment_id, "error_code": outcome.error_code})


def spread(db: ScopedSession, invoice: Invoice, refund: Refund) -> list[tuple[InvoiceLine, int]]:
    """Book a refund on the invoice's items: the named ones, or from the first on, never more than an item was. What went to which."""
    lines = list(db.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position)))
    named = {one["line_id"]: one["amount_minor"] for one in refund.lines}
    left, out = refund.amount_minor, []
    for line in lines:
        room = max(line.net_minor + line.tax_minor - line.refunded_minor, 0)  # a line of credit has none
        part = min(room, named.get(line.id, 0) if named else left)
        line.refunded_minor += part
        left -= part
        if part:
            out.append((line, part))
    return out


def refund_sums(invoice: Invoice, refund: Refund, named: Sequence[tuple[InvoiceLine, int]] = ()) -> dict[str, Any]:
    """One line for each rate, with the tax that the refunded amount contains: of the `named` lines, or in the invoice's own proportion."""
    rates = [(one.tax_code, one.tax_bps, one.tax_reason, one.net_minor, one.tax_minor) for one, _ in named] or [
        (one.get("code"), one["bps"], one.get("reason"), one["net_minor"], one["tax_minor"]) for one in invoice.snapshot["tax"]
    ] or [(None, 0, None, refund.amount_minor, 0)]
    whole = sum(net + tax for *_, net, tax in rates)
    shares = [part for _, part in named] or largest_remainder(
        [Fraction((net + tax) * refund.amount_minor, whole) if whole else Fraction(0) for *_, net, tax in rates], refund.amount_minor)
    sums: dict[tuple[Any, ...], list[int]] = {}
    for (code, bps, reason, net, tax), share in zip(rates, shares, strict=True):
        part = sums.setdefault((code, bps, reason), [0, 0])
        part[1] += (of_tax := round_half_up(Fraction(share * tax, net + tax)) if net + tax else 0)
        part[0] += share - of_tax
    tax_rows = [{"code": code, "bps": bps, "reason": reason, "net_minor": net, "tax_minor": tax}
                for (code, bps, reason), (net, tax) in sums.items()]
    lines = [{"kind": "item", "description": invoice.description, "quantity": 1, "unit_minor": one["net_minor"],
              "unit_net": major(one["net_minor"], invoice.currency), "list_minor": one["net_minor"], "net_minor": one["net_minor"],
              "tax_minor": one["tax_minor"], "tax_bps": one["bps"], "tax_code": one["code"], "tax_reason": one["reason"],
              "starts_at": None, "ends_at": None} for one in tax_rows]
    return {"lines": lines, "subtotal_minor": sum(one["net_minor"] for one in tax_rows), "tax": tax_rows, "inclusive": False}
