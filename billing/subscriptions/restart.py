"""Take up a subscription that has ended: a new subscription with its first payment, exactly as it was shown, and once.

The old row is locked while the new one is written, and a unique index allows one restart that did not fail. A second click, or another
tab, therefore finds the restart that exists. The payment follows the three steps of every charge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select

from billing.charging.discount_redemption import redeem
from billing.charging.hosted_payments import open_page
from billing.charging.hosted_tax import store_calculation
from billing.charging.payment_processor import PaymentProcessor
from billing.model.payments import Payment
from billing.model.restarts import Restart, restart_of
from billing.model.subscriptions import Subscription, business_of, load_subscription
from billing.pricing import prices
from billing.pricing.calculated_tax import KnownAnswers
from billing.pricing.limits import ORDER, check_amount
from billing.pricing.line_items import cart_of
from billing.subscriptions.first_payment import PaymentTerms, create_payment
from billing.subscriptions.restart_offer import RestartOffer, check, offer
from core import clock
from core.db import ScopedSession
from core.ids import new_id
from core.outbox import emit
from core.scope import Scope, system


class OfferChanged(Exception):
    """The price is not the one that was shown. Nothing was written; `offer` has the new one."""

    def __init__(self, offer: RestartOffer) -> None:
        self.offer = offer
        super().__init__("the price has changed")


@dataclass(frozen=True)
class StartedRestart:
    """`status`: of the payment. `link`: the hosted page or the bank's page to open."""

    subscription_id: str
    payment_id: str
    status: str = "processing"
    link: str | None = None


@dataclass(frozen=True)
class RestartOrder:
    """What the customer agreed to. `shown`: the digest of the offer. `method_id`: a saved method, or None for a hosted page."""

    shown: str
    method_id: str | None = None
    codes: Sequence[str] = ()
    return_url: str | None = None


def restart(processor: PaymentProcessor, scope: Scope, subscription_id: str, order: RestartOrder, *, locale: str = "en") -> StartedRestart:
    """Start the new subscription. Idempotent while it has not failed. Opens its own sessions.

    Raises OfferChanged, and as `restart_offer.check` and `restart_offer.offer`.
    """
    business_id = business_of(processor.database, scope, subscription_id)

    def write(known: KnownAnswers) -> StartedRestart:
        with processor.database.open(system(business_id, scope.actor), write=True) as db:
            old = load_subscription(db, subscription_id)
            earlier = restart_of(db, business_id, old.id)
            if earlier is not None:
                return _started(db, earlier.new_subscription_id)
            return _write(processor, db, order, known, subscription_id)

    started = processor.taxes.with_answers(write)
    return _send(processor, business_id, started, locale)


def _write(processor: PaymentProcessor, db: ScopedSession, order: RestartOrder, known: KnownAnswers, old_id: str) -> StartedRestart:
    found = check(db, old_id, lock=True)
    processor.accounts.for_new(db, found.business.business_id)
    made = offer(db, found, order.codes)
    subscription, product, customer = made.subscription, made.product, found.customer
    taxed = known.apply(
        found.business, made.lines, [product.tax_category] * len(made.lines), subscription.billing,
        business_id=found.business.business_id, currency=subscription.currency, tax_id=subscription.tax_id,
    )  # fmt: skip
    made = replace(made, lines=taxed.lines)
    if made.digest != order.shown:
        raise OfferChanged(made)
    check_amount(made.total_minor, subscription.currency, "quantity", ORDER)
    taxed.note_on(subscription)
    db.add(subscription)
    db.flush()
    payment = create_payment(
        processor, db, customer, PaymentTerms(order.method_id, order.return_url, None, subscription.discounts),
        operation=f"new:{subscription.id}", amount=made.total_minor, currency=subscription.currency, cart=cart_of(made.lines),
        tax=made.tax_minor if prices.total(made.lines) else 0, billing=subscription.billing, subscription_id=subscription.id,
        brand_id=product.brand_id,
    )  # fmt: skip
    store_calculation(db, customer.customer_id, f"new:{subscription.id}", taxed)
    redeem(db, customer, subscription.discounts, payment.id, subscription.id)
    _note(db, found.old, subscription, product.name)
    return StartedRestart(subscription.id, payment.id, payment.status)


def _note(db: ScopedSession, old: Subscription, subscription: Subscription, name: str) -> None:
    """Record which subscription takes up which. An earlier restart whose payment failed stays on record."""
    failed = select(Restart).where(Restart.subscription_id == old.id, Restart.failed_at.is_(None))
    for earlier in db.scalars(failed):
        earlier.failed_at = clock.now()
    db.flush()
    db.add(
        Restart(
            business_id=old.business_id,
            customer_id=old.customer_id,
            id=new_id("rst"),
            subscription_id=old.id,
            new_subscription_id=subscription.id,
            created_at=clock.now(),
        )
    )
    data = {"product": name, "restarts": old.id}
    emit(db, "subscription.created", business_id=old.business_id, customer_id=old.customer_id, noun=subscription.id, data=data)


def _started(db: ScopedSession, new_subscription_id: str) -> StartedRestart:
    payments = select(Payment).where(Payment.subscription_id == new_subscription_id).order_by(Payment.created_at, Payment.id)
    first = db.scalars(payments).first()
    assert first is not None
    return StartedRestart(new_subscription_id, first.id, first.status)


def _send(processor: PaymentProcessor, business_id: str, started: StartedRestart, locale: str) -> StartedRestart:
    """Send the payment if it was not sent yet. Idempotent: the gateway has one effect per key."""
    with processor.database.open(system(business_id)) as db:
        payment = db.scalar(select(Payment).where(Payment.id == started.payment_id))
        assert payment is not None
    if payment.is_open and payment.status == "requires_payment_method":
        return replace(started, link=open_page(processor, business_id, payment.id, locale))
    if payment.is_open and payment.status == "processing" and payment.sent_at is None:
        started = replace(started, status=processor.start(business_id, payment.id))
    if started.status == "requires_customer_action":
        with processor.database.open(system(business_id)) as db:
            return replace(started, link=db.scalar(select(Payment.hosted_url).where(Payment.id == payment.id)))
    return started
