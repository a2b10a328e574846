"""Confirm a plan change exactly as quoted, once, or refuse it as stale with a new quote. Cancel scheduled changes.

The charge follows the three steps of `PaymentProcessor` under the operation `plan:<subscription>:<quote>`. With
`prevent_change` the plan changes once the payment succeeds. With `apply_change` it changes at once, and an unpaid
charge puts the subscription on hold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from billing.charging import discount_redemption, plan_change_effects
from billing.charging.hosted_payments import open_page
from billing.charging.open_payments import open_payment
from billing.charging.payment_processor import PaymentProcessor
from billing.external.enqueue import is_delegated
from billing.model import lifecycle
from billing.model.catalogue import Product
from billing.model.events import emit_about, emit_subscription_event
from billing.model.parties import Business, Customer
from billing.model.payment_accounts import is_chargeable
from billing.model.payments import Payment, PaymentMethod
from billing.model.quotes import Quote, ScheduledChange, scheduled_change
from billing.model.subscriptions import Subscription, load_subscription, plan_notice_again
from billing.plan_changes import eligibility
from billing.plan_changes import quote as quote_plan_change
from billing.plan_changes.eligibility import PlanOption
from billing.plan_changes.figures import ChangeTerms, compute_quote
from billing.plan_changes.quote import options, quote
from billing.pricing.next_charge import next_charge
from billing.receipts.write import write_plan_receipt
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, NotFound
from core.ids import new_id
from core.scope import Scope, system

__all__ = ["PlanOption", "PlanChangeResult", "cancel_scheduled", "confirm", "options", "quote"]

_FIGURES = (  # columns that must be equal when the quote is computed again for the same moment
    "version", "unit_minor", "addons", "discounts", "lines", "total_minor", "tax", "unused_minor", "balance_minor", "credit_applied_minor",
    "credit_minor", "due_minor", "value_minor", "restarts", "next_billing_at", "next_renewal_minor", "currency", "source_invoice_id",
)  # fmt: skip


@dataclass(frozen=True)
class PlanChangeResult:
    """The outcome of a confirmation.

    `status`: applied, scheduled, or the payment's (succeeded, processing, failed, requires_customer_action,
    requires_payment_method). `link`: the bank's page or the hosted card page to open.
    """

    quote_id: str
    status: str
    payment_id: str | None = None
    link: str | None = None


def confirm(
    processor: PaymentProcessor, scope: Scope, quote_id: str, *, return_url: str | None = None, locale: str = "en"
) -> PlanChangeResult:
    """Make the quoted change. Idempotent: a second call returns the outcome. Opens its own sessions.

    Raises Conflict QUOTE_STALE with fields {"quote_id": the id of a new quote}, and as `quote.quote`.
    """
    with processor.database.open(scope) as db:
        found = db.scalar(select(Quote).where(Quote.id == quote_id))
        if found is None:
            raise NotFound(sentence=N_("There is no such quote."))
        business_id, subscription_id = found.business_id, found.subscription_id
    if found.due_minor:
        processor.accounts.require(business_id)
    with processor.database.open(system(business_id, scope.actor), write=True) as db:
        subscription = load_subscription(db, subscription_id)
        accepted = db.scalar(select(Quote).where(Quote.id == quote_id).with_for_update())
        assert accepted is not None
        fresh_id = None
        if accepted.used_at is None:
            fresh_id = _renew_if_stale(db, subscription, accepted, scope.is_customer)
            if fresh_id is None:
                _apply_quote(processor, db, subscription, accepted, off_session=not scope.is_customer, return_url=return_url)
    if fresh_id is not None:
        raise Conflict(
            "QUOTE_STALE", N_("Something has changed since this price was shown. Review the new price."), fields={"quote_id": fresh_id}
        )
    if accepted.payment_id is None:
        return PlanChangeResult(quote_id, accepted.outcome or "applied")
    return _send(processor, business_id, quote_id, accepted.payment_id, locale)


def cancel_scheduled(db: ScopedSession, subscription_id: str) -> None:
    """Cancel the scheduled change. Raises NotFound (contract: SCHEDULED_PLAN_CHANGE_NOT_FOUND).

    When a business does it, the event contains the next charge, so the customer is emailed in time to cancel.
    """
    subscription = load_subscription(db, subscription_id)
    change = scheduled_change(db, subscription)
    if change is None:
        raise NotFound("SCHEDULED_PLAN_CHANGE_NOT_FOUND", N_("No plan change is scheduled."))
    if is_delegated(db, subscription, "keep_plan", N_("This subscription is billed by another system. Change it there.")):
        return
    withdrawn: dict[str, Any] = {}
    if db.scope.actor.type in ("staff", "api_key"):
        product = db.scalar(select(Product.name).where(Product.id == change.product_id))
        withdrawn = {"product": product, "next_amount": next_charge(db, subscription), "currency": subscription.currency}
    withdrawn |= write_plan_receipt(db, subscription, "plan_change_undone", change)
    plan_change_effects.cancel_scheduled(db, subscription, change, **withdrawn)


def _renew_if_stale(db: ScopedSession, subscription: Subscription, shown: Quote, by_customer: bool) -> str | None:
    """None while the quote is valid: not expired, and its figures are unchanged. Otherwise the id of a new quote."""
    business = quote_plan_change.check(db, subscription, by_customer)
    chosen = [{"addon_id": addon["addon_id"], "quantity": addon["quantity"]} for addon in shown.addons]
    wanted = eligibility.wanted(db, subscription, shown.product_id, shown.quantity, chosen, anywhere=not by_customer)

    terms = ChangeTerms(shown.mode, shown.effective_at, shown.on_payment_failure)

    def quote_at(at: datetime) -> Quote:
        return compute_quote(db, business, subscription, wanted, terms, as_of=at, by_customer=by_customer, discounts=shown.discounts)

    if clock.now() <= shown.expires_at:
        recomputed = quote_at(shown.as_of)
        if all(getattr(recomputed, name) == getattr(shown, name) for name in _FIGURES):
            return None
    row = quote_at(clock.now())
    row.payment_method_id = subscription.payment_method_id
    db.add(row)
    return row.id


def _apply_quote(
    processor: PaymentProcessor,
    db: ScopedSession,
    subscription: Subscription,
    accepted: Quote,
    *,
    off_session: bool,
    return_url: str | None,
) -> None:
    business = db.scalar(select(Business))
    customer = db.scalar(select(Customer).where(Customer.customer_id == subscription.customer_id))
    assert business is not None and customer is not None
    accepted.used_at = clock.now()
    present = {discount["discount_id"] for discount in subscription.discounts or []}
    added = [discount for discount in accepted.discounts if discount["discount_id"] not in present]
    if accepted.effective_at == "next_billing_date":
        discount_redemption.redeem(db, customer, added, None, subscription.id)
        _schedule(db, subscription, accepted)
    elif accepted.due_minor == 0:
        discount_redemption.redeem(db, customer, added, None, subscription.id)
        if accepted.lines:
            invoice = plan_change_effects.bill(db, business, customer, subscription, accepted, processor.settings.is_test)
            invoice.status, invoice.paid_at = lifecycle.move(lifecycle.INVOICE, invoice.status, "pay"), clock.now()
            emit_about(db, invoice, "invoice.paid")
        plan_change_effects.apply(db, customer, subscription, accepted)
    else:
        payment = _create_payment(processor, db, subscription, accepted, off_session, return_url)
        discount_redemption.redeem(db, customer, added, payment.id, subscription.id)
        accepted.payment_id, accepted.outcome = payment.id, "charging"
        if accepted.on_payment_failure == "apply_change":
            invoice = plan_change_effects.bill(db, business, customer, subscription, accepted, processor.settings.is_test)
            payment.invoice_id = invoice.id
            plan_change_effects.apply(db, customer, subscription, accepted)
            accepted.outcome = "charging"


def _schedule(db: ScopedSession, subscription: Subscription, accepted: Quote) -> None:
    assert subscription.next_billing_at is not None
    change = ScheduledChange(
        business_id=accepted.business_id,
        customer_id=accepted.customer_id,
        id=new_id("spc"),
        subscription_id=subscription.id,
        product_id=accepted.product_id,
        quantity=accepted.quantity,
        unit_minor=accepted.unit_minor,
        addons=list(accepted.addons),
        discounts=list(accepted.discounts),
        effective_at=subscription.next_billing_at,
        created_at=clock.now(),
    )
    db.add(change)
    plan_notice_again(db, subscription.id)
    accepted.outcome = "scheduled"
    name = db.scalar(select(Product.name).where(Product.id == accepted.product_id))
    emit_subscription_event(
        db,
        subscription,
        "subscription.plan_change_scheduled",
        product=name,
        quantity=accepted.quantity,
        effective_at=change.effective_at.isoformat(),
        **write_plan_receipt(db, subscription, "plan_change_scheduled", accepted),
    )


def _create_payment(
    processor: PaymentProcessor, db: ScopedSession, subscription: Subscription, accepted: Quote, off_session: bool, return_url: str | None
) -> Payment:
    method = (
        db.scalar(
            select(PaymentMethod).where(
                PaymentMethod.id == accepted.payment_method_id, PaymentMethod.customer_id == accepted.customer_id, is_chargeable()
            )
        )
        if accepted.payment_method_id
        else None
    )
    payment = open_payment(
        processor,
        db,
        business_id=accepted.business_id,
        customer_id=accepted.customer_id,
        brand_id=subscription.brand_id,
        charge_type="plan_change",
        operation=plan_change_effects.operation(accepted),
        amount_minor=accepted.due_minor,
        tax_minor=min(accepted.tax, accepted.due_minor),
        currency=accepted.currency,
        method=method,
        off_session=off_session,
        subscription_id=subscription.id,
        return_url=return_url,
        cart=accepted.lines,
        discounts=accepted.discounts,
        billing=subscription.billing,
    )
    db.flush()
    return payment


def _send(processor: PaymentProcessor, business_id: str, quote_id: str, payment_id: str, locale: str) -> PlanChangeResult:
    """Send the payment if it was not sent yet, and return its state. Idempotent: the gateway has one effect per key."""
    with processor.database.open(system(business_id)) as db:
        payment = db.scalar(select(Payment).where(Payment.id == payment_id))
        assert payment is not None
    result = PlanChangeResult(quote_id, payment.status, payment_id)
    if payment.is_open and payment.status == "requires_payment_method":
        return replace(result, link=open_page(processor, business_id, payment_id, locale))
    if payment.is_open and payment.status == "processing" and payment.sent_at is None:
        result = replace(result, status=processor.start(business_id, payment_id))
    if result.status != "requires_customer_action":
        return result
    with processor.database.open(system(business_id)) as db:
        return replace(result, link=db.scalar(select(Payment.hosted_url).where(Payment.id == payment_id)))
