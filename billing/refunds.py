"""Asking for a refund: the row and its derived key, before the gateway hears of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from billing.payments import Payment, Refund
from core import clock
from core.db import ScopedSession
from core.errors import Conflict
from core.ids import new_id
from core.outbox import emit
from core.scope import Actor
from core.settings import Settings

WINDOW = timedelta(days=90)


def request_refund(
    db: ScopedSession, payment: Payment, amount_minor: int, reason: str | None, settings: Settings, *,
    lines: Sequence[dict[str, Any]] = (), metadata: dict[str, Any] | None = None, actor: Actor | None = None,
) -> Refund:
    """`payment` is locked by the caller. Raises Conflict with the contract's refund codes (§1.5)."""
    if payment.status != "succeeded":
        raise Conflict("PAYMENT_NOT_SUCCEEDED", "Only a payment that was taken can be refunded.")
    left = payment.amount_minor - payment.refunded_minor
    if payment.amount_minor == 0:
        raise Conflict("ZERO_AMOUNT_PAYMENT_REFUND_NOT_ALLOWED", "Nothing was taken, so nothing can be refunded.")
    if left == 0:
        raise Conflict("PAYMENT_ALREADY_REFUNDED", "All of it was refunded already.")
    if amount_minor <= 0:
        raise Conflict("NOTHING_TO_REFUND", "The amount to refund must be more than nothing.")
    if amount_minor > left:
        raise Conflict("REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT", "This is more than what is left of the payment.")
    if clock.now() - payment.created_at > WINDOW:
        raise Conflict("REFUND_WINDOW_EXPIRED", "A payment can be refunded for 90 days.")
    mine = select(Refund).where(Refund.payment_id == payment.id)
    if db.scalar(mine.where(Refund.status == "pending").limit(1)) is not None:
        raise Conflict("EXISTING_REFUND_REQUEST_PROCESSING", "A refund of this payment is under way.")
    number = (db.scalar(select(func.count()).select_from(Refund).where(Refund.payment_id == payment.id)) or 0) + 1
    refund = Refund(
        business_id=payment.business_id, customer_id=payment.customer_id, id=new_id("ref"), payment_id=payment.id,
        invoice_id=payment.invoice_id, subscription_id=payment.subscription_id, brand_id=payment.brand_id, amount_minor=amount_minor,
        currency=payment.currency, status="pending", is_partial=amount_minor < payment.amount_minor, reason=reason,
        key=f"{settings.mode}/{payment.business_id}/refund:{payment.id}/{number}", lines=list(lines), meta=metadata or {},
        check_at=clock.wall(), fence=0, created_at=clock.now(),
    )
    db.add(refund)
    emit(db, "refund.pending", business_id=payment.business_id, customer_id=payment.customer_id, noun=refund.id, actor=actor,
         data={"payment_id": payment.id, "amount": amount_minor, "currency": payment.currency})
    return refund
