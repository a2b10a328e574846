"""A plan change that a business orders: quoted and made in one go. The figures are the ones a customer would be shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from billing import plan_switch, plans, redeeming
from billing.commands import plan_change, plan_quote
from billing.commands.cancelling import load
from billing.commands.plan_change import Result
from billing.parties import Business, Customer
from billing.payments import Payment
from billing.plans import Wanted
from billing.quotes import Quote, ScheduledChange
from billing.subscriptions import Subscription
from billing.till import Till
from core import clock
from core.db import ScopedSession
from core.errors import Conflict, Invalid
from core.scope import Scope

LINK_OPEN = ("requires_payment_method",)


@dataclass(frozen=True)
class Order:
    """`addons` [{addon_id, quantity}]: all there will be. `replaces`: a change that is planned already. `replaces_link`: one that
    waits for a payment nobody began. `by_link`: paid on a hosted page whatever card is saved, and made when it is paid."""

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
    codes: tuple[str, ...] | None = None  # all the discounts there will be; None: those that stay


@dataclass(frozen=True)
class Foreseen:
    """What an order would do. `quote` is not kept."""

    subscription: Subscription
    wanted: Wanted
    quote: Quote


def order(till: Till, scope: Scope, subscription_id: str, wish: Order) -> Result:
    """Make the change. Opens its own sessions. Raises as `plan_quote.quote` and `plan_change.confirm`, and Conflict
    PENDING_PLAN_CHANGE_EXISTS where one waits for its payment.
    """
    pending = _pending(till, scope, subscription_id)
    if pending is not None:
        if not wish.replaces_link or pending.status not in LINK_OPEN:
            raise Conflict("PENDING_PLAN_CHANGE_EXISTS", "A plan change waits for its payment. It has to be paid or called back first.")
        till.cancel(pending.business_id, pending.id)
        if _pending(till, scope, subscription_id) is not None:
            raise Conflict("PENDING_PLAN_CHANGE_EXISTS", "The payment of the earlier plan change could not be called back.")
    with till.database.open(scope, write=True) as db:
        planned = plan_quote.waiting(db, load(db, subscription_id)) if wish.replaces else None
        if planned is not None:
            plan_switch.drop(db, load(db, subscription_id), planned, "Another change was made instead.")
            db.flush()
        shown = plan_quote.quote(
            db, subscription_id, wish.product_id, wish.quantity, list(wish.addons), wish.mode, wish.effective_at,
            on_payment_failure=wish.on_payment_failure, codes=wish.codes,
        )  # fmt: skip
        if wish.by_link:
            shown.payment_method_id = None
        quote_id, planned_id = shown.id, planned.id if planned else None
    try:
        result = plan_change.confirm(till, scope, quote_id, return_url=wish.return_url)
    except Exception:
        _take_back(till, scope, quote_id, planned_id)
        raise
    if result.status in ("failed", "cancelled"):
        _take_back(till, scope, quote_id, planned_id)
    if result.payment_id:
        _describe(till, scope, subscription_id, result.payment_id, wish.metadata)
    return result


def preview(db: ScopedSession, subscription_id: str, wish: Order) -> Foreseen:
    """The same checks and the same figures; nothing is written. Raises as `order`."""
    subscription = plan_quote.load(db, subscription_id)
    if wish.effective_at == "next_billing_date" and wish.mode != "full_immediately":
        raise Invalid("INVALID_PRORATION_MODE_WITH_NEXT_BILLING_DATE", "Nothing is prorated at the next billing date.")
    try:
        business = plan_quote.check(db, subscription, False)
    except Conflict as refused:
        found = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
        if refused.code != "SCHEDULED_PLAN_CHANGE_EXISTS" or not wish.replaces or found is None:
            raise
        business = found
    wanted = plans.wanted(db, subscription, wish.product_id, wish.quantity, list(wish.addons), anywhere=True)
    figures = plan_quote.figures(
        db, business, subscription, wanted, wish.mode, wish.effective_at, wish.on_payment_failure, clock.now(), False,
        plan_quote.discounts_for(db, business, subscription, wanted, wish.codes),
    )
    return Foreseen(subscription, wanted, figures)


def _pending(till: Till, scope: Scope, subscription_id: str) -> Payment | None:
    """The payment that a plan change waits for."""
    with till.database.open(scope) as db:
        asked = (Payment.subscription_id == subscription_id, Payment.charge_type == "plan_change")
        return db.scalar(select(Payment).where(*asked, Payment.is_open).limit(1))


def _take_back(till: Till, scope: Scope, quote_id: str, planned_id: str | None) -> None:
    """A change that was not made leaves the planned one in place."""
    if planned_id is None:
        return
    with till.database.open(scope, write=True) as db:
        quote = db.scalar(select(Quote).where(Quote.id == quote_id))
        planned = db.scalar(select(ScheduledChange).where(ScheduledChange.id == planned_id))
        if quote is None or planned is None or quote.applied_at is not None or quote.outcome in ("scheduled", "charging"):
            return
        subscription = load(db, planned.subscription_id)
        if plan_quote.waiting(db, subscription) is None:
            planned.cancelled_at = None
            customer = db.scalar(select(Customer).where(Customer.customer_id == planned.customer_id))
            assert customer is not None
            redeeming.use(db, customer, plan_switch.begun_by(subscription, planned), None, subscription.id, anyway=True)
            plan_switch.note(db, subscription, "subscription.plan_change_scheduled", quantity=planned.quantity,
                             effective_at=planned.effective_at.isoformat())  # fmt: skip


def _describe(till: Till, scope: Scope, subscription_id: str, payment_id: str, metadata: dict[str, Any] | None) -> None:
    """The payment carries the metadata that came with the order, else the subscription's (contract §2.3)."""
    with till.database.open(scope, write=True) as db:
        payment = db.scalar(select(Payment).where(Payment.id == payment_id).with_for_update())
        meta = metadata if metadata is not None else db.scalar(select(Subscription.meta).where(Subscription.id == subscription_id))
        if payment is not None and meta:
            payment.meta = dict(meta)
