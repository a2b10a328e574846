"""What a customer gets back who withdraws: computed for the page, and again under lock when they confirm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from billing.charging import reconciliation_exceptions
from billing.charging.refunds import WINDOW, open_plan_change, paid_its_invoice
from billing.model.consents import Consent
from billing.model.customer_types import concluded_type
from billing.model.invoices import Invoice, InvoiceLine
from billing.model.parties import Business, Customer
from billing.model.payment_accounts import PaymentAccount
from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from billing.model.withdrawals import Withdrawal
from billing.pricing import credit
from billing.rights.right import Right, right
from core import clock
from core.db import ScopedSession

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Part:
    """What goes back of one payment, in minor units. `kept_minor`: for the time that was used. `spent_minor`: of it became credit.

    `blocked`: why staff have to refund it (disputed, pending, external, closed, old, unbooked), or an empty string. `lines`: the
    refunded lines of the invoice, [{line_id, amount_minor}]; empty: by amount.
    """

    payment: Payment
    back_minor: int
    kept_minor: int = 0
    spent_minor: int = 0
    blocked: str = ""
    lines: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Period:
    """What an invoice paid for. `moved_to`: when the paid time really ends, after pauses; only of the last period."""

    starts_at: datetime
    ends_at: datetime
    used_until: datetime
    moved_to: datetime | None = None


@dataclass(frozen=True)
class Line:
    """A line of a one-time purchase. `is_withdrawn`: the customer withdrew from it before."""

    id: str
    product_id: str | None
    description: str
    quantity: int
    minor: int
    is_withdrawn: bool


@dataclass(frozen=True)
class WithdrawalQuote:
    """`from_at`: since when used time is paid for; None: everything goes back. `used_days` of `period_days` were used.

    `disputed_minor`: with the customer's bank; it is not refunded as well.
    """

    right: Right
    currency: str
    parts: Sequence[Part]
    lines: Sequence[Line] = ()
    from_at: datetime | None = None
    used_days: int = 0
    period_days: int = 0
    disputed_minor: int = 0
    wanted: Sequence[str] = field(default=())

    @property
    def refund_minor(self) -> int:
        return sum(part.back_minor for part in self.parts)

    @property
    def kept_minor(self) -> int:
        return sum(part.kept_minor for part in self.parts)

    @property
    def by_staff_minor(self) -> int:
        return sum(part.back_minor for part in self.parts if part.blocked)


def subscription_right(db: ScopedSession, subscription: Subscription, at: datetime | None = None) -> Right:
    """Return the right to withdraw from a subscription. One statement for its parties, one for its consents."""
    business, customer = _parties(db, subscription.business_id, subscription.customer_id)
    concluded_at = subscription.concluded_at or subscription.created_at
    agreed = select(Consent.id).where(Consent.subscription_id == subscription.id, Consent.kind == "digital_content")
    is_delivered = db.scalar(agreed.where(Consent.recorded_at <= concluded_at).limit(1)) is not None
    party = concluded_type(subscription, customer)
    return right(subscription.billing, party, concluded_at, zone=business.zone, is_delivered=is_delivered, at=at)


def purchase_right(db: ScopedSession, payment: Payment, at: datetime | None = None) -> Right:
    """Return the right to withdraw from a one-time purchase."""
    business, customer = _parties(db, payment.business_id, payment.customer_id)
    concluded_at = db.scalar(select(Invoice.issued_at).where(Invoice.id == payment.invoice_id)) or payment.created_at
    agreed = select(Consent.id).where(Consent.payment_id == payment.id, Consent.kind == "digital_content")
    is_delivered = db.scalar(agreed.where(Consent.recorded_at <= concluded_at).limit(1)) is not None
    party = concluded_type(payment, customer)
    return right(payment.billing, party, concluded_at, zone=business.zone, is_delivered=is_delivered, at=at)


def quote_subscription(
    db: ScopedSession, subscription: Subscription, payments: Sequence[Payment], at: datetime | None = None
) -> WithdrawalQuote:
    """Return what goes back of all `payments` of the subscription. The caller has locked them if it writes. `at`: by default now."""
    its_right = subscription_right(db, subscription, at)
    from_at = _asked_to_begin(db, subscription.id, its_right.concluded_at) if its_right.rule.services == "proportionate" else None
    parts, used, length = [], 0, 0
    periods, until = _periods(db, subscription), at or clock.now()
    until = min(until, subscription.stopped_at or until)
    for payment in payments:
        if payment.status != "succeeded" or not payment.amount_minor:
            continue
        days, of_days, kept = _used(payment, periods.get(payment.invoice_id or ""), from_at, until)
        used, length = max(used, days), max(length, of_days)
        parts.append(_part(db, payment, kept, subscription_id=subscription.id))
    disputed = sum(payment.disputed_minor for payment in payments)
    shown = [part for part in parts if part.back_minor or part.kept_minor]
    return WithdrawalQuote(
        its_right, subscription.currency, shown, from_at=from_at, used_days=used, period_days=length, disputed_minor=disputed
    )


def quote_purchase(db: ScopedSession, payment: Payment, wanted: Iterable[str] | None = None, at: datetime | None = None) -> WithdrawalQuote:
    """Return what goes back of the lines `wanted` of a purchase, by default of all from which the customer did not withdraw."""
    its_right = purchase_right(db, payment, at)
    gone = withdrawn_lines(db, payment)
    rows = list(db.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == payment.invoice_id).order_by(InvoiceLine.position)))
    lines = [
        Line(row.id, row.product_id, row.description, row.quantity, row.net_minor + row.tax_minor - row.refunded_minor, row.id in gone)
        for row in rows
        if row.kind == "item"
    ]
    open_lines = [line for line in lines if not line.is_withdrawn]
    asked = None if wanted is None else set(wanted)
    chosen = [line for line in open_lines if asked is None or line.id in asked]
    items = tuple({"line_id": line.id, "amount_minor": line.minor} for line in chosen if line.minor > 0)
    is_all = len(chosen) == len(open_lines)
    of_lines = sum(line.minor for line in chosen)
    left = max(payment.left_minor - _pending(db, payment), 0)
    amount = left if is_all else min(of_lines, left)
    whole = is_all or amount < of_lines
    blocked = blocked_by(db, payment, None)
    parts = [Part(payment, amount, blocked=blocked, lines=() if whole else items)] if amount else []
    return WithdrawalQuote(
        its_right, payment.currency, parts, lines, disputed_minor=payment.disputed_minor, wanted=[line.id for line in chosen]
    )


def withdrawn_lines(db: ScopedSession, payment: Payment) -> set[str]:
    """Return the ids of the lines from which the customer withdrew."""
    return {line_id for ids in db.scalars(select(Withdrawal.line_ids).where(Withdrawal.payment_id == payment.id)) for line_id in ids}


def _part(db: ScopedSession, payment: Payment, kept: int, *, subscription_id: str) -> Part:
    owed = paid_its_invoice(db, payment)
    spent = credit.spent_credit(db, payment, lock=False) if owed else 0
    left = max(payment.left_minor - _pending(db, payment), 0)
    back = max(left - kept, 0)
    return Part(payment, back, min(kept, left), spent, blocked_by(db, payment, subscription_id) if back else "")


def _pending(db: ScopedSession, payment: Payment) -> int:
    """Return what refunds in progress give back anyway."""
    return db.scalar(select(func.sum(Refund.amount_minor)).where(Refund.payment_id == payment.id, Refund.status == "pending")) or 0


def blocked_by(db: ScopedSession, payment: Payment, subscription_id: str | None) -> str:
    """Return why a payment cannot be refunded at once, or an empty string."""
    if payment.account_id is not None or payment.payment_account_id is None:
        return "external"
    if db.scalar(select(PaymentAccount.state).where(PaymentAccount.id == payment.payment_account_id)) == "closed":
        return "closed"
    if db.scalar(select(func.count()).select_from(Refund).where(Refund.payment_id == payment.id, Refund.status == "pending")):
        return "pending"
    if clock.now() - payment.created_at > WINDOW:
        return "old"
    if reconciliation_exceptions.is_unbooked(db, payment.id):
        return "unbooked"
    waiting = open_plan_change(db, subscription_id)
    return "plan_change" if waiting is not None and not waiting.status.startswith("requires_") else ""


def _periods(db: ScopedSession, subscription: Subscription) -> dict[str, Period]:
    """Return the period that each invoice paid for. A plan change within a period ends the time that the earlier invoice was used."""
    mine = select(Invoice.id, Invoice.starts_at, Invoice.ends_at).where(
        Invoice.subscription_id == subscription.id, Invoice.status == "paid"
    )
    rows = [(id, starts, ends) for id, starts, ends in db.execute(mine.order_by(Invoice.starts_at)) if starts and ends and starts < ends]
    later = [*(row[1] for row in rows[1:]), None]
    return {
        id: Period(starts, ends, min(ends, then) if then else ends, None if then else subscription.next_billing_at)
        for (id, starts, ends), then in zip(rows, later, strict=False)
    }


def _used(payment: Payment, period: Period | None, from_at: datetime | None, at: datetime) -> tuple[int, int, int]:
    """Return (used days, days of the period, minor units kept for them). Only whole days count, so that the amount holds for a day.

    Paused days are not used: they move the end of the period.
    """
    if from_at is None or period is None:
        return 0, 0, 0
    starts, ends = period.starts_at, period.ends_at
    elapsed = min(at, period.used_until) - max(starts, from_at)
    if period.moved_to is not None:
        elapsed = min(elapsed, ends - starts - max(period.moved_to - at, timedelta(0)))
    used = elapsed // DAY
    if used <= 0:
        return 0, round((ends - starts) / DAY), 0
    kept = payment.amount_minor * int((used * DAY).total_seconds()) // int((ends - starts).total_seconds())
    return used, round((ends - starts) / DAY), min(kept, payment.amount_minor)


def _asked_to_begin(db: ScopedSession, subscription_id: str, concluded_at: datetime) -> datetime | None:
    """Return when the customer's consent to begin within the period was stored, if that was before the contract began.

    A business could record a later one without asking, so it takes nothing away.
    """
    mine = (Consent.subscription_id == subscription_id, Consent.kind == "immediate_start", Consent.recorded_at <= concluded_at)
    return db.scalar(select(func.min(Consent.recorded_at)).where(*mine))


def _parties(db: ScopedSession, business_id: str, customer_id: str) -> tuple[Business, Customer]:
    business = db.scalars(select(Business).where(Business.business_id == business_id)).one()
    return business, db.scalars(select(Customer).where(Customer.customer_id == customer_id)).one()
