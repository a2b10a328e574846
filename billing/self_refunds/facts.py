"""Read everything that decides whether a customer may refund a payment themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import undefer

from billing.charging.refunds import WINDOW, refundable
from billing.model.disputes import Dispute
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey
from billing.model.lifecycle import DISPUTE_OPEN
from billing.model.parties import Business, Customer
from billing.model.payment_accounts import PaymentAccount
from billing.model.payments import Payment, Refund
from billing.model.provenance import made_here_first
from billing.model.quotes import Quote
from billing.model.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.errors import NotFound


@dataclass(frozen=True)
class Facts:
    """`refunds`: all refunds of the payment. `used_at`: the customer's last refund under the policy, of any payment of the business.

    `changed_at`: the last plan change after the payment. `is_latest`: no later payment or invoice of the subscription was paid.
    `open_payment`: a payment of the subscription whose outcome is not known.
    """

    business: Business
    customer: Customer
    payment: Payment
    invoice: Invoice | None
    subscription: Subscription | None
    keys: Sequence[LicenseKey]
    refunds: Sequence[Refund]
    is_disputed: bool
    is_account_closed: bool
    open_payment: bool
    is_first: bool
    is_latest: bool
    changed_at: datetime | None
    used_at: datetime | None
    refundable_minor: int

    @property
    def paid_at(self) -> datetime:
        """When the money arrived: some banks confirm a payment days after it was started."""
        paid_at = self.invoice.paid_at if self.invoice is not None else None
        return max(paid_at, self.payment.created_at) if paid_at else self.payment.created_at

    @property
    def activations(self) -> int:
        return sum(key.instances_count for key in self.keys)


def find_payment(db: ScopedSession, payment_id: str) -> Payment:
    """Return a payment of the scope. Raises NotFound."""
    query = select(Payment).where(Payment.id == payment_id).order_by(made_here_first(Payment), Payment.business_id).limit(1)
    found = db.scalar(query)
    if found is None:
        raise NotFound()
    return found


def latest_payment(db: ScopedSession, business_id: str, subscription_id: str) -> Payment | None:
    """Return the last payment of a subscription that took money."""
    mine = (Payment.business_id == business_id, Payment.subscription_id == subscription_id)
    query = select(Payment).where(*mine, Payment.status == "succeeded", Payment.amount_minor > 0)
    return db.scalar(query.order_by(Payment.created_at.desc(), Payment.id.desc()).limit(1))


def other_purchases(db: ScopedSession, payment: Payment, limit: int = 5) -> Sequence[Payment]:
    """Return the customer's other one-time purchases at the same business that are not too old to be refunded, newest first."""
    query = select(Payment).where(
        Payment.business_id == payment.business_id,
        Payment.customer_id == payment.customer_id,
        Payment.id != payment.id,
        Payment.subscription_id.is_(None),
        Payment.status == "succeeded",
        Payment.amount_minor > Payment.refunded_minor,
        Payment.created_at > clock.now() - WINDOW,
    )
    return db.scalars(query.order_by(Payment.created_at.desc(), Payment.id.desc()).limit(limit)).all()


def load_facts(db: ScopedSession, payment: Payment) -> Facts:
    """Read the facts about a payment of this scope. The caller has locked the rows if it acts on them."""
    business_id = payment.business_id
    business = db.scalars(select(Business).where(Business.business_id == business_id)).one()
    mine = (Customer.business_id == business_id, Customer.customer_id == payment.customer_id)
    customer = db.scalars(select(Customer).where(*mine)).one()
    invoice = None
    if payment.invoice_id is not None:
        one = (Invoice.business_id == business_id, Invoice.id == payment.invoice_id)
        invoice = db.scalar(select(Invoice).options(undefer(Invoice.snapshot)).where(*one))
    account = select(PaymentAccount.state).where(PaymentAccount.id == payment.payment_account_id, PaymentAccount.business_id == business_id)
    is_first, is_latest, open_payment, changed_at, subscription = True, True, payment.is_open, None, None
    if payment.subscription_id is not None:
        subscription = db.scalar(
            select(Subscription).where(Subscription.business_id == business_id, Subscription.id == payment.subscription_id)
        )
        is_first, is_latest = _place(db, payment, invoice)
        others = (Payment.business_id == business_id, Payment.subscription_id == payment.subscription_id)
        open_payment = _exists(db, select(Payment.id).where(*others, Payment.is_open))
        changed_at = db.scalar(
            select(func.max(Quote.applied_at)).where(
                Quote.business_id == business_id, Quote.subscription_id == payment.subscription_id, Quote.applied_at >= payment.created_at
            )
        )
    refunds = select(Refund).where(Refund.business_id == business_id, Refund.payment_id == payment.id)
    return Facts(
        business=business,
        customer=customer,
        payment=payment,
        invoice=invoice,
        subscription=subscription,
        keys=_keys(db, payment),
        refunds=list(db.scalars(refunds.order_by(Refund.created_at))),
        is_disputed=payment.disputed_minor > 0
        or _exists(
            db,
            select(Dispute.id).where(
                Dispute.business_id == business_id, Dispute.payment_id == payment.id, Dispute.status.in_(DISPUTE_OPEN)
            ),
        ),
        is_account_closed=db.scalar(account) == "closed",
        open_payment=open_payment,
        is_first=is_first,
        is_latest=is_latest,
        changed_at=changed_at,
        used_at=db.scalar(
            select(func.max(Refund.created_at)).where(
                Refund.business_id == business_id, Refund.customer_id == payment.customer_id, Refund.by_policy, Refund.status != "failed"
            )
        ),
        refundable_minor=refundable(db, payment),
    )


def _place(db: ScopedSession, payment: Payment, invoice: Invoice | None) -> tuple[bool, bool]:
    """Return (is first, is latest) of the subscription's payments that took money. A later invoice may have been paid by credit."""
    mine = (Payment.business_id == payment.business_id, Payment.subscription_id == payment.subscription_id)
    others = select(Payment.id).where(*mine, Payment.id != payment.id, Payment.status == "succeeded", Payment.amount_minor > 0)
    is_first = not _exists(db, others.where(Payment.created_at <= payment.created_at))
    is_latest = not _exists(db, others.where(Payment.created_at >= payment.created_at))
    if is_latest and invoice is not None:
        later = select(Invoice.id).where(
            Invoice.business_id == payment.business_id,
            Invoice.subscription_id == payment.subscription_id,
            Invoice.id != invoice.id,
            Invoice.status == "paid",
            Invoice.issued_at > invoice.issued_at,
        )
        is_latest = not _exists(db, later)
    return is_first, is_latest


def _keys(db: ScopedSession, payment: Payment) -> list[LicenseKey]:
    of = LicenseKey.payment_id == payment.id
    if payment.subscription_id is not None:
        of = or_(of, LicenseKey.subscription_id == payment.subscription_id)
    return list(db.scalars(select(LicenseKey).where(LicenseKey.business_id == payment.business_id, of).order_by(LicenseKey.created_at)))


def _exists(db: ScopedSession, query: object) -> bool:
    return db.scalar(query.limit(1)) is not None  # type: ignore[attr-defined]
