"""Choose, add and remove saved payment methods. A method belongs to one customer row of one business."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from billing.charging.method_assignment import PAYING, assign_method, lock_subscriptions, usable_method
from billing.charging.method_details import event_data
from billing.charging.payment_processor import PaymentProcessor
from billing.model.catalogue import Product
from billing.model.events import emit_about
from billing.model.lifecycle import SUBSCRIPTION, may
from billing.model.parties import Customer
from billing.model.payments import Payment, PaymentMethod
from billing.model.subscriptions import Subscription, business_of
from billing.renewals.method_pages import check_open_pages, create_page, currency_of
from billing.renewals.pay_dues import pay_dues, send
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, NotFound
from core.scope import Scope, system


@dataclass(frozen=True)
class MethodChange:
    """The result of a change. `link`: the hosted page to open, None when the change is done.

    For a subscription on hold, `status`, `payment_id` and `error_code` are those of the payment of its dues (`DuesResult`).
    Otherwise the status is `changed` or `requires_payment_method`.
    """

    link: str | None = None
    status: str = "changed"
    payment_id: str | None = None
    error_code: str | None = None


def methods_of(db: ScopedSession, customer_id: str) -> list[PaymentMethod]:
    """The saved methods of one customer row, the default first, then the newest."""
    saved = select(PaymentMethod).where(
        PaymentMethod.customer_id == customer_id, PaymentMethod.held_by == "us", PaymentMethod.removed_at.is_(None)
    )
    return list(db.scalars(saved.order_by(PaymentMethod.is_default.desc(), PaymentMethod.created_at.desc(), PaymentMethod.id)))


def change_method(
    processor: PaymentProcessor,
    scope: Scope,
    subscription_id: str,
    *,
    payment_method_id: str | None = None,
    return_url: str | None = None,
    also: Sequence[str] = (),
    locale: str = "en",
) -> MethodChange:
    """Use another saved method from now on, or one entered on a hosted page (None). A subscription on hold also pays its dues.

    `also`: further subscriptions of the same customer that use the method. Opens its own sessions. Raises NotFound, Conflict
    (SUBSCRIPTION_INACTIVE, UNSUPPORTED_ACTION; and as `pay_dues`).
    """
    business_id = business_of(processor.database, scope, subscription_id)
    if payment_method_id is None:
        check_open_pages(processor, business_id, subscription_id=subscription_id)
    with processor.database.open(system(business_id, scope.actor), write=True) as db:
        first = db.scalar(select(Subscription).where(Subscription.id == subscription_id))
        assert first is not None
        rows = {item.id: item for item in lock_subscriptions(db, first.customer_id, [subscription_id, *also])}
        if len(rows) != len({subscription_id, *also}):
            raise NotFound(sentence=N_("There is no such subscription."))
        on_hold = rows[subscription_id].status == "on_hold"
        payment_id = None
        if not on_hold:
            for row in rows.values():
                _check_changeable(row)
            if payment_method_id is None:
                payment_id = create_page(
                    processor,
                    db,
                    first.customer_id,
                    first.currency,
                    f"method:{first.id}",
                    subscription_ids=sorted(rows),
                    return_url=return_url,
                )
            else:
                method = usable_method(db, first.customer_id, payment_method_id)
                for row in rows.values():
                    assign_method(db, row, method)
    if on_hold:
        paid = pay_dues(
            processor, scope, subscription_id, payment_method_id=payment_method_id, return_url=return_url, locale=locale, also=also
        )
        return MethodChange(paid.link, paid.status, paid.payment_id, paid.error_code)
    return _send(processor, business_id, payment_id, locale) if payment_id else MethodChange()


def add_method(
    processor: PaymentProcessor, scope: Scope, customer_id: str, return_url: str | None = None, *, locale: str = "en"
) -> MethodChange:
    """Open a hosted page that saves a method, for no particular subscription. Opens its own sessions. Raises NotFound."""
    with processor.database.open(scope) as db:
        business_id = db.scalar(select(Customer.business_id).where(Customer.customer_id == customer_id))
    if business_id is None:
        raise NotFound(sentence=N_("There is no such customer."))
    check_open_pages(processor, business_id, customer_id=customer_id)
    with processor.database.open(system(business_id, scope.actor), write=True) as db:
        db.scalar(
            select(Customer).where(Customer.customer_id == customer_id).with_for_update()
        )  # so that concurrent requests get different numbers
        payment_id = create_page(
            processor, db, customer_id, currency_of(db, customer_id), f"method:{customer_id}", subscription_ids=[], return_url=return_url
        )
    return _send(processor, business_id, payment_id, locale)


def set_default(db: ScopedSession, method_id: str) -> PaymentMethod:
    """Make this the method that is offered first. Idempotent. Raises NotFound, also if it can no longer be charged."""
    method = _load(db, method_id)
    usable_method(db, method.customer_id, method.id)
    if not method.is_default or any(item.is_default for item in methods_of(db, method.customer_id) if item.id != method.id):
        for item in methods_of(db, method.customer_id):
            item.is_default = item.id == method.id
        emit_about(db, method, "payment_method.default_changed", **event_data(method))
    return method


def remove_method(db: ScopedSession, method_id: str) -> PaymentMethod:
    """Remove a method. Raises NotFound, Conflict PAYMENT_METHOD_IN_USE (needed by a live subscription or an open payment)."""
    method = _load(db, method_id)
    users = (
        db.execute(
            select(Product.name)
            .join(Subscription, (Subscription.business_id == Product.business_id) & (Subscription.product_id == Product.id))
            .where(Subscription.payment_method_id == method.id, Subscription.status.in_(PAYING))
            .order_by(Product.name)
        )
        .scalars()
        .all()
    )
    if users:
        names = " and ".join([", ".join(users[:-1]), users[-1]] if len(users) > 1 else users)
        verb = "are" if len(users) > 1 else "is"
        raise Conflict("PAYMENT_METHOD_IN_USE", f"{names} {verb} paid with this payment method. Choose another one there first.")
    if db.scalar(select(Payment.id).where(Payment.payment_method_id == method.id, Payment.is_open).limit(1)):
        raise Conflict("PAYMENT_METHOD_IN_USE", N_("A payment with this method is in progress. Wait until it finishes."))
    was_default, method.removed_at, method.is_default = method.is_default, clock.now(), False
    emit_about(db, method, "payment_method.removed", **event_data(method))
    remaining = [item for item in methods_of(db, method.customer_id) if item.id != method.id]
    if was_default and remaining:
        remaining[0].is_default = True
        emit_about(db, remaining[0], "payment_method.default_changed", **event_data(remaining[0]))
    return method


def move_all(db: ScopedSession, customer_id: str, from_id: str, to_id: str) -> list[str]:
    """Move all subscriptions of one method to another. Returns the ids of the subscriptions moved. Raises NotFound."""
    target = usable_method(db, customer_id, to_id)
    users = select(Subscription).where(
        Subscription.customer_id == customer_id,
        Subscription.payment_method_id == from_id,
        Subscription.status.in_(PAYING),
        Subscription.collected_by == "us",
    )
    return [row.id for row in db.scalars(users.order_by(Subscription.id).with_for_update()) if assign_method(db, row, target)]


def _check_changeable(subscription: Subscription) -> None:
    if subscription.collected_by != "us":
        raise Conflict("UNSUPPORTED_ACTION", N_("This subscription is billed by another system. Change its payment method there."))
    if not may(SUBSCRIPTION, subscription.status, "change_method"):
        raise Conflict("SUBSCRIPTION_INACTIVE", N_("The payment method cannot be changed in the subscription's current state."))


def _send(processor: PaymentProcessor, business_id: str, payment_id: str, locale: str) -> MethodChange:
    paid = send(processor, business_id, payment_id, locale)
    return MethodChange(paid.link, paid.status, paid.payment_id, paid.error_code)


def _load(db: ScopedSession, method_id: str) -> PaymentMethod:
    method = db.scalar(
        select(PaymentMethod)
        .where(PaymentMethod.id == method_id, PaymentMethod.held_by == "us", PaymentMethod.removed_at.is_(None))
        .with_for_update()
    )
    if method is None:
        raise NotFound(sentence=N_("There is no such payment method."))
    return method
