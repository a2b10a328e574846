"""The moment a plan changes: what a paid, failed or free change does to its subscription, invoice and keys.

Called under the scope of the business, with the subscription's row locked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from billing import activation, credit, lifecycle, redeeming
from billing.calendar import nth
from billing.cart import lines_of
from billing.catalogue import Product
from billing.credit_lines import less_credit
from billing.invoices import Invoice
from billing.invoicing import issue
from billing.licences import LicenseKey
from billing.parties import Business, Customer
from billing.payments import Payment
from billing.quotes import Quote, ScheduledChange
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.outbox import emit
from core.scope import Actor


def operation(quote: Quote) -> str:
    return f"plan:{quote.subscription_id}:{quote.id}"


def moment(quote: Quote) -> datetime:
    """When the change counts from: the moment that was shown, also when a hosted page was paid hours later. Unused time is credited
    up to this moment, so the new period has to begin here."""
    return quote.as_of


def bill(db: ScopedSession, business: Business, customer: Customer, subscription: Subscription, quote: Quote, test_mode: bool) -> Invoice:
    """The invoice of a change: exactly the quote's lines, credit and amount due. The same one when it exists already."""
    at = moment(quote)
    ends = subscription.next_billing_at
    if quote.restarts:
        product = _product(db, quote.product_id)
        ends = nth(at, subscription.zone, product.interval or subscription.interval, product.interval_count, 1)
    lines = lines_of(quote.lines, at, ends)
    if quote.credit_parts is None:  # quoted before credit had lines
        old = db.scalar(select(Product.name).where(Product.id == subscription.product_id)) or ""
        lines = less_credit(lines, unused=quote.unused_minor, unused_parts=credit.paid_parts(db, quote.source_invoice_id), name=old,
                            balance=quote.balance_minor, balance_parts=credit.balance_parts(db, subscription)).lines
    invoice = issue(
        db,
        business,
        customer,
        operation=operation(quote),
        kind="plan_change",
        lines=lines,
        currency=quote.currency,
        subscription_id=subscription.id,
        due_minor=quote.due_minor,
        starts_at=at,
        ends_at=ends,
        billing=subscription.billing,
        tax_id=subscription.tax_id,
        business_name=subscription.business_name,
        test_mode=test_mode,
    )
    quote.invoice_id = invoice.id
    return invoice


def bill_payment(
    db: ScopedSession, business: Business, customer: Customer, payment: Payment, subscription: Subscription, test_mode: bool
) -> Invoice:
    quote = db.scalar(select(Quote).where(Quote.payment_id == payment.id))
    assert quote is not None
    return bill(db, business, customer, subscription, quote, test_mode)


def paid(db: ScopedSession, customer: Customer, subscription: Subscription, invoice: Invoice, actor: Actor | None = None) -> None:
    """The charge of a change went through: the plan changes now, or what was put on hold for it goes on."""
    quote = db.scalar(select(Quote).where(Quote.id == invoice.operation.rsplit(":", 1)[1]).with_for_update())
    assert quote is not None
    if quote.applied_at is None:
        apply(db, customer, subscription, quote, actor)
    quote.outcome = "applied"
    if subscription.status in ("on_hold", "past_due"):
        subscription.status, subscription.on_hold_at = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "recover"), None
        while subscription.next_billing_at and subscription.next_billing_at <= clock.now():  # periods it missed are not billed
            subscription.period_n += 1
            subscription.next_billing_at = activation.next_date(subscription)
        note(db, subscription, "subscription.active", reactivated=True)
        activation.follow_keys(db, subscription)


def given_up(db: ScopedSession, payment: Payment, subscription: Subscription) -> None:
    """It was paid, and may not be carried out any more (`still_holds`): its codes are unused again."""
    quote = db.scalar(select(Quote).where(Quote.payment_id == payment.id).with_for_update())
    if quote is None or quote.applied_at is not None:
        return
    quote.outcome = "declined"
    redeeming.give_back(db, payment)
    note(db, subscription, "subscription.plan_change_cancelled", product_id=quote.product_id,
         why="What it counted on was refunded or was over before it was paid.")


def unpaid(db: ScopedSession, payment: Payment, subscription: Subscription) -> None:
    quote = db.scalar(select(Quote).where(Quote.payment_id == payment.id).with_for_update())
    if quote is None:
        return
    quote.outcome = "declined"
    if quote.applied_at is None:
        redeeming.give_back(db, payment)
    if quote.applied_at is not None and subscription.status == "active":
        activation.fall_behind(db, subscription)


def apply(db: ScopedSession, customer: Customer, subscription: Subscription, quote: Quote, actor: Actor | None = None) -> None:
    """Immediately: product, price, cycle and credit as quoted. `actor`: who asked for it, where somebody else records it."""
    at = moment(quote)
    product = _product(db, quote.product_id)
    was = {"product_id": subscription.product_id, "quantity": subscription.quantity}
    if subscription.is_trial and quote.restarts:
        subscription.trial_ends_at = at  # what is charged now ends the trial
    _switch(subscription, product, quote.quantity, quote.unit_minor, quote.addons, keep=not quote.restarts)
    if quote.restarts:
        subscription.anchor_at, subscription.anchor_n = at, subscription.period_n
        subscription.period_n += 1
        subscription.previous_billing_at = at
        subscription.next_billing_at = activation.next_date(subscription)
    subscription.discounts = list(quote.discounts)
    subscription.credit_minor += quote.credit_minor - quote.balance_minor  # what else moved it meanwhile stays
    credit.count(db, quote)
    quote.applied_at, quote.ends_at, quote.outcome = at, subscription.next_billing_at, "applied"
    _keys(db, customer, subscription, product, was["product_id"] != product.id)
    note(
        db,
        subscription,
        "subscription.plan_changed",
        actor=actor,
        product=product.name,
        was=was,
        quantity=quote.quantity,
        mode=quote.mode,
        due=quote.due_minor,
        credit=quote.credit_minor,
        currency=quote.currency,
    )


def apply_scheduled(db: ScopedSession, subscription: Subscription) -> bool:
    """Before the next period is billed: make the change that waits for it, at the price that was shown. True when there was one."""
    change = db.scalar(
        select(ScheduledChange)
        .where(
            ScheduledChange.business_id == subscription.business_id,
            ScheduledChange.subscription_id == subscription.id,
            ScheduledChange.cancelled_at.is_(None),
            ScheduledChange.applied_at.is_(None),
        )
        .with_for_update()
    )
    if change is None:
        return False
    product = _product(db, change.product_id)  # also one that is archived by now: the customer was promised this plan and price
    was = {"product_id": subscription.product_id, "quantity": subscription.quantity}
    _switch(subscription, product, change.quantity, change.unit_minor, change.addons, keep=True)
    subscription.discounts = list(change.discounts)
    change.applied_at = clock.now()
    customer = db.scalar(select(Customer).where(Customer.customer_id == subscription.customer_id))
    assert customer is not None
    _keys(db, customer, subscription, product, was["product_id"] != product.id)
    note(db, subscription, "subscription.plan_changed", product=product.name, was=was, quantity=change.quantity, scheduled=True)
    return True


def drop(db: ScopedSession, subscription: Subscription, change: ScheduledChange, why: str | None = None, **data: Any) -> None:
    change.cancelled_at = clock.now()
    redeeming.give_back_planned(db, subscription.customer_id, subscription.id, begun_by(subscription, change))
    note(db, subscription, "subscription.plan_change_cancelled", product_id=change.product_id, why=why, **data)


def begun_by(subscription: Subscription, change: ScheduledChange) -> list[Any]:
    """The discounts that the subscription has not yet, and would have from that change on."""
    held = {one["discount_id"] for one in subscription.discounts or []}
    return [one for one in change.discounts if one["discount_id"] not in held]


def note(db: ScopedSession, subscription: Subscription, type: str, *, actor: Actor | None = None, **data: Any) -> None:
    ends = subscription.next_billing_at
    emit(
        db,
        type,
        business_id=subscription.business_id,
        customer_id=subscription.customer_id,
        noun=subscription.id,
        actor=actor,
        data={**data, "next_billing_at": ends.isoformat() if ends else None},
    )


def _switch(subscription: Subscription, product: Product, quantity: int, unit_minor: int, addons: list[Any], *, keep: bool) -> None:
    """`keep`: the next date stays; with another interval the dates count from it."""
    same = (subscription.interval, subscription.interval_count) == (product.interval, product.interval_count)
    if keep and not same:
        subscription.anchor_at, subscription.anchor_n = subscription.next_billing_at, subscription.period_n
    subscription.product_id, subscription.quantity, subscription.unit_minor = product.id, quantity, unit_minor
    subscription.tax_inclusive, subscription.addons, subscription.meters = product.tax_inclusive, list(addons), list(product.meters)
    subscription.interval, subscription.interval_count = product.interval or subscription.interval, product.interval_count


def _keys(db: ScopedSession, customer: Customer, subscription: Subscription, product: Product, other: bool) -> None:
    """Another product: its old keys end for good, new ones are issued. Another quantity: as many keys as units."""
    held_keys = (LicenseKey.subscription_id == subscription.id, LicenseKey.status.in_(("active", "disabled")))
    live = select(LicenseKey).where(*held_keys)
    if other:
        for key in db.scalars(live):
            key.status = "expired"
        activation.issue_keys(db, customer, product, subscription.quantity, subscription=subscription)
        return
    held = db.scalar(select(func.count()).select_from(LicenseKey).where(*held_keys)) or 0
    if held > subscription.quantity:
        for key in db.scalars(live.order_by(LicenseKey.created_at.desc()).limit(held - subscription.quantity)):
            key.status = "expired"
    elif held < subscription.quantity:
        activation.issue_keys(db, customer, product, subscription.quantity - held, subscription=subscription)


def _product(db: ScopedSession, product_id: str) -> Product:
    product = db.scalar(select(Product).where(Product.id == product_id))
    assert product is not None
    return product
