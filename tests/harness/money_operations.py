"""The operations that move money, each with a separate subject: setup, operation, and the repeated click."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from billing.charging.refund import refund
from billing.model.payments import Refund
from billing.model.quotes import Quote
from billing.model.subscriptions import Subscription
from billing.plan_changes.confirm import confirm, quote
from billing.renewals import renew
from billing.renewals.pay_dues import pay_dues
from billing.subscriptions.subscribe import buy, subscribe
from core.scope import Scope, customer_of, system
from tests.stories.business_and_buyer import Site

FAILS_LATER = "4000000000000341"


@dataclass
class Act:
    """`do` runs in the child that is killed; `again` is the repeated click; `done` is whether the result is complete.

    `owner`: the id in every payment key of this operation.
    """

    owner: str
    kind: str
    do: Callable[[], object]
    again: Callable[[], object]
    done: Callable[[], bool]


class Stage:
    """One business with two plans. Every operation gets a separate subscription or payment."""

    def __init__(self, site: Site) -> None:
        self.site, self.scope = site, system(site.business_id)
        self.plan, self.more = site.product(site.monthly(2900)), site.product(site.monthly(7900))
        self.once = site.product({"type": "one_time_price", "currency": "EUR", "price": 4900})
        self.good, self.failing = site.card(), site.card(number=FAILS_LATER)
        self.customer: Scope = customer_of(site.business_id, site.customer_id)

    def subscription(self, item: str) -> Subscription:
        return self.site.rows(Subscription, id=item)[0]

    def begin(self, card: str, *, is_due: bool = False) -> str:
        item = subscribe(self.site.processor, self.scope, customer_id=self.site.customer_id, product_id=self.plan, payment_method_id=card,
                        billing={"country": "GB"}).subscription_id or ""  # fmt: skip
        if is_due:  # only its dates move by a month
            with self.site.database.open(self.scope, write=True) as db:
                row: Any = db.scalar(select(Subscription).where(Subscription.id == item))
                for name in ("anchor_at", "previous_billing_at", "next_billing_at"):
                    setattr(row, name, getattr(row, name) - timedelta(days=32))
        return item

    def renewal(self) -> Act:
        item = self.begin(self.good, is_due=True)
        return Act(item, "renewal", lambda: renew.run_due(self.site.processor), lambda: None, lambda: self.subscription(item).period_n == 2)

    def dues(self) -> Act:
        item = self.begin(self.failing, is_due=True)
        renew.run_due(self.site.processor)
        assert self.subscription(item).status == "on_hold"

        def pay() -> None:
            pay_dues(self.site.processor, self.customer, item, payment_method_id=self.good)

        return Act(item, "renewal", pay, pay, lambda: self.subscription(item).status == "active")

    def plan_change(self) -> Act:
        item = self.begin(self.good)

        def change() -> None:
            with self.site.database.open(self.scope, write=True) as db:
                shown = quote(db, item, self.more, mode="prorated_immediately_keep_cycle").id
            confirm(self.site.processor, self.scope, shown)

        def again() -> None:
            quotes = self.site.rows(Quote, subscription_id=item)
            if not any(each.used_at for each in quotes):  # nothing was started: the person starts again
                change()

        return Act(item, "plan", change, again, lambda: self.subscription(item).product_id == self.more)

    def refund(self) -> Act:
        item = buy(self.site.processor, self.scope, customer_id=self.site.customer_id, cart=[(self.once, 1)],
                  payment_method_id=self.good).payment_id  # fmt: skip

        def give_back() -> None:
            refund(self.site.processor, self.scope, item, amount_minor=1900)

        def again() -> None:
            if not self.site.rows(Refund, payment_id=item):
                give_back()

        return Act(item, "refund", give_back, again,
                   lambda: [each.status for each in self.site.rows(Refund, payment_id=item)] == ["succeeded"])  # fmt: skip


OPERATIONS: dict[str, Callable[[Stage], Act]] = {
    "renewal": Stage.renewal, "dues": Stage.dues, "plan change": Stage.plan_change, "refund": Stage.refund,
}  # fmt: skip
