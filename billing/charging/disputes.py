"""Records disputes of payments and what follows from their decision. The processor decides them.

While a dispute is open, and after it was lost, its amount cannot be refunded, and credit that came from it cannot be used. Totals count a
lost dispute like a refund, and take it off again if it is won after all.
"""

from __future__ import annotations

from sqlalchemy import select

from billing.charging import reconciliation_exceptions, totals, unbooked_payments
from billing.charging.gateway_operations import SILENT
from billing.charging.payment_processor import PaymentProcessor
from billing.charging.processor_refunds import ProcessorObject, note_unknown, payment_of_charge
from billing.charging.processor_reports import DisputeReport
from billing.charging.purchase_keys import follow_money
from billing.charging.refunds import lock_subscription
from billing.model import lifecycle
from billing.model.disputes import Dispute, sum_held, taken_by_disputes
from billing.model.events import emit_about
from billing.model.parties import Business
from billing.model.payments import Payment
from billing.pricing import credit
from core import clock
from core.db import ScopedSession
from core.errors import Unavailable
from core.ids import new_id
from core.scope import Actor, system


def record_dispute(processor: PaymentProcessor, found: ProcessorObject) -> None:
    """Look up a dispute and record its present state. Idempotent. Raises Unavailable if the account does not answer.

    A dispute of a charge that the portal did not make is the business's own matter.
    """
    with processor.database.open(system(found.business_id)) as db:
        before = _state(_find(db, found))
    report = processor.gateway_of((found.business_id, found.account_id)).look_up_dispute(found.reference)
    if report is None:
        return
    with processor.database.open(system(found.business_id), write=True) as db:
        payment = payment_of_charge(db, found.account_id, report.charge_key, report.charge_reference)
        if payment is None:
            note_unknown(processor, db, "dispute", found, report.charge_key, report.amount)
            return
        payment_id, is_recorded = payment.id, payment.status == "succeeded"
    if not is_recorded:  # the notification of its success did not arrive yet
        processor.follow_up(found.business_id, payment_id)
    actor = Actor("processor", found.account_id)
    with processor.database.open(system(found.business_id, actor), write=True) as db:
        _record(db, found, payment_id, report, before)


def _find(db: ScopedSession, found: ProcessorObject) -> Dispute | None:
    return db.scalar(select(Dispute).where(Dispute.payment_account_id == found.account_id, Dispute.reference == found.reference))


def _state(dispute: Dispute | None) -> tuple[str, str, int] | None:
    return (dispute.status, dispute.stage, dispute.amount_minor) if dispute is not None else None


def _record(db: ScopedSession, found: ProcessorObject, payment_id: str, report: DisputeReport, before: tuple[str, str, int] | None) -> None:
    business, payment = db.scalar(select(Business)), db.scalar(select(Payment).where(Payment.id == payment_id).with_for_update())
    assert business is not None and payment is not None
    if payment.status != "succeeded":
        if not reconciliation_exceptions.has_other_amount(db, payment.id):
            raise Unavailable(sentence=SILENT)
        # the processor took another amount, so the payment is never recorded: staff settle both at the processor
        reconciliation_exceptions.record_unknown(db, found.business_id, found.account_id, "dispute", found.reference, report.amount)
        return
    lock_subscription(db, payment.subscription_id)
    dispute = _find(db, found)
    if _state(dispute) != before:  # another worker recorded a report since, which may be newer than this one
        raise Unavailable(sentence=SILENT)
    is_new = dispute is None
    if dispute is None:
        dispute = _add(db, payment, found, report)
    was, stage = dispute.status, dispute.stage
    _copy(dispute, payment, report)
    if report.status is not None and report.status != was:
        dispute.status = lifecycle.move(
            lifecycle.DISPUTE,
            was,
            {
                "dispute_opened": "reopen",
                "dispute_challenged": "challenge",
                "dispute_won": "win",
                "dispute_lost": "lose",
                "dispute_accepted": "accept",
                "dispute_expired": "expire",
                "dispute_cancelled": "cancel",
            }[report.status],
            report.status,
        )
    _follow(db, business, payment, dispute)
    reconciliation_exceptions.clear_exception(db, f"{found.account_id}:{found.reference}")
    if payment.left_minor:
        unbooked_payments.reopen(db, business, payment)
    if is_new or (stage == "pre_dispute" and dispute.stage != stage and dispute.is_open):
        _emit(db, dispute, "dispute.opened")
    if dispute.status != was:
        _emit(db, dispute, dispute.status.replace("_", ".", 1))


def _add(db: ScopedSession, payment: Payment, found: ProcessorObject, report: DisputeReport) -> Dispute:
    dispute = Dispute(
        business_id=payment.business_id,
        customer_id=payment.customer_id,
        id=new_id("dp"),
        payment_id=payment.id,
        invoice_id=payment.invoice_id,
        subscription_id=payment.subscription_id,
        brand_id=payment.brand_id,
        payment_account_id=found.account_id,
        reference=found.reference,
        amount_minor=report.amount.minor, currency=payment.currency,
        status="dispute_opened", stage=report.stage,
        withdrawn=[], taken_minor=0,
        created_at=clock.now(),
    )  # fmt: skip
    _copy(dispute, payment, report)
    db.add(dispute)
    db.flush()
    return dispute


def _copy(dispute: Dispute, payment: Payment, report: DisputeReport) -> None:
    """Copy what may change. A bank may dispute more than was paid, or in its own currency: at most the payment counts."""
    is_comparable = report.amount.currency == payment.currency and report.amount.minor > 0
    dispute.amount_minor = min(report.amount.minor, payment.amount_minor) if is_comparable else payment.amount_minor
    dispute.stage, dispute.reason, dispute.is_debit_return = report.stage, report.reason, report.is_debit_return
    dispute.answer_by = report.answer_by
    dispute.url = report.url if (report.url or "").startswith(("https://", "http://")) else None


def _follow(db: ScopedSession, business: Business, payment: Payment, dispute: Dispute) -> None:
    """Adjust the payment, credit, totals and license keys to the state of the dispute."""
    taken, taken_at = dispute.amount_minor if dispute.status in lifecycle.DISPUTE_TAKEN else 0, dispute.taken_at
    more, dispute.taken_minor = taken - dispute.taken_minor, taken  # before anything is written: the amount may have become smaller
    dispute.taken_at = (taken_at or clock.now()) if taken else None
    payment.disputed_minor = sum_held(db, payment)
    if dispute.holds_money:
        dispute.withdrawn = [*(dispute.withdrawn or ()), *credit.withdraw(db, dispute.invoice_id, 0)]
    else:
        credit.restore(db, dispute)
    if more:
        totals.add_refunded(db, business, dispute.customer_id, more, dispute.currency, at=taken_at)
    dispute.closed_at = None if dispute.is_open else dispute.closed_at or clock.now()
    db.flush()
    follow_money(db, business, payment, taken_by_disputes(db, payment), why="disputed")


def _emit(db: ScopedSession, dispute: Dispute, type: str) -> None:
    emit_about(
        db,
        dispute,
        type,
        payment_id=dispute.payment_id,
        subscription_id=dispute.subscription_id,
        amount=dispute.amount_minor,
        currency=dispute.currency,
        reason=dispute.reason,
        stage=dispute.stage,
        answer_by=dispute.answer_by.isoformat() if dispute.answer_by else None,
    )
