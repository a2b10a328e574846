"""Renewals in the next 60 days with totals per currency. The amounts come from the function that charges them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from auth.visit_rows import Account
from billing.external.port import UNDECIDED, can
from billing.model.lifecycle import UNPAID_STATES
from billing.pricing import prices
from billing.pricing.calendar import nth
from billing.pricing.terms import Seller
from billing.subscriptions.subscription_row import SubscriptionRow
from core.template_context import formatter
from portal.request_accounts import account

SHOWN = 14
"""Maximum number of renewals listed per half. The totals include the others."""


@dataclass
class Renewal:
    day: date
    row: SubscriptionRow
    account: Account
    minor: int
    is_trial_end: bool


@dataclass
class Half:
    """The renewals of thirty days, ending on `end`."""

    end: date
    renewals: list[Renewal] = field(default_factory=list)

    @property
    def shown(self) -> list[Renewal]:
        return self.renewals[:SHOWN]

    @property
    def more(self) -> int:
        return len(self.renewals) - len(self.shown)

    @property
    def totals(self) -> list[tuple[int, str]]:
        sums: dict[str, int] = {}
        for renewal in self.renewals:
            sums[renewal.row.currency] = sums.get(renewal.row.currency, 0) + renewal.minor
        return sorted(((minor, currency) for currency, minor in sums.items()), key=lambda pair: pair[1])


def is_charged(row: SubscriptionRow) -> bool:
    """Return whether the next period is charged automatically, here or by an external billing system.

    False if we collect but the business has no open payment account, or if the business has not decided yet who collects.
    """
    if row.collected_by == "us":
        return row.has_payment_account
    return row.collected_by != UNDECIDED


def renews_after_resuming(row: SubscriptionRow, resumed_at: datetime) -> datetime | None:
    """Return the next billing date if the subscription is resumed at that time: resuming keeps the paid time that is left."""
    if row.paused_at and row.next_billing_at:
        return resumed_at + (row.next_billing_at - row.paused_at)
    return row.next_billing_at


def next_charge(row: SubscriptionRow, business: Seller, starts: datetime | None = None, after: int = 0) -> list[prices.PriceLine]:
    """Return the price lines of the next full period, or of the period `after` periods later (discounts may end before)."""
    at = starts or row.next_billing_at or row.created_at
    ends = nth(at, row.zone, row.interval, row.interval_count, 1)
    return prices.for_period(business, row, row.product, at, ends, row.period_n + 1 + after)


def upcoming_renewals(rows: list[SubscriptionRow]) -> dict[str, Any]:
    """Return {"halves": two Half, "dated": [(day, account)], "waiting": names that are excluded until they are paid}."""
    fmt, today = formatter(), formatter().today()
    halves = [Half(today + timedelta(days=30)), Half(today + timedelta(days=60))]
    waiting = []
    for row in rows:
        if row.status in UNPAID_STATES:
            waiting.append(row.name)
        if (
            row.status != "active"
            or row.is_ending
            or row.next_billing_at is None
            or not can(row.collected_by, "keep")
            or not is_charged(row)
        ):
            continue
        business = account(row.business_id, row.customer_id)
        if business.archived_at:
            continue
        row = row.coming()
        fixed_total = None if row.discounts else prices.total(next_charge(row, business))  # only discounts vary between periods
        for n, moment in enumerate(_moments(row, today)):
            day = fmt.local_date(moment)
            if day > halves[1].end:
                break
            minor = prices.total(next_charge(row, business, moment, n)) if fixed_total is None else fixed_total
            credit = min(row.credit_minor, minor) if n == 0 else 0
            half = halves[0] if day <= halves[0].end else halves[1]
            half.renewals.append(Renewal(day, row, business, minor - credit, n == 0 and row.is_trial))
    for half in halves:
        half.renewals.sort(key=lambda item: (item.day, item.account.name.casefold(), item.row.name.casefold()))
    dated = [(renewal.day, renewal.account) for half in halves for renewal in half.renewals]
    return {"halves": halves, "dated": dated, "waiting": waiting}


def _moments(row: SubscriptionRow, today: date) -> list[datetime]:
    """Return the renewal dates within the next 61 days."""
    assert row.next_billing_at is not None
    anchor = row.next_billing_at
    out = []
    for n in range(61):
        moment = nth(anchor, row.zone, row.interval, row.interval_count, n)
        if (moment.date() - today).days > 61 or (row.expires_at and moment >= row.expires_at):
            break
        out.append(moment)
    return out
