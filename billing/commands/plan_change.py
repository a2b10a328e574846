"""Confirming a plan change: exactly the quote, once; or refused as stale with a fresh one. And changes that wait.

The charge is the till's three steps under `plan:<subscription>:<quote>`. With prevent_change the plan changes when the money
is there; with apply_change at once, and an unpaid charge puts the subscription on hold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from billing import lifecycle, plan_switch, plans, redeeming
from billing.authors import author_of
from billing.catalogue import Product
from billing.commands import plan_quote
from billing.commands.cancelling import load
from billing.commands.forwarding import forwards
from billing.commands.plan_quote import options, quote, waiting
from billing.methods import method_of
from billing.next_charge import next_charge
from billing.parties import Business, Customer
from billing.payments import Payment, PaymentMethod
from billing.plans import Option
from billing.quotes import Quote, ScheduledChange
from billing.subscriptions import Subscription
from billing.till import Till
from core import clock
from core.db import ScopedSession
from core.errors import Conflict, NotFound
from core.ids import new_id
from core.outbox import emit
from core.scope import Scope, system

__all__ = ["Option", "Result", "cancel_scheduled", "confirm", "options", "quote", "waiting"]

_FIRST, _PAGE = timedelta(seconds=30), timedelta(minutes=2)
_FIGURES = (
    "version", "unit_minor", "addons", "discounts", "lines", "total_minor", "tax", "unused_minor", "balance_minor", "credit_applied_minor",
    "credit_minor", "due_minor", "value_minor", "restarts", "next_billing_at", "next_renewal_minor", "currency", "source_invoice_id",
)  # fmt: skip
"""What has to be the same when it is computed again for the same moment."""


@dataclass(frozen=True)
class Result:
    """`status`: applied, scheduled, or the payment's (succeeded, processing, failed, requires_customer_action,
    requires_payment_method). `link`: a page to go to, the bank's or the hosted card page.
    """

    quote_id: str
    status: str
    payment_id: str | None = None
    link: str | None = None


def confirm(till: Till, scope: Scope, quote_id: str, *, return_url: str | None = None, locale: str = "en") -> Result:
    """Make the change. Repeating shows its outcome. Opens its own sessions.

    Raises Conflict QUOTE_STALE with fields {"quote_id": a fresh one}, and what `plan_quote.quote` raises.
    """
    with till.database.open(scope) as db:
        found = db.scalar(select(Quote).where(Quote.id == quote_id))
        if found is None:
            raise NotFound(sentence="There is no such quote.")
        business_id, subscription_id = found.business_id, found.subscription_id
    if found.due_minor:
        till.gateway  # noqa: B018 - raises in words when there is no provider, before anything is written
    with till.database.open(system(business_id, scope.actor), write=True) as db:
        subscription = load(db, subscription_id)
        used = db.scalar(select(Quote).where(Quote.id == quote_id).with_for_update())
        assert used is not None
        fresh = None
        if used.used_at is None:
            fresh = _fresh(db, subscription, used, scope.is_customer)
            if fresh is None:
                _use(till, db, subscription, used, off_session=not scope.is_customer, return_url=return_url)
    if fresh is not None:
        raise Conflict("QUOTE_STALE", "Something changed since these figures were shown. Look at the new ones.", fields={"quote_id": fresh})
    if used.payment_id is None:
        return Result(quote_id, used.outcome or "applied")
    return _go(till, business_id, quote_id, used.payment_id, locale)


def cancel_scheduled(db: ScopedSession, subscription_id: str) -> None:
    """Take back the change that waits. Raises NotFound (contract: SCHEDULED_PLAN_CHANGE_NOT_FOUND).

    When a business does it, the event says what the next charge is now: the customer gets an email while there is time to cancel.
    """
    subscription = load(db, subscription_id)
    change = waiting(db, subscription)
    if change is None:
        raise NotFound("SCHEDULED_PLAN_CHANGE_NOT_FOUND", "No change is planned.")
    if forwards(db, subscription, "keep_plan", "This subscription is billed by another system. Change it there."):
        return
    withdrawn: dict[str, Any] = {}
    if db.scope.actor.type in ("staff", "api_key"):
        product = db.scalar(select(Product.name).where(Product.id == change.product_id))
        withdrawn = {"product": product, "next_amount": next_charge(db, subscription), "currency": subscription.currency}
    plan_switch.drop(db, subscription, change, **withdrawn)


def apply_scheduled(db: ScopedSession, subscription: Subscription) -> bool:
    """For renewals: see `plan_switch.apply_scheduled`."""
    return plan_switch.apply_scheduled(db, subscription)


def _fresh(db: ScopedSession, subscription: Subscription, shown: Quote, customer: bool) -> str | None:
    """None when the quote holds: in time, and the same figures come out again. Else the id of a new quote."""
    business = plan_quote.check(db, subscription, customer)
    chosen = [{"addon_id": one["addon_id"], "quantity": one["quantity"]} for one in shown.addons]
    wanted = plans.wanted(db, subscription, shown.product_id, shown.quantity, chosen, anywhere=not customer)

    def computed(at: datetime) -> Quote:
        return plan_quote.figures(
            db, business, subscription, wanted, shown.mode, shown.effective_at, shown.on_payment_failure, at, customer, shown.discounts
        )

    if clock.now() <= shown.expires_at:
        again = computed(shown.as_of)
        if all(getattr(again, name) == getattr(shown, name) for name in _FIGURES):
            return None
    row = computed(clock.now())
    row.payment_method_id = subscription.payment_method_id
    db.add(row)
    return row.id


def _use(till: Till, db: ScopedSession, subscription: Subscription, used: Quote, *, off_session: bool, return_url: str | None) -> None:
    business = db.scalar(select(Business))
    customer = db.scalar(select(Customer).where(Customer.customer_id == subscription.customer_id))
    assert business is not None and customer is not None
    used.used_at = clock.now()
    held = {one["discount_id"] for one in subscription.discounts or []}
    added = [one for one in used.discounts if one["discount_id"] not in held]
    if used.effective_at == "next_billing_date":
        redeeming.use(db, customer, added, None, subscription.id)
        _schedule(db, subscription, used)
    elif used.due_minor == 0:
        redeeming.use(db, customer, added, None, subscription.id)
        if used.lines:
            invoice = plan_switch.bill(db, business, customer, subscription, used, till.settings.is_test)
            invoice.status, invoice.paid_at = lifecycle.move(lifecycle.INVOICE, invoice.status, "pay"), clock.now()
            emit(db, "invoice.paid", business_id=invoice.business_id, customer_id=invoice.customer_id, noun=invoice.id)
        plan_switch.apply(db, customer, subscription, used)
    else:
        payment = _payment(till, db, subscription, used, off_session, return_url)
        redeeming.use(db, customer, added, payment.id, subscription.id)
        used.payment_id, used.outcome = payment.id, "charging"
        if used.on_payment_failure == "apply_change":
            invoice = plan_switch.bill(db, business, customer, subscription, used, till.settings.is_test)
            payment.invoice_id = invoice.id
            plan_switch.apply(db, customer, subscription, used)
            used.outcome = "charging"


def _schedule(db: ScopedSession, subscription: Subscription, used: Quote) -> None:
    assert subscription.next_billing_at is not None
    change = ScheduledChange(
        business_id=used.business_id,
        customer_id=used.customer_id,
        id=new_id("spc"),
        subscription_id=subscription.id,
        product_id=used.product_id,
        quantity=used.quantity,
        unit_minor=used.unit_minor,
        addons=list(used.addons),
        discounts=list(used.discounts),
        effective_at=subscription.next_billing_at,
        created_at=clock.now(),
    )
    db.add(change)
    used.outcome = "scheduled"
    name = db.scalar(select(Product.name).where(Product.id == used.product_id))
    plan_switch.note(
        db,
        subscription,
        "subscription.plan_change_scheduled",
        product=name,
        quantity=used.quantity,
        effective_at=change.effective_at.isoformat(),
    )


def _payment(till: Till, db: ScopedSession, subscription: Subscription, used: Quote, off_session: bool, return_url: str | None) -> Payment:
    method = (
        db.scalar(
            select(PaymentMethod).where(
                PaymentMethod.id == used.payment_method_id,
                PaymentMethod.customer_id == used.customer_id,
                PaymentMethod.removed_at.is_(None),
            )
        )
        if used.payment_method_id
        else None
    )
    at = clock.now()
    payment = Payment(
        business_id=used.business_id,
        customer_id=used.customer_id,
        id=new_id("pay"),
        subscription_id=subscription.id,
        brand_id=subscription.brand_id,
        charge_type="plan_change",
        amount_minor=used.due_minor,
        tax_minor=min(used.tax, used.due_minor),
        currency=used.currency,
        status="processing" if method else "requires_payment_method",
        is_open=True,
        unknown=False,
        key=till.key(used.business_id, plan_switch.operation(used), 1),
        attempt=1,
        off_session=off_session,
        payment_method_id=method.id if method else None,
        method=method_of(method) if method else {},
        gateway=till.gateway.name,
        return_url=return_url,
        cart=used.lines,
        discounts=list(used.discounts),
        billing=subscription.billing,
        meta={},
        refunded_minor=0,
        fence=0,
        author=author_of(db),
        check_at=clock.wall() + (_FIRST if method else _PAGE),
        created_at=at,
        updated_at=at,
    )
    db.add(payment)
    db.flush()
    return payment


def _go(till: Till, business_id: str, quote_id: str, payment_id: str, locale: str) -> Result:
    """Send what was not sent yet, and say where it stands. Safe to repeat: the gateway has one effect per key."""
    with till.database.open(system(business_id)) as db:
        payment = db.scalar(select(Payment).where(Payment.id == payment_id))
        assert payment is not None
    result = Result(quote_id, payment.status, payment_id)
    if payment.is_open and payment.status == "requires_payment_method":
        return replace(result, link=till.open_page(business_id, payment_id, locale))
    if payment.is_open and payment.status == "processing" and payment.sent_at is None:
        result = replace(result, status=till.start(business_id, payment_id))
    if result.status != "requires_customer_action":
        return result
    with till.database.open(system(business_id)) as db:
        return replace(result, link=db.scalar(select(Payment.hosted_url).where(Payment.id == payment_id)))
