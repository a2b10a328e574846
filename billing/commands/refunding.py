"""Refunding a payment, in whole or in part: asked for, sent, recorded (three steps, as for a charge)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from billing.payments import Payment, Refund
from billing.refunds import check_refund, open_plan_change, paid_its_invoice, request_refund
from billing.till import Till
from core.errors import Conflict, NotFound
from core.scope import Scope


def refund(
    till: Till, scope: Scope, payment_id: str, *, amount_minor: int | None = None, items: Sequence[dict[str, Any]] | None = None,
    reason: str | None = None, metadata: dict[str, Any] | None = None, after: int | None = None,
) -> Refund:
    """`items` [{line_id, amount_minor}] or an amount, or all that is left. Opens its own sessions.

    `after`: how many refunds of this payment whoever asks had seen; with another number nothing is done, so that a form that is
    sent twice refunds once. A plan change whose page nobody finished is called back first, because it counts on the same money.
    Raises NotFound, Conflict (contract §1.5 refund codes; REFUND_ASKED_TWICE,
    PREVIOUS_PAYMENT_PENDING).
    """
    _refuse_early(till, scope, payment_id, amount_minor, items, after)
    _recall_page(till, scope, payment_id)
    with till.database.open(scope, write=True) as db:
        payment = db.scalar(select(Payment).where(Payment.id == payment_id).with_for_update())
        if payment is None:
            raise NotFound(sentence="There is no such payment.")
        if after is not None and after != db.scalar(select(func.count()).select_from(Refund).where(Refund.payment_id == payment_id)):
            raise Conflict("REFUND_ASKED_TWICE", "Another refund of this payment was asked for in the meantime.")
        if payment.account_id is not None or payment.gateway != till.gateway.name:
            raise Conflict("UNSUPPORTED_ACTION", "This was paid through another system; it is refunded there.")
        lines = list(items or [])
        if lines:
            amount_minor = sum(one["amount_minor"] for one in lines)
        amount = amount_minor if amount_minor is not None else payment.amount_minor - payment.refunded_minor
        row = request_refund(db, payment, amount, reason, till.settings, lines=lines, metadata=metadata)
    till.start_refund(row.business_id, row.id)
    with till.database.open(scope) as db:
        found = db.scalar(select(Refund).where(Refund.id == row.id))
        assert found is not None
        return found


def _refuse_early(
    till: Till, scope: Scope, payment_id: str, amount_minor: int | None, items: Sequence[dict[str, Any]] | None, after: int | None
) -> None:
    """What can be refused before a customer's open page is closed for it. `refund` checks all of it again under lock."""
    with till.database.open(scope) as db:
        payment = db.scalar(select(Payment).where(Payment.id == payment_id))
        if payment is None:
            raise NotFound(sentence="There is no such payment.")
        if after is not None and after != db.scalar(select(func.count()).select_from(Refund).where(Refund.payment_id == payment_id)):
            raise Conflict("REFUND_ASKED_TWICE", "Another refund of this payment was asked for in the meantime.")
        if payment.account_id is not None or payment.gateway != till.gateway.name:
            raise Conflict("UNSUPPORTED_ACTION", "This was paid through another system; it is refunded there.")
        if payment.status != "succeeded":
            raise Conflict("PAYMENT_NOT_SUCCEEDED", "Only a payment that was taken can be refunded.")
        lines = list(items or [])
        amount = sum(one["amount_minor"] for one in lines) if lines else amount_minor
        if amount is None:
            amount = payment.amount_minor - payment.refunded_minor
        check_refund(db, payment, amount, lines, owed=paid_its_invoice(db, payment), lock=False)


def _recall_page(till: Till, scope: Scope, payment_id: str) -> None:
    """Only the processor's word closes the page; `request_refund` refuses while it is open."""
    with till.database.open(scope) as db:
        subscription_id = db.scalar(select(Payment.subscription_id).where(Payment.id == payment_id))
        waiting = open_plan_change(db, subscription_id)
    if waiting is not None and waiting.status.startswith("requires_"):
        till.cancel(waiting.business_id, waiting.id)
