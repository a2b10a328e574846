"""Refunds a payment in whole or in part, in three steps like a charge: request, send, record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from billing.charging.payment_processor import PaymentProcessor
from billing.charging.refunds import PAID_EXTERNALLY, check_refund, is_paid_externally, open_plan_change, paid_its_invoice, request_refund
from billing.model.payment_accounts import PaymentAccount
from billing.model.payments import Payment, Refund
from core.db import ScopedSession
from core.errors import N_, Conflict, NotFound
from core.scope import Scope


def refund(
    processor: PaymentProcessor,
    scope: Scope,
    payment_id: str,
    *,
    amount_minor: int | None = None,
    items: Sequence[dict[str, Any]] | None = None,
    reason: str | None = None,
    metadata: dict[str, Any] | None = None,
    after: int | None = None,
) -> Refund:
    """Refund `items` [{line_id, amount_minor}], `amount_minor`, or everything that is left. Opens its own sessions.

    `after` is the number of refunds of this payment that the caller has seen. With another number nothing is refunded, so that a form
    that is sent twice refunds once. An unfinished payment page of a plan change is closed first, because it counts on the same money.
    Raises NotFound, Conflict (contract §1.5 refund codes; REFUND_ASKED_TWICE, PREVIOUS_PAYMENT_PENDING).
    """
    _refuse_early(processor, scope, payment_id, amount_minor, items, after)
    _close_plan_change_page(processor, scope, payment_id)
    with processor.database.open(scope, write=True) as db:
        payment = db.scalar(select(Payment).where(Payment.id == payment_id).with_for_update())
        if payment is None:
            raise NotFound(sentence=N_("There is no such payment."))
        if after is not None and after != db.scalar(select(func.count()).select_from(Refund).where(Refund.payment_id == payment_id)):
            raise Conflict("REFUND_ASKED_TWICE", N_("Another refund of this payment was requested in the meantime."))
        if is_paid_externally(payment):
            raise Conflict("UNSUPPORTED_ACTION", PAID_EXTERNALLY)
        _refuse_closed_account(db, payment)
        lines = list(items or [])
        if lines:
            amount_minor = sum(line["amount_minor"] for line in lines)
        amount = amount_minor if amount_minor is not None else payment.left_minor
        row = request_refund(db, payment, amount, reason, processor.settings, lines=lines, metadata=metadata)
    processor.start_refund(row.business_id, row.id)
    with processor.database.open(scope) as db:
        found = db.scalar(select(Refund).where(Refund.id == row.id))
        assert found is not None
        return found


def _refuse_early(
    processor: PaymentProcessor,
    scope: Scope,
    payment_id: str,
    amount_minor: int | None,
    items: Sequence[dict[str, Any]] | None,
    after: int | None,
) -> None:
    """Refuse an invalid refund before a customer's open page is closed for it. `refund` repeats all checks under lock."""
    with processor.database.open(scope) as db:
        payment = db.scalar(select(Payment).where(Payment.id == payment_id))
        if payment is None:
            raise NotFound(sentence=N_("There is no such payment."))
        if after is not None and after != db.scalar(select(func.count()).select_from(Refund).where(Refund.payment_id == payment_id)):
            raise Conflict("REFUND_ASKED_TWICE", N_("Another refund of this payment was requested in the meantime."))
        if is_paid_externally(payment):
            raise Conflict("UNSUPPORTED_ACTION", PAID_EXTERNALLY)
        _refuse_closed_account(db, payment)
        if payment.status != "succeeded":
            raise Conflict("PAYMENT_NOT_SUCCEEDED", N_("Only a successful payment can be refunded."))
        lines = list(items or [])
        amount = sum(line["amount_minor"] for line in lines) if lines else amount_minor
        if amount is None:
            amount = payment.left_minor
        check_refund(db, payment, amount, lines, owed=paid_its_invoice(db, payment), lock=False)


def _refuse_closed_account(db: ScopedSession, payment: Payment) -> None:
    if db.scalar(select(PaymentAccount.state).where(PaymentAccount.id == payment.payment_account_id)) == "closed":
        raise Conflict("UNSUPPORTED_ACTION", N_("The payment account of this payment is closed. Refund it at the payment processor."))


def _close_plan_change_page(processor: PaymentProcessor, scope: Scope, payment_id: str) -> None:
    """Cancel an open plan change page. Only the processor's answer closes it; `request_refund` refuses while it is open."""
    with processor.database.open(scope) as db:
        subscription_id = db.scalar(select(Payment.subscription_id).where(Payment.id == payment_id))
        waiting = open_plan_change(db, subscription_id)
    if waiting is not None and waiting.status.startswith("requires_"):
        processor.cancel(waiting.business_id, waiting.id)
