"""What renews in the next sixty days: dated lines, and sums per currency. Amounts come from the function that charges them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from billing import pricing
from billing.calendar import nth
from billing.elsewhere import can
from billing.queries.subscriptions import SubscriptionRow
from core.pages import words
from portal.standing import Account, account

SHOWN = 14
"""Lines in one half; what is beyond is counted in words and in the sums."""


@dataclass
class Renewal:
    day: date
    row: SubscriptionRow
    account: Account
    minor: int
    is_trial_end: bool


@dataclass
class Half:
    """Thirty days: from the day after `start` to `end`."""

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
        for one in self.renewals:
            sums[one.row.currency] = sums.get(one.row.currency, 0) + one.minor
        return sorted(((minor, currency) for currency, minor in sums.items()), key=lambda pair: pair[1])


def next_charge(row: SubscriptionRow, business: Account, starts: datetime | None = None, after: int = 0) -> list[pricing.Line]:
    """The lines of the next full period, or of the one so many `after` it: a discount may end before."""
    at = starts or row.next_billing_at or row.created_at
    ends = nth(at, row.zone, row.interval, row.interval_count, 1)
    product = SimpleNamespace(id=row.product_id, name=row.name, tax_category=row.tax_category)
    return pricing.for_period(business, row, product, at, ends, row.period_n + 1 + after)  # type: ignore[arg-type]


def ahead(rows: list[SubscriptionRow]) -> dict[str, Any]:
    """{"halves": two Half, "dated": [(day, account)], "waiting": names not counted because they are to be paid first}."""
    said, today = words(), words().today()
    halves = [Half(today + timedelta(days=30)), Half(today + timedelta(days=60))]
    waiting = []
    for row in rows:
        if row.status in ("on_hold", "past_due"):
            waiting.append(row.name)
        if row.status != "active" or row.is_ending or row.next_billing_at is None or not can(row.collected_by, "keep"):
            continue
        business = account(row.business_id, row.customer_id)
        if business.archived_at:
            continue
        row = row.coming()
        for n, moment in enumerate(_moments(row, today)):
            day = said.local_date(moment)
            if day > halves[1].end:
                break
            minor = pricing.total(next_charge(row, business, moment, n))
            credit = min(row.credit_minor, minor) if n == 0 else 0
            half = halves[0] if day <= halves[0].end else halves[1]
            half.renewals.append(Renewal(day, row, business, minor - credit, n == 0 and row.is_trial))
    for half in halves:
        half.renewals.sort(key=lambda one: (one.day, one.account.name.casefold(), one.row.name.casefold()))
    dated = [(one.day, one.account) for half in halves for one in half.renewals]
    return {"halves": halves, "dated": dated, "waiting": waiting}


def _moments(row: SubscriptionRow, today: date) -> list[datetime]:
    """The next dates, from the anchor where it is known, for as long as the ruler; a daily one fills it."""
    assert row.next_billing_at is not None
    anchor = row.next_billing_at
    out = []
    for n in range(61):
        moment = nth(anchor, row.zone, row.interval, row.interval_count, n)
        if (moment.date() - today).days > 61 or (row.expires_at and moment >= row.expires_at):
            break
        out.append(moment)
    return out
