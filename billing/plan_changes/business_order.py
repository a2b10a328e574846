"""Plan changes made by a business: quoted and confirmed in one step, with the same figures as a customer's change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from billing.charging import discount_redemption, plan_change_effects
from billing.charging.payment_processor import PaymentProcessor
from billing.model.events import emit_subscription_event
from billing.model.parties import Business, Customer
from billing.model.payments import Payment
from billing.model.quotes import Quote, ScheduledChange, scheduled_change
from billing.model.subscriptions import Subscription, load_subscription, plan_notice_again
from billing.plan_changes import confirm as confirm_plan_change
from billing.plan_changes import eligibility
from billing.plan_changes import quote as quote_plan_change
from billing.plan_changes.confirm import PlanChangeResult
from billing.plan_changes.eligibility import Wanted
from billing.plan_changes.figures import ChangeTerms, compute_quote
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid
from core.scope import Scope

LINK_OPEN = ("requires_payment_method",)


@dataclass(frozen=True)
class PlanChangeOrder:
    """A plan change as a business requests it.

    `addons` [{addon_id, quantity}] and `codes` are complete lists; `codes` None keeps the discounts that stay.
    `replaces`: cancel a scheduled change first. `replaces_link`: cancel a change whose payment was not started.
    `by_link`: pay on a hosted page even when a card is saved; the change takes effect once paid.
    """

    product_id: str
    quantity: int
    addons: tuple[dict[str, Any], ...]
    mode: str
    effective_at: str = "immediately"
    on_payment_failure: str | None = None
    replaces: bool = False
    replaces_link: bool = False
    by_link: bool = False
    return_url: str | None = None
    metadata: dict[str, Any] | None = None
    codes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class PlanChangePreview:
    """The result an order would have. `quote` is not stored."""

    subscription: Subscription
    wanted: Wanted
    quote: Quote


def order(processor: PaymentProcessor, scope: Scope, subscription_id: str, change: PlanChangeOrder) -> PlanChangeResult:
    """Make the change. Opens its own sessions.

    Raises as `quote.quote` and `confirm.confirm`, and Conflict PENDING_PLAN_CHANGE_EXISTS while another waits for its payment.
    """
    pending = _pending(processor, scope, subscription_id)
    if pending is not None:
        if not change.replaces_link or pending.status not in LINK_OPEN:
            raise Conflict("PENDING_PLAN_CHANGE_EXISTS", N_("A plan change is waiting for its payment. Pay or cancel it first."))
        processor.cancel(pending.business_id, pending.id)
        if _pending(processor, scope, subscription_id) is not None:
            raise Conflict("PENDING_PLAN_CHANGE_EXISTS", N_("The payment of the earlier plan change could not be cancelled."))
    with processor.database.open(scope, write=True) as db:
        planned = scheduled_change(db, load_subscription(db, subscription_id)) if change.replaces else None
        if planned is not None:
            plan_change_effects.cancel_scheduled(db, load_subscription(db, subscription_id), planned, "Another change was made instead.")
            db.flush()
        quote = quote_plan_change.quote(
            db, subscription_id, change.product_id, change.quantity, list(change.addons),
            mode=change.mode, effective_at=change.effective_at, on_payment_failure=change.on_payment_failure, codes=change.codes,
        )  # fmt: skip
        if change.by_link:
            quote.payment_method_id = None
        quote_id, planned_id = quote.id, planned.id if planned else None
    try:
        result = confirm_plan_change.confirm(processor, scope, quote_id, return_url=change.return_url)
    except Exception:
        _restore_scheduled(processor, scope, quote_id, planned_id)
        raise
    if result.status in ("failed", "cancelled"):
        _restore_scheduled(processor, scope, quote_id, planned_id)
    if result.payment_id:
        _set_metadata(processor, scope, subscription_id, result.payment_id, change.metadata)
    return result


def preview(db: ScopedSession, subscription_id: str, change: PlanChangeOrder) -> PlanChangePreview:
    """Run the checks of `order` and compute its figures without writing anything. Raises as `order`."""
    subscription = load_subscription(db, subscription_id, lock=False)
    if change.effective_at == "next_billing_date" and change.mode != "full_immediately":
        raise Invalid("INVALID_PRORATION_MODE_WITH_NEXT_BILLING_DATE", N_("A change at the next billing date cannot be prorated."))
    try:
        business = quote_plan_change.check(db, subscription, False)
    except Conflict as refused:
        found = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
        if refused.code != "SCHEDULED_PLAN_CHANGE_EXISTS" or not change.replaces or found is None:
            raise
        business = found
    wanted = eligibility.wanted(db, subscription, change.product_id, change.quantity, list(change.addons), anywhere=True)
    discounts = quote_plan_change.discounts_for(db, business, subscription, wanted, change.codes)
    terms = ChangeTerms(change.mode, change.effective_at, change.on_payment_failure)
    quote = compute_quote(db, business, subscription, wanted, terms, as_of=clock.now(), by_customer=False, discounts=discounts)
    return PlanChangePreview(subscription, wanted, quote)


def _pending(processor: PaymentProcessor, scope: Scope, subscription_id: str) -> Payment | None:
    """The open payment of a plan change, if there is one."""
    with processor.database.open(scope) as db:
        of_change = (Payment.subscription_id == subscription_id, Payment.charge_type == "plan_change")
        return db.scalar(select(Payment).where(*of_change, Payment.is_open).limit(1))


def _restore_scheduled(processor: PaymentProcessor, scope: Scope, quote_id: str, planned_id: str | None) -> None:
    """Restore the scheduled change that was dropped for a change that failed."""
    if planned_id is None:
        return
    with processor.database.open(scope, write=True) as db:
        quote = db.scalar(select(Quote).where(Quote.id == quote_id))
        planned = db.scalar(select(ScheduledChange).where(ScheduledChange.id == planned_id))
        if quote is None or planned is None or quote.applied_at is not None or quote.outcome in ("scheduled", "charging"):
            return
        subscription = load_subscription(db, planned.subscription_id)
        if scheduled_change(db, subscription) is None:
            planned.cancelled_at = None
            plan_notice_again(db, subscription.id)
            customer = db.scalar(select(Customer).where(Customer.customer_id == planned.customer_id))
            assert customer is not None
            discount_redemption.redeem(
                db, customer, plan_change_effects.added_discounts(subscription, planned), None, subscription.id, anyway=True
            )
            emit_subscription_event(db, subscription, "subscription.plan_change_scheduled", quantity=planned.quantity,
                             effective_at=planned.effective_at.isoformat())  # fmt: skip


def _set_metadata(
    processor: PaymentProcessor, scope: Scope, subscription_id: str, payment_id: str, metadata: dict[str, Any] | None
) -> None:
    """Copy the order's metadata to the payment, or the subscription's when the order has none (contract §2.3)."""
    with processor.database.open(scope, write=True) as db:
        payment = db.scalar(select(Payment).where(Payment.id == payment_id).with_for_update())
        meta = metadata if metadata is not None else db.scalar(select(Subscription.meta).where(Subscription.id == subscription_id))
        if payment is not None and meta:
            payment.meta = dict(meta)
