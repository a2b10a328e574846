"""Which subscription pays with which saved method: set by a person's choice, or by the payment that carried that choice."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from billing.lifecycle import LIVE
from billing.methods import method_words
from billing.payments import Payment, PaymentMethod
from billing.subscriptions import Subscription
from core.db import ScopedSession
from core.errors import NotFound
from core.outbox import emit

PAYING = (*LIVE, "pending")
"""Subscription states in which a method is, or will be, asked for money."""


def usable(db: ScopedSession, customer_id: str, payment_method_id: str) -> PaymentMethod:
    """A saved method of this very customer row: a gateway's reference is good for nobody else. Raises NotFound."""
    found = db.scalar(select(PaymentMethod).where(PaymentMethod.id == payment_method_id, PaymentMethod.customer_id == customer_id,
                                                  PaymentMethod.held_by == "us", PaymentMethod.removed_at.is_(None)))
    if found is None:
        raise NotFound(sentence="There is no such payment method.")
    return found


def use_for(db: ScopedSession, subscription: Subscription, method: PaymentMethod) -> bool:
    """From now on it pays with this one. The row is locked by the caller. False: it did already, or belongs to somebody else."""
    if subscription.payment_method_id == method.id or subscription.customer_id != method.customer_id:
        return False
    subscription.payment_method_id = method.id
    words = method_words({"brand": method.brand, "last4": method.last4})
    emit(db, "subscription.update_payment_method", business_id=subscription.business_id, customer_id=subscription.customer_id,
         noun=subscription.id, data={"payment_method_id": method.id, "method": words})
    return True


def wanted_by(payment: Payment) -> list[str]:
    """Ids of the subscriptions that this payment's method is to pay for from now on."""
    return list((payment.intent or {}).get("method_for", ()))


def use_where_wanted(db: ScopedSession, payment: Payment, method: PaymentMethod | None) -> None:
    """What a successful payment, or a saved method, was also asked to do. Ended subscriptions are left alone."""
    ids = wanted_by(payment)
    if method is None or not ids:
        return
    for one in lock_all(db, payment.customer_id, ids):
        if one.status in PAYING:
            use_for(db, one, method)


def lock_all(db: ScopedSession, customer_id: str, ids: Iterable[str]) -> list[Subscription]:
    """The named subscriptions of one customer, locked in one order."""
    mine = select(Subscription).where(Subscription.customer_id == customer_id, Subscription.id.in_(sorted(set(ids))))
    return list(db.scalars(mine.order_by(Subscription.id).with_for_update()))
