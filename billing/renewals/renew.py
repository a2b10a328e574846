"""Renew subscriptions, end trials and apply scheduled cancellations. Run by the worker in small batches.

Each renewal is one operation (`renewal:<subscription>:<n>`). Its invoice is unique and its payment's key is derived from it,
so running twice, or on two machines, charges once.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from billing.charging import activation, plan_change_effects
from billing.charging.hosted_tax import store_calculation
from billing.charging.open_payments import FIRST_CHARGE_CHECK, open_payment
from billing.charging.payment_processor import PaymentProcessor
from billing.documents.issuing import issue
from billing.model import job_names, lifecycle
from billing.model.catalogue import Product
from billing.model.discounts import is_on
from billing.model.events import emit_about
from billing.model.invoices import Invoice
from billing.model.parties import Business, Customer
from billing.model.payment_accounts import is_chargeable
from billing.model.payments import Payment, PaymentMethod
from billing.model.subscriptions import Subscription
from billing.price_changes import carry_out as price_changes
from billing.pricing import credit, prices
from billing.pricing.calculated_tax import KnownAnswers
from billing.pricing.calendar import nth
from billing.pricing.credit_lines import less_credit
from billing.renewals import notices
from billing.renewals.due_subscriptions import due_rows, today
from billing.subscriptions.cancel import end
from billing.subscriptions.tax_id_checks import request_check
from core import clock, recurring_jobs
from core.db import ScopedSession
from core.scope import everything, system

BATCH = 50


def run_due(processor: PaymentProcessor, limit: int = BATCH) -> int:
    """Renew or end the subscriptions that are due. Returns the number of subscriptions handled.

    Businesses take turns, and a subscription that cannot be renewed backs off (core/recurring_jobs.py).
    After downtime several periods may be due: each subscription renews at most once per (UTC) day (safety 4.9).
    A closed business charges nothing; scheduled cancellations still take effect.
    """
    with processor.database.open(everything("renewals due")) as db:
        due = due_rows(db, limit)

    def renew(business_id: str, subscription_id: str) -> None:
        payment_id = processor.taxes.with_answers(lambda known: prepare(processor, business_id, subscription_id, known))
        if payment_id:
            processor.start(business_id, payment_id)

    return recurring_jobs.run(processor.database, job_names.RENEWALS, due, renew)


def prepare(processor: PaymentProcessor, business_id: str, subscription_id: str, known: KnownAnswers | None = None) -> str | None:
    """Step 1: commit invoice and payment. Returns the id of the payment to send, or None when nothing is charged.

    Raises CalculationNeeded before the tax is known. If the calculator does not answer, the renewal backs off and nothing is charged.
    """
    with processor.database.open(system(business_id), write=True) as db:
        subscription = db.scalar(select(Subscription).where(Subscription.id == subscription_id).with_for_update(skip_locked=True))
        if subscription is None or subscription.status not in lifecycle.LIVE or not _is_due(subscription):
            return None
        if db.scalar(select(Payment.id).where(Payment.subscription_id == subscription.id, Payment.is_open).limit(1)):
            return None  # one payment at a time; the reconciler settles the open one
        if subscription.cancel_at_period_end:
            end(db, subscription)
            return None
        if subscription.status != "active" or (subscription.previous_billing_at and subscription.previous_billing_at >= today()):
            return None
        if db.scalar(select(Business.archived_at)) is not None:
            return None
        if subscription.expires_at and subscription.next_billing_at >= subscription.expires_at:  # type: ignore[operator]
            end(db, subscription, "expire")
            return None
        if not notices.may_charge(db, subscription):
            return None
        plan_changed = plan_change_effects.apply_scheduled(db, subscription)
        price_changes.apply_due(db, subscription, plan_changed=plan_changed)
        invoice = bill(processor, db, subscription, known or KnownAnswers())
        if invoice.status == "open" and invoice.due_minor == 0:  # free, or fully covered by credit
            invoice.status, invoice.paid_at = lifecycle.move(lifecycle.INVOICE, "open", "pay"), clock.now()
            emit_about(db, invoice, "invoice.paid")
        if invoice.status != "open":
            activation.renew(db, subscription, invoice)
            return None
        processor.accounts.for_new(db, business_id)  # a readable error without an account, before the customer owes anything
        method = _load_method(db, subscription)
        if method is None:
            activation.mark_unpaid(db, subscription)
            return None
        return attempt(processor, db, invoice, subscription, method, off_session=True).id


def bill(processor: PaymentProcessor, db: ScopedSession, subscription: Subscription, known: KnownAnswers) -> Invoice:
    """Issue the invoice of the next period, or return it if it exists. Credit is used in the same transaction.

    Raises CalculationNeeded where a hosted calculator decides the tax and was not asked yet.
    """
    business = db.scalar(select(Business))
    customer = db.scalar(select(Customer).where(Customer.customer_id == subscription.customer_id))
    product = db.scalar(select(Product).where(Product.id == subscription.product_id))
    assert business and customer and product and subscription.next_billing_at and subscription.anchor_at
    n = subscription.period_n + 1
    operation = f"renewal:{subscription.id}:{n}"  # n only rises, even when a plan change or a pause moves the anchor
    found = db.scalar(select(Invoice).where(Invoice.operation == operation))
    if found is not None:
        return found
    request_check(db, subscription.business_id, subscription.customer_id, subscription.tax_id, (subscription.billing or {}).get("country"))
    ends = nth(subscription.anchor_at, subscription.zone, subscription.interval, subscription.interval_count, n - subscription.anchor_n)
    lines = prices.for_period(business, subscription, product, subscription.next_billing_at, ends)
    taxed = known.apply(
        business,
        lines,
        [product.tax_category] * len(lines),
        subscription.billing or {},
        business_id=business.business_id,
        currency=subscription.currency,
        tax_id=subscription.tax_id,
        at=subscription.next_billing_at,
    )
    settled = less_credit(taxed.lines, balance=subscription.credit_minor, balance_parts=credit.balance_parts(db, subscription))
    store_calculation(db, subscription.customer_id, operation, taxed)
    taxed.note_on(subscription)
    owed = prices.total(settled.lines) - min(
        subscription.credit_minor, 0
    )  # negative credit: an earlier amount that was too small to charge
    invoice = issue(
        db,
        business,
        customer,
        operation=operation,
        kind="renewal",
        lines=settled.lines,
        currency=subscription.currency,
        subscription_id=subscription.id,
        due_minor=owed,
        starts_at=subscription.next_billing_at,
        ends_at=ends,
        billing=subscription.billing,
        tax_id=subscription.tax_id,
        business_name=subscription.business_name,
        method_id=subscription.payment_method_id,
        test_mode=processor.settings.is_test,
    )
    subscription.credit_minor -= invoice.credit_applied_minor
    return invoice


def attempt(
    processor: PaymentProcessor,
    db: ScopedSession,
    invoice: Invoice,
    subscription: Subscription,
    method: PaymentMethod | None,
    *,
    off_session: bool,
    return_url: str | None = None,
) -> Payment:
    """Create the next payment of an open invoice, or return the open one. Its number and key rise only after a definite decline.

    Raises ValueError for a subscription with external billing; callers must check first.
    """
    if subscription.collected_by != "us":
        raise ValueError(f"{subscription.id} is collected by {subscription.collected_by}")
    db.flush()
    unfinished = db.scalar(select(Payment).where(Payment.invoice_id == invoice.id, Payment.is_open))
    if unfinished is not None:
        return unfinished
    number = (db.scalar(select(func.count()).select_from(Payment).where(Payment.invoice_id == invoice.id)) or 0) + 1
    return open_payment(
        processor,
        db,
        business_id=invoice.business_id,
        customer_id=invoice.customer_id,
        brand_id=subscription.brand_id,
        charge_type="renewal",
        operation=invoice.operation,
        attempt=number,
        amount_minor=invoice.due_minor,
        tax_minor=invoice.tax_minor,
        currency=invoice.currency,
        method=method,
        off_session=off_session,
        subscription_id=subscription.id,
        invoice_id=invoice.id,
        return_url=return_url,
        discounts=_discounts(invoice, subscription),
        billing=subscription.billing,
        first_check=FIRST_CHARGE_CHECK,
    )


def _discounts(invoice: Invoice, subscription: Subscription) -> list[dict[str, Any]]:
    """The discounts that the invoice was priced with."""
    n = int(invoice.operation.rsplit(":", 1)[1]) if invoice.kind == "renewal" else subscription.period_n
    return [discount for discount in subscription.discounts or [] if is_on(discount, n)]


def _is_due(subscription: Subscription) -> bool:
    return subscription.next_billing_at is not None and subscription.next_billing_at <= clock.now()


def _load_method(db: ScopedSession, subscription: Subscription) -> PaymentMethod | None:
    if subscription.payment_method_id is None:
        return None
    return db.scalar(select(PaymentMethod).where(PaymentMethod.id == subscription.payment_method_id, is_chargeable()))
