"""Records refunds that were made in a processor's own dashboard, once each, as refunds of our payments."""

from __future__ import annotations

from typing import NamedTuple

import structlog
from sqlalchemy import func, select

from billing.charging import processor_calls, reconciliation_exceptions
from billing.charging.gateway_operations import SILENT
from billing.charging.payment_processor import PaymentProcessor
from billing.charging.ports import ChargeOutcome
from billing.charging.processor_reports import RefundReport
from billing.charging.refunds import paid_its_invoice
from billing.model.events import emit_about
from billing.model.payments import Payment, Refund
from billing.pricing import credit
from core import clock
from core.db import ScopedSession
from core.errors import Unavailable
from core.ids import new_id
from core.money import Money
from core.scope import Actor, system

log = structlog.get_logger()


class ProcessorObject(NamedTuple):
    """The address of a refund or dispute at a processor."""

    business_id: str
    account_id: str
    reference: str


def record_processor_refund(processor: PaymentProcessor, found: ProcessorObject) -> None:
    """Look up a refund that is not known here and record it.

    A refund of a charge that the portal did not make is the business's own matter. One that cannot be recorded is shown to staff.
    Raises Unavailable if the account does not answer, or if it may be possible to record it later.
    """
    report = processor.gateway_of((found.business_id, found.account_id)).look_up_refund(found.reference)
    if report is None or report.state in ("declined", "cancelled"):
        return
    refund_id = _add_refund(processor, found, report)
    if refund_id is not None:
        outcome = ChargeOutcome(report.state, key_of(processor, found), found.reference, report.amount)
        processor.record_refund(found.business_id, refund_id, outcome)
        processor.follow_up_refund(found.business_id, refund_id)  # a notification that it failed may have come before it was known here


def _add_refund(processor: PaymentProcessor, found: ProcessorObject, report: RefundReport) -> str | None:
    """Add a pending refund, unless it is known or cannot be one of our payment's. Returns its id."""
    with processor.database.open(system(found.business_id), write=True) as db:
        payment = payment_of_charge(db, found.account_id, report.charge_key, report.charge_reference, lock=True)
        if payment is None:
            note_unknown(processor, db, "refund", found, report.charge_key, report.amount)
            return None
        key = key_of(processor, found)
        if db.scalar(select(Refund.id).where(Refund.key == key)) is not None:
            return None
        may_fit_later = _may_fit_later(db, payment, report.amount)
        if not may_fit_later and _fits(payment, report.amount):
            reconciliation_exceptions.clear_excess(db, payment, found.reference)
            return _pending(db, payment, report.amount, key, found.reference)
        reconciliation_exceptions.record_excess(db, payment, found.reference, report.amount)
    if may_fit_later:
        raise Unavailable(sentence=SILENT)  # the worker repeats it for hours
    return None


def _fits(payment: Payment, amount: Money, reserved: int = 0) -> bool:
    """Return whether the payment still has this much to refund. Disputes do not count: the processor knows them, and refunded."""
    left = payment.amount_minor - payment.refunded_minor - reserved
    return payment.status == "succeeded" and amount.currency == payment.currency and 0 < amount.minor <= left


def _may_fit_later(db: ScopedSession, payment: Payment, amount: Money) -> bool:
    """Return whether the refund has to wait for a requested refund, which probably fails, or until the payment is fully recorded.

    A payment that is refunded before it is fully recorded delivers nothing, so only a refund of all of it is recorded until then.
    """
    requested = select(func.sum(Refund.amount_minor)).where(Refund.payment_id == payment.id, Refund.status == "pending")
    reserved = int(db.scalar(requested) or 0)
    is_part = amount.minor < payment.amount_minor and reconciliation_exceptions.is_unbooked(db, payment.id)
    return _fits(payment, amount) and (is_part or not _fits(payment, amount, reserved))


def _pending(db: ScopedSession, payment: Payment, amount: Money, key: str, reference: str) -> str:
    owed = paid_its_invoice(db, payment)
    actor = Actor("processor", payment.payment_account_id)
    refund = Refund(
        business_id=payment.business_id,
        customer_id=payment.customer_id,
        id=new_id("ref"),
        payment_id=payment.id,
        invoice_id=payment.invoice_id if owed else None,
        subscription_id=payment.subscription_id,
        brand_id=payment.brand_id,
        amount_minor=amount.minor, currency=amount.currency, status="pending",
        is_partial=amount.minor < payment.amount_minor,
        reason=None,
        key=key,
        payment_account_id=payment.payment_account_id,
        lines=[], meta={}, withdrawn=[],
        author={"type": actor.type, "id": actor.id},
        check_at=clock.wall(), fence=1, created_at=clock.now(),
    )  # fmt: skip
    refund.withdrawn = credit.withdraw(db, refund.invoice_id, amount.minor)
    db.add(refund)
    db.flush()
    processor_calls.record_call(db, refund, "refund")
    db.flush()
    processor_calls.note_reference(db, key, reference)
    emit_about(db, refund, "refund.pending", actor=actor, payment_id=payment.id, amount=amount.minor, currency=amount.currency)
    return refund.id


def payment_of_charge(
    db: ScopedSession, account_id: str, charge_key: str, charge_reference: str | None, *, lock: bool = False
) -> Payment | None:
    """Return the payment that was made at this account under this key or with this reference."""
    mine = select(Payment).where(Payment.payment_account_id == account_id, Payment.account_id.is_(None))
    for known in ([Payment.key == charge_key] if charge_key else []) + (
        [Payment.gateway_reference == charge_reference] if charge_reference else []
    ):
        query = mine.where(known).order_by(Payment.created_at).limit(1)
        found = db.scalar(query.with_for_update() if lock else query)
        if found is not None:
            return found
    return None


def note_unknown(processor: PaymentProcessor, db: ScopedSession, noun: str, found: ProcessorObject, charge_key: str, amount: Money) -> None:
    """Show a refund or dispute to staff if the portal made its charge but does not know the payment, as after a restored backup."""
    if charge_key.startswith(f"{processor.settings.mode}/{found.business_id}/"):
        reconciliation_exceptions.record_unknown(db, found.business_id, found.account_id, noun, found.reference, amount)
    else:
        log.info("not a charge of the portal", noun=noun, account=found.account_id, reference=found.reference)


def key_of(processor: PaymentProcessor, found: ProcessorObject) -> str:
    """Return the key of the row, which makes it unique. It is never sent to the processor."""
    return f"{processor.settings.mode}/{found.business_id}/processor_refund:{found.account_id}:{found.reference}/1"
