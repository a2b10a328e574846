"""Applies a paid, failed or free plan change to its subscription, invoice and keys.

The callers use the scope of the business and have locked the subscription's row.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from billing.charging import activation, discount_redemption
from billing.documents.issuing import issue
from billing.model import lifecycle
from billing.model.catalogue import Product
from billing.model.events import emit_subscription_event
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey
from billing.model.lifecycle import UNPAID_STATES
from billing.model.parties import Business, Customer
from billing.model.payments import Payment
from billing.model.quotes import Quote, ScheduledChange
from billing.model.subscriptions import Subscription, plan_notice_again
from billing.pricing import credit
from billing.pricing.calendar import nth
from billing.pricing.credit_lines import less_credit
from billing.pricing.line_items import lines_of
from billing.receipts.write import write_plan_receipt
from core import clock
from core.db import ScopedSession
from core.scope import Actor


def operation(quote: Quote) -> str:
    return f"plan:{quote.subscription_id}:{quote.id}"


def effective_from(quote: Quote) -> datetime:
    """Return the time of the quote: unused time is credited from then on, even if a hosted page is paid hours later."""
    return quote.as_of


def bill(db: ScopedSession, business: Business, customer: Customer, subscription: Subscription, quote: Quote, test_mode: bool) -> Invoice:
    """Return the invoice of a plan change, with the lines, credit and amount due of the quote. Idempotent."""
    at = effective_from(quote)
    ends = subscription.next_billing_at
    if quote.restarts:
        product = _product(db, quote.product_id)
        ends = nth(at, subscription.zone, product.interval or subscription.interval, product.interval_count, 1)
    lines = lines_of(quote.lines, at, ends)
    if quote.credit_parts is None:  # quoted before credit had lines
        old = db.scalar(select(Product.name).where(Product.id == subscription.product_id)) or ""
        lines = less_credit(
            lines,
            unused=quote.unused_minor,
            unused_parts=credit.paid_parts(db, quote.source_invoice_id),
            name=old,
            balance=quote.balance_minor,
            balance_parts=credit.balance_parts(db, subscription),
        ).lines
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
        method_id=subscription.payment_method_id,
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


def record_paid(db: ScopedSession, customer: Customer, subscription: Subscription, invoice: Invoice, actor: Actor | None = None) -> None:
    """Apply a plan change whose charge succeeded. If the plan had already changed, the unpaid subscription becomes active again."""
    quote = db.scalar(select(Quote).where(Quote.id == invoice.operation.rsplit(":", 1)[1]).with_for_update())
    assert quote is not None
    if quote.applied_at is None:
        apply(db, customer, subscription, quote, actor)
    quote.outcome = "applied"
    if subscription.status in UNPAID_STATES:
        subscription.status, subscription.on_hold_at = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "recover"), None
        while subscription.next_billing_at and subscription.next_billing_at <= clock.now():  # missed periods are not billed
            subscription.period_n += 1
            subscription.next_billing_at = activation.next_date(subscription)
        emit_subscription_event(db, subscription, "subscription.active", reactivated=True)
        activation.update_keys(db, subscription)


def record_abandoned(db: ScopedSession, payment: Payment, subscription: Subscription) -> None:
    """Record that a paid plan change is no longer valid (`is_still_valid`), and release its discount codes."""
    quote = db.scalar(select(Quote).where(Quote.payment_id == payment.id).with_for_update())
    if quote is None or quote.applied_at is not None:
        return
    quote.outcome = "declined"
    discount_redemption.release(db, payment)
    emit_subscription_event(
        db,
        subscription,
        "subscription.plan_change_cancelled",
        product_id=quote.product_id,
        why="The credit or period it was based on was refunded or ended before the payment arrived.",
    )


def record_unpaid(db: ScopedSession, payment: Payment, subscription: Subscription) -> None:
    """Record that the charge of a plan change failed."""
    quote = db.scalar(select(Quote).where(Quote.payment_id == payment.id).with_for_update())
    if quote is None:
        return
    quote.outcome = "declined"
    if quote.applied_at is None:
        discount_redemption.release(db, payment)
    elif subscription.status == "active":
        activation.mark_unpaid(db, subscription)


def apply(db: ScopedSession, customer: Customer, subscription: Subscription, quote: Quote, actor: Actor | None = None) -> None:
    """Apply a plan change now: product, price, cycle and credit as quoted. `actor`: who requested it, if not the actor of the session."""
    at = effective_from(quote)
    product = _product(db, quote.product_id)
    old = subscription.product_id, subscription.quantity
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
    subscription.credit_minor += quote.credit_minor - quote.balance_minor  # other changes of the credit in the meantime stay
    credit.record_credit(db, quote)
    quote.applied_at, quote.ends_at, quote.outcome = at, subscription.next_billing_at, "applied"
    _keys(db, customer, subscription, product, was["product_id"] != product.id)
    receipt = write_plan_receipt(db, subscription, "plan_change", quote, old=old, actor=actor, amount_minor=quote.due_minor)
    emit_subscription_event(
        db,
        subscription,
        "subscription.plan_changed",
        actor=actor,
        **receipt,
        product=product.name,
        was=was,
        quantity=quote.quantity,
        mode=quote.mode,
        due=quote.due_minor,
        credit=quote.credit_minor,
        currency=quote.currency,
    )


def apply_scheduled(db: ScopedSession, subscription: Subscription) -> bool:
    """Apply the scheduled plan change before the next period is billed, at the price that was shown. Returns whether there was one."""
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
    product = _product(db, change.product_id)  # possibly archived by now, but the customer was promised this plan and price
    was = {"product_id": subscription.product_id, "quantity": subscription.quantity}
    _switch(subscription, product, change.quantity, change.unit_minor, change.addons, keep=True)
    subscription.discounts = list(change.discounts)
    change.applied_at = clock.now()
    customer = db.scalar(select(Customer).where(Customer.customer_id == subscription.customer_id))
    assert customer is not None
    _keys(db, customer, subscription, product, was["product_id"] != product.id)
    emit_subscription_event(
        db, subscription, "subscription.plan_changed", product=product.name, was=was, quantity=change.quantity, scheduled=True
    )
    return True


def cancel_scheduled(db: ScopedSession, subscription: Subscription, change: ScheduledChange, why: str | None = None, **data: Any) -> None:
    change.cancelled_at = clock.now()
    plan_notice_again(db, subscription.id)
    discount_redemption.release_scheduled(db, subscription.customer_id, subscription.id, added_discounts(subscription, change))
    emit_subscription_event(db, subscription, "subscription.plan_change_cancelled", product_id=change.product_id, why=why, **data)


def added_discounts(subscription: Subscription, change: ScheduledChange) -> list[Any]:
    """Return the discounts that the change adds to the subscription."""
    present = {discount["discount_id"] for discount in subscription.discounts or []}
    return [discount for discount in change.discounts if discount["discount_id"] not in present]


def _switch(subscription: Subscription, product: Product, quantity: int, unit_minor: int, addons: list[Any], *, keep: bool) -> None:
    """Set the plan. `keep`: the next billing date stays, and a different interval is counted from it."""
    same = (subscription.interval, subscription.interval_count) == (product.interval, product.interval_count)
    if keep and not same:
        subscription.anchor_at, subscription.anchor_n = subscription.next_billing_at, subscription.period_n
    subscription.product_id, subscription.quantity, subscription.unit_minor = product.id, quantity, unit_minor
    subscription.tax_inclusive, subscription.addons, subscription.meters = product.tax_inclusive, list(addons), list(product.meters)
    subscription.interval, subscription.interval_count = product.interval or subscription.interval, product.interval_count


def _keys(db: ScopedSession, customer: Customer, subscription: Subscription, product: Product, other: bool) -> None:
    """Update the license keys. For `other` (another product) the old keys expire and new ones are issued; otherwise one key per unit."""
    conditions = (LicenseKey.subscription_id == subscription.id, LicenseKey.status.in_(("active", "disabled")))
    live = select(LicenseKey).where(*conditions)
    if other:
        for key in db.scalars(live):
            key.status = "expired"
        activation.issue_keys(db, customer, product, subscription.quantity, subscription=subscription)
        return
    count = db.scalar(select(func.count()).select_from(LicenseKey).where(*conditions)) or 0
    if count > subscription.quantity:
        for key in db.scalars(live.order_by(LicenseKey.created_at.desc()).limit(count - subscription.quantity)):
            key.status = "expired"
    elif count < subscription.quantity:
        activation.issue_keys(db, customer, product, subscription.quantity - count, subscription=subscription)


def _product(db: ScopedSession, product_id: str) -> Product:
    product = db.scalar(select(Product).where(Product.id == product_id))
    assert product is not None
    return product
