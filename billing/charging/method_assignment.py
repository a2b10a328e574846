"""Assigns saved payment methods to subscriptions, directly or after a payment that requested it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from billing.charging.method_details import method_label
from billing.model.lifecycle import LIVE
from billing.model.payment_accounts import is_chargeable
from billing.model.payments import Payment, PaymentMethod
from billing.model.subscriptions import Subscription
from core.db import ScopedSession
from core.errors import N_, NotFound
from core.outbox import emit

PAYING = (*LIVE, "pending")
"""Subscription states in which the payment method is or will be charged."""


def usable_method(db: ScopedSession, customer_id: str, payment_method_id: str) -> PaymentMethod:
    """Return a saved method of this customer that can be charged. A gateway's reference is valid for no other customer. Raises NotFound."""
    found = db.scalar(
        select(PaymentMethod).where(PaymentMethod.id == payment_method_id, PaymentMethod.customer_id == customer_id, is_chargeable())
    )
    if found is None:
        raise NotFound(sentence=N_("There is no such payment method."))
    return found


def assign_method(db: ScopedSession, subscription: Subscription, method: PaymentMethod) -> bool:
    """Make the subscription pay with this method. The caller has locked its row.

    Returns False if it already does, or if the method belongs to another customer.
    """
    if subscription.payment_method_id == method.id or subscription.customer_id != method.customer_id:
        return False
    subscription.payment_method_id = method.id
    label = method_label({"kind": method.kind, "brand": method.brand, "last4": method.last4})
    emit(
        db,
        "subscription.update_payment_method",
        business_id=subscription.business_id,
        customer_id=subscription.customer_id,
        noun=subscription.id,
        data={"payment_method_id": method.id, "method": label},
    )
    return True


def requested_subscriptions(payment: Payment) -> list[str]:
    """Return the ids of the subscriptions that will pay with the method of this payment after its success."""
    return list((payment.intent or {}).get("method_for", ()))


def assign_requested(db: ScopedSession, payment: Payment, method: PaymentMethod | None) -> None:
    """Assign the method of a successful payment to the requested subscriptions, except ended ones."""
    ids = requested_subscriptions(payment)
    if method is None or not ids:
        return
    for subscription in lock_subscriptions(db, payment.customer_id, ids):
        if subscription.status in PAYING:
            assign_method(db, subscription, method)


def lock_subscriptions(db: ScopedSession, customer_id: str, ids: Iterable[str]) -> list[Subscription]:
    """Lock subscriptions of one customer, always in the same order, and return them."""
    mine = select(Subscription).where(Subscription.customer_id == customer_id, Subscription.id.in_(sorted(set(ids))))
    return list(db.scalars(mine.order_by(Subscription.id).with_for_update()))
