"""Totals and monthly spend, kept as rows beside the payment that moves them."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from sqlalchemy import select

from billing.parties import Business, CustomerTotal, SpendMonth
from core import clock
from core.db import ScopedSession


def paid(db: ScopedSession, business: Business, customer_id: str, minor: int, currency: str) -> None:
    _add(db, business, customer_id, currency, paid=minor)


def refunded(db: ScopedSession, business: Business, customer_id: str, minor: int, currency: str) -> None:
    _add(db, business, customer_id, currency, refunded=minor)


def _add(db: ScopedSession, business: Business, customer_id: str, currency: str, paid: int = 0, refunded: int = 0) -> None:
    month = clock.now().astimezone(ZoneInfo(business.zone)).strftime("%Y-%m")
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
