"""Updates the total and monthly amounts of customers, in the transaction of the payment or refund that changes them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import select

from billing.model.parties import Business, CustomerTotal, SpendMonth
from core import clock
from core.db import ScopedSession


def add_paid(db: ScopedSession, business: Business, customer_id: str, minor: int, currency: str, *, at: datetime | None = None) -> None:
    """Add what a customer paid. `at`: when, if not now."""
    _add(db, business, customer_id, currency, paid=minor, at=at)


def add_refunded(db: ScopedSession, business: Business, customer_id: str, minor: int, currency: str, *, at: datetime | None = None) -> None:
    """Add what went back to the customer, by a refund or a lost dispute. `at`: when it did, if it is now taken off again."""
    _add(db, business, customer_id, currency, refunded=minor, at=at)


def _add(
    db: ScopedSession, business: Business, customer_id: str, currency: str, *, paid: int = 0, refunded: int = 0, at: datetime | None = None
) -> None:
    month = (at or clock.now()).astimezone(ZoneInfo(business.zone)).strftime("%Y-%m")
    owner = {"business_id": business.business_id, "customer_id": customer_id}
    total_id, month_id = f"{customer_id}:{currency}", f"{customer_id}:{month}:{currency}"
    total = db.scalar(select(CustomerTotal).where(CustomerTotal.id == total_id).with_for_update())
    if total is None:
        total = CustomerTotal(**owner, id=total_id, currency=currency, paid_minor=0, refunded_minor=0)
        db.add(total)
    spend = db.scalar(select(SpendMonth).where(SpendMonth.id == month_id).with_for_update())
    if spend is None:
        spend = SpendMonth(**owner, id=month_id, month=month, currency=currency, paid_minor=0, refunded_minor=0)
        db.add(spend)
    for row in (total, spend):
        row.paid_minor += paid
        row.refunded_minor += refunded


MonthKey = tuple[str, str, str]
"""(customer_id, month, currency)"""


def add_many(db: ScopedSession, business_id: str, moves: dict[MonthKey, list[int]]) -> None:
    """Add imported history: [paid, refunded] in minor units for each month."""
    sums: dict[str, list[int]] = {}
    for (customer_id, _month, currency), (paid, refunded) in moves.items():
        whole = sums.setdefault(f"{customer_id}:{currency}", [0, 0])
        whole[0], whole[1] = whole[0] + paid, whole[1] + refunded
    months = {f"{customer_id}:{month}:{currency}": (customer_id, month, currency) for customer_id, month, currency in moves}
    totals = {row.id: row for row in db.scalars(select(CustomerTotal).where(CustomerTotal.id.in_(sorted(sums))).with_for_update())}
    spent = {row.id: row for row in db.scalars(select(SpendMonth).where(SpendMonth.id.in_(sorted(months))).with_for_update())}
    for key, (paid, refunded) in moves.items():
        customer_id, month, currency = key
        owner = {"business_id": business_id, "customer_id": customer_id, "currency": currency, "paid_minor": 0, "refunded_minor": 0}
        whole_id, month_id = f"{customer_id}:{currency}", f"{customer_id}:{month}:{currency}"
        if whole_id not in totals:
            totals[whole_id] = CustomerTotal(id=whole_id, **owner)
            db.add(totals[whole_id])
        if month_id not in spent:
            spent[month_id] = SpendMonth(id=month_id, month=month, **owner)
            db.add(spent[month_id])
        spent[month_id].paid_minor += paid
        spent[month_id].refunded_minor += refunded
    for item, (paid, refunded) in sums.items():
        totals[item].paid_minor += paid
        totals[item].refunded_minor += refunded
