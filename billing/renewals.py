"""What the calendar brings: renewals, ends of trials, scheduled cancellations. Due rows, in small batches, run by the worker.

Each renewal is one operation (`renewal:<subscription>:<n>`): its invoice is unique, its payment's key is derived from it,
so that running twice, or on two machines, charges once.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, or_, select

from billing import activation, credit, lifecycle, plan_switch, pricing
from billing.authors import author_of
from billing.catalogue import Product
from billing.commands.cancelling import end
from billing.credit_lines import less_credit
from billing.discounts import is_on
from billing.invoices import Invoice
from billing.invoicing import issue
from billing.methods import method_of
from billing.parties import Business, Customer
from billing.payments import Payment, PaymentMethod
from billing.subscriptions import Subscription
from billing.till import Till
from core import clock, turns
from core.db import ScopedSession
from core.ids import new_id
from core.outbox import emit
from core.scope import everything, system

BATCH = 50
FIRST_CHECK = timedelta(seconds=30)


def run_due(till: Till, limit: int = BATCH) -> int:
    """Renew or end what is due. Returns how many subscriptions were looked at.

    Businesses take turns, and a subscription that cannot be renewed backs off (core/turns.py).
    After downtime several periods may be due: each subscription renews at most once on a (UTC) day (safety 4.9).
    A business that closed takes nothing more; what was cancelled at its period's end still ends.
    """
    with till.database.open(everything("renewals due")) as db:
        open_payment = select(Payment.id).where(
            Payment.business_id == Subscription.business_id, Payment.customer_id == Subscription.customer_id,
            Payment.subscription_id == Subscription.id, Payment.is_open,
        )
        query = (
            select(Subscription.business_id, Subscription.id)
            .join(Business, Business.business_id == Subscription.business_id)
            .where(
                Subscription.next_billing_at <= clock.now(), Subscription.collected_by == "us", ~open_payment.exists(),
                or_(and_(Subscription.status == "active", Business.archived_at.is_(None),
                         or_(Subscription.previous_billing_at.is_(None), Subscription.previous_billing_at < _today())),
                    and_(Subscription.status.in_(lifecycle.LIVE), Subscription.cancel_at_period_end)),
                turns.rested("renewals", Subscription.business_id, Subscription.id),
            )
        )
        order = (Subscription.next_billing_at, Subscription.id)
        due = [(one[0], one[1]) for one in db.execute(turns.in_turns(query, Subscription.business_id, *order, limit=limit))]

    def renew(business_id: str, subscription_id: str) -> None:
        payment_id = prepare(till, business_id, subscription_id)
        if payment_id:
            till.start(business_id, payment_id)

    return turns.run(till.database, "renewals", due, renew)


def prepare(till: Till, business_id: str, subscription_id: str) -> str | None:
    """Step 1: invoice and payment, committed. Returns the payment to send, or None when nothing is to be charged."""
    with till.database.open(system(business_id), write=True) as db:
        subscription = db.scalar(select(Subscription).where(Subscription.id == subscription_id).with_for_update(skip_locked=True))
        if subscription is None or subscription.status not in lifecycle.LIVE or not _due(subscription):
            return None
        if db.scalar(select(Payment.id).where(Payment.subscription_id == subscription.id, Payment.is_open).limit(1)):
            return None  # one money operation at a time; the reconciler ends the one under way
        if subscription.cancel_at_period_end:
            end(db, subscription)
            return None
        if subscription.status != "active" or (subscription.previous_billing_at and subscription.previous_billing_at >= _today()):
            return None
        if db.scalar(select(Business.archived_at)) is not None:
            return None
        if subscription.expires_at and subscription.next_billing_at >= subscription.expires_at:  # type: ignore[operator]
            end(db, subscription, "expire")
            return None
        plan_switch.apply_scheduled(db, subscription)
        invoice = bill(till, db, subscription)
        if invoice.status == "open" and invoice.due_minor == 0:  # free, or all of it is covered by credit
            invoice.status, invoice.paid_at = lifecycle.move(lifecycle.INVOICE, "open", "pay"), clock.now()
            emit(db, "invoice.paid", business_id=business_id, customer_id=invoice.customer_id, noun=invoice.id)
        if invoice.status != "open":
            activation.renew(db, subscription, invoice)
            return None
        method = _method(db, subscription)
        if method is None:
            activation.fall_behind(db, subscription)
            return None
        return attempt(till, db, invoice, subscription, method, off_session=True).id


def bill(till: Till, db: ScopedSession, subscription: Subscription) -> Invoice:
    """The invoice of the next period; the same one when it exists already. Credit is used in the transaction that issues it."""
    business = db.scalar(select(Business))
    customer = db.scalar(select(Customer).where(Customer.customer_id == subscription.customer_id))
    product = db.scalar(select(Product).where(Product.id == subscription.product_id))
    assert business and customer and product and subscription.next_billing_at and subscription.anchor_at
    n = subscription.period_n + 1
    operation = f"renewal:{subscription.id}:{n}"  # n only rises, also where a plan change or a pause moves the anchor
    found = db.scalar(select(Invoice).where(Invoice.operation == operation))
    if found is not None:
        return found
    ends = activation.nth(subscription.anchor_at, subscription.zone, subscription.interval, subscription.interval_count,
                          n - subscription.anchor_n)
    lines = pricing.for_period(business, subscription, product, subscription.next_billing_at, ends)
    bill = less_credit(lines, balance=subscription.credit_minor, balance_parts=credit.balance_parts(db, subscription))
    owed = pricing.total(bill.lines) - min(subscription.credit_minor, 0)  # negative: too little to charge before, so it is due now
    invoice = issue(
        db, business, customer, operation=operation, kind="renewal", lines=bill.lines, currency=subscription.currency,
        subscription_id=subscription.id, due_minor=owed, starts_at=subscription.next_billing_at, ends_at=ends,
        billing=subscription.billing, tax_id=subscription.tax_id, business_name=subscription.business_name, test_mode=till.settings.is_test,
    )
    subscription.credit_minor -= invoice.credit_applied_minor
    return invoice


def attempt(
    till: Till, db: ScopedSession, invoice: Invoice, subscription: Subscription, method: PaymentMethod | None, *, off_session: bool,
    return_url: str | None = None,
) -> Payment:
    """The next payment of an open invoice. Its number, and so its key, rises only after a definite decline.

    Raises ValueError for what another system collects: whoever comes here forgot to ask.
    """
    if subscription.collected_by != "us":
        raise ValueError(f"{subscription.id} is collected by {subscription.collected_by}")
    db.flush()
    open_one = db.scalar(select(Payment).where(Payment.invoice_id == invoice.id, Payment.is_open))
    if open_one is not None:
        return open_one
    number = (db.scalar(select(func.count()).select_from(Payment).where(Payment.invoice_id == invoice.id)) or 0) + 1
    at = clock.now()
    payment = Payment(
        business_id=invoice.business_id, customer_id=invoice.customer_id, id=new_id("pay"), invoice_id=invoice.id,
        subscription_id=subscription.id, brand_id=subscription.brand_id, charge_type="renewal", amount_minor=invoice.due_minor,
        tax_minor=invoice.tax_minor, currency=invoice.currency, status="processing" if method else "requires_payment_method", is_open=True,
        unknown=False, key=till.key(invoice.business_id, invoice.operation, number), attempt=number, off_session=off_session,
        payment_method_id=method.id if method else None, method=method_of(method) if method else {}, gateway=till.gateway.name,
        return_url=return_url, cart=[], discounts=_discounts(invoice, subscription), billing=subscription.billing, meta={},
        refunded_minor=0, fence=0, author=author_of(db), check_at=clock.wall() + FIRST_CHECK, created_at=at, updated_at=at,
    )
    db.add(payment)
    return payment


def _discounts(invoice: Invoice, subscription: Subscription) -> list[dict[str, Any]]:
    """Those that the invoice was priced with."""
    n = int(invoice.operation.rsplit(":", 1)[1]) if invoice.kind == "renewal" else subscription.period_n
    return [one for one in subscription.discounts or [] if is_on(one, n)]


def _due(subscription: Subscription) -> bool:
    return subscription.next_billing_at is not None and subscription.next_billing_at <= clock.now()


def _today() -> datetime:
    return clock.now().replace(hour=0, minute=0, second=0, microsecond=0)


def _method(db: ScopedSession, subscription: Subscription) -> PaymentMethod | None:
    if subscription.payment_method_id is None:
        return None
    return db.scalar(select(PaymentMethod).where(PaymentMethod.id == subscription.payment_method_id, PaymentMethod.removed_at.is_(None)))
