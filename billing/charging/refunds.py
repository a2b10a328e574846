"""Checks and requests refunds. `refund.py` sends them, `refund_outcomes.py` records their outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from billing.charging import reconciliation_exceptions
from billing.model import lifecycle
from billing.model.authors import author_of
from billing.model.events import emit_about
from billing.model.invoices import Invoice, InvoiceLine
from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from billing.pricing import credit
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid
from core.ids import new_id
from core.scope import Actor
from core.settings import Settings

DISPUTED = N_("The customer disputed this payment with their bank. The disputed amount cannot be refunded as well.")
PAID_EXTERNALLY = N_("This was paid through another system. Refund it there.")
WINDOW = timedelta(days=90)
"""Time limit for requested refunds. Refunds of money that arrived too late have no limit."""


def is_paid_externally(payment: Payment) -> bool:
    """Return whether another system took the payment, so that it cannot be refunded here."""
    return payment.account_id is not None or payment.payment_account_id is None


def request_refund(
    db: ScopedSession,
    payment: Payment,
    amount_minor: int,
    reason: str | None,
    settings: Settings,
    *,
    lines: Sequence[dict[str, Any]] = (),
    metadata: dict[str, Any] | None = None,
    actor: Actor | None = None,
    owed: bool = True,
    by_policy: bool = False,
) -> Refund:
    """Create a pending refund of a payment. The caller has locked `payment`. `owed` False: no invoice was paid with the money.

    `by_policy`: the customer makes it under the business's refund policy.

    Raises Conflict with the refund codes of the contract (§1.5), Invalid (lines). PAYMENT_NOT_BOOKED: a partial refund of a payment that
    is not fully recorded. PREVIOUS_PAYMENT_PENDING: a plan change that counts on this money waits for its payment.
    """
    if payment.status != "succeeded":
        raise Conflict("PAYMENT_NOT_SUCCEEDED", N_("Only a successful payment can be refunded."))
    lock_subscription(db, payment.subscription_id)
    owed = owed and paid_its_invoice(db, payment)
    if owed and open_plan_change(db, payment.subscription_id) is not None:
        raise Conflict(
            "PREVIOUS_PAYMENT_PENDING", N_("A plan change of this subscription is being paid. Refund it when that payment is settled.")
        )
    check_refund(db, payment, amount_minor, lines, owed=owed)
    if owed and payment.invoice_id:  # only money that paid an invoice is refunded against it
        lifecycle.move(lifecycle.INVOICE, db.scalar(select(Invoice.status).where(Invoice.id == payment.invoice_id)) or "", "refund")
    refund = Refund(
        business_id=payment.business_id,
        customer_id=payment.customer_id,
        id=new_id("ref"),
        payment_id=payment.id,
        invoice_id=payment.invoice_id if owed else None,
        subscription_id=payment.subscription_id,
        brand_id=payment.brand_id,
        amount_minor=amount_minor, currency=payment.currency, status="pending",
        is_partial=amount_minor < payment.amount_minor,
        reason=reason,
        key=_next_key(db, payment, settings),
        payment_account_id=payment.payment_account_id,
        lines=list(lines),
        meta=metadata or {},
        withdrawn=[],
        author=author_of(db, actor),
        by_policy=by_policy,
        check_at=clock.wall(), fence=0, created_at=clock.now(),
    )  # fmt: skip
    refund.withdrawn = credit.withdraw(db, refund.invoice_id, amount_minor)
    db.add(refund)
    emit_about(db, refund, "refund.pending", actor=actor, payment_id=payment.id, amount=amount_minor, currency=payment.currency)
    return refund


def _next_key(db: ScopedSession, payment: Payment, settings: Settings) -> str:
    number = (db.scalar(select(func.count()).select_from(Refund).where(Refund.payment_id == payment.id)) or 0) + 1
    return f"{settings.mode}/{payment.business_id}/refund:{payment.id}/{number}"


def check_refund(
    db: ScopedSession, payment: Payment, amount_minor: int, lines: Sequence[dict[str, Any]], *, owed: bool, lock: bool = True
) -> None:
    """Raise the errors of `request_refund`, except for an open plan change. `lock` False: nothing will be written."""
    left = max(payment.left_minor - (credit.spent_credit(db, payment, lock=lock) if owed else 0), 0)
    if payment.amount_minor == 0:
        raise Conflict("ZERO_AMOUNT_PAYMENT_REFUND_NOT_ALLOWED", N_("Nothing was charged, so nothing can be refunded."))
    if payment.disputed_minor and (left == 0 or amount_minor > left) and payment.refunded_minor < payment.amount_minor:
        raise Conflict(
            "PAYMENT_DISPUTED", N_("The customer disputed this payment with their bank. The disputed amount cannot be refunded as well.")
        )
    if left == 0:
        raise Conflict("PAYMENT_ALREADY_REFUNDED", N_("This payment has already been refunded in full."))
    if amount_minor <= 0:
        raise Conflict("NOTHING_TO_REFUND", N_("The refund amount must be greater than zero."))
    if amount_minor > left:
        raise Conflict("REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT", N_("This is more than the refundable amount of this payment."))
    if owed and clock.now() - payment.created_at > WINDOW:
        raise Conflict("REFUND_WINDOW_EXPIRED", N_("A payment can be refunded within 90 days."))
    # a payment that is refunded before it is fully recorded delivers nothing, so it can only be refunded in full
    if amount_minor < left and reconciliation_exceptions.is_unbooked(db, payment.id):
        raise Conflict(
            "PAYMENT_NOT_BOOKED", N_("This payment succeeded but is not fully recorded. Finish recording it, or refund all of it first.")
        )
    check_lines(db, payment, lines)
    mine = select(Refund).where(Refund.payment_id == payment.id)
    if db.scalar(mine.where(Refund.status == "pending").limit(1)) is not None:
        raise Conflict("EXISTING_REFUND_REQUEST_PROCESSING", N_("A refund of this payment is already in progress."))


def paid_its_invoice(db: ScopedSession, payment: Payment) -> bool:
    """Return whether the payment paid its invoice. Refunds of money that was not owed are recorded on no invoice, even if one failed."""
    unowed = select(Refund.id).where(Refund.payment_id == payment.id, Refund.invoice_id.is_(None))
    if payment.invoice_id is None or db.scalar(unowed.limit(1)) is not None:
        return False
    return db.scalar(select(Invoice.id).where(Invoice.id == payment.invoice_id, Invoice.status == "paid")) is not None


def refundable(db: ScopedSession, payment: Payment) -> int:
    """Return the refundable amount of a payment in minor units: what is left of it, without credit that was used."""
    used = credit.spent_credit(db, payment, lock=False) if paid_its_invoice(db, payment) else 0
    return max(payment.left_minor - used, 0)


def has_refund(db: ScopedSession, payment: Payment) -> bool:
    """Return whether a refund of the payment succeeded or is pending."""
    mine = select(Refund.id).where(Refund.payment_id == payment.id, Refund.status != "failed")
    return db.scalar(mine.limit(1)) is not None


def open_plan_change(db: ScopedSession, subscription_id: str | None) -> Payment | None:
    """Return the open payment of a plan change of the subscription."""
    if subscription_id is None:
        return None
    return db.scalar(
        select(Payment).where(Payment.subscription_id == subscription_id, Payment.charge_type == "plan_change", Payment.is_open).limit(1)
    )


def lock_subscription(db: ScopedSession, subscription_id: str | None) -> None:
    """Lock a subscription. The lock order is payment, subscription, invoice: lock an invoice's subscription before the invoice."""
    if subscription_id:
        db.scalar(select(Subscription.id).where(Subscription.id == subscription_id).with_for_update())


def check_lines(db: ScopedSession, payment: Payment, lines: Sequence[dict[str, Any]]) -> None:
    """Check that each line belongs to the payment's invoice, is named once, and has the amount left. Raises Invalid, Conflict."""
    if not lines:
        return
    rows = {
        invoice_line.id: invoice_line
        for invoice_line in db.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == payment.invoice_id))
    }
    if len({line["line_id"] for line in lines}) != len(lines) or any(line["line_id"] not in rows for line in lines):
        raise Invalid(
            sentence=N_("Name each line of this payment's invoice at most once."),
            fields={"items": N_("Not a line of this payment's invoice.")},
        )
    for line in lines:
        row = rows[line["line_id"]]
        if not 0 < line["amount_minor"] <= row.net_minor + row.tax_minor - row.refunded_minor:
            raise Conflict("REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT", N_("This is more than the refundable amount of this line."))
