"""The acts that move money, each on a subject of its own: how it begins, what is done, what a person does who saw no answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from billing import renewals
from billing.commands.buying import buy, subscribe
from billing.commands.paying import pay_dues
from billing.commands.plan_change import confirm, quote
from billing.commands.refunding import refund
from billing.payments import Refund
from billing.quotes import Quote
from billing.subscriptions import Subscription
from core.scope import Scope, customer_of, system
from tests.stories.shop import Shop

FAILS_LATER = "4000000000000341"


@dataclass
class Act:
    """`do` runs in the child that is killed; `again` afterwards, where the person would click again; `done` when all is as it shall be.

    `owner`: the id that every key of this act's money names.
    """

    owner: str
    kind: str
    do: Callable[[], object]
    again: Callable[[], object]
    done: Callable[[], bool]


class Stage:
    """One business with two plans; every act gets a customer's subscription, or a payment, of its own."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.scope = shop, system(shop.business_id)
        self.plan, self.more = shop.product(shop.monthly(2900)), shop.product(shop.monthly(7900))
        self.once = shop.product({"type": "one_time_price", "currency": "EUR", "price": 4900})
        self.good, self.failing = shop.card(), shop.card(number=FAILS_LATER)
        self.customer: Scope = customer_of(shop.business_id, shop.customer_id)

    def subscription(self, one: str) -> Subscription:
        return self.shop.rows(Subscription, id=one)[0]

    def begin(self, card: str, *, is_due: bool = False) -> str:
        one = subscribe(self.shop.till, self.scope, customer_id=self.shop.customer_id, product_id=self.plan, payment_method_id=card,
                        billing={"country": "GB"}).subscription_id or ""  # fmt: skip
        if is_due:  # a month passes for it alone
            with self.shop.database.open(self.scope, write=True) as db:
                row: Any = db.scalar(select(Subscription).where(Subscription.id == one))
                for name in ("anchor_at", "previous_billing_at", "next_billing_at"):
                    setattr(row, name, getattr(row, name) - timedelta(days=32))
        return one

    def renewal(self) -> Act:
        one = self.begin(self.good, is_due=True)
        return Act(one, "renewal", lambda: renewals.run_due(self.shop.till), lambda: None, lambda: self.subscription(one).period_n == 2)

    def dues(self) -> Act:
        one = self.begin(self.failing, is_due=True)
        renewals.run_due(self.shop.till)
        assert self.subscription(one).status == "on_hold"

        def pay() -> None:
            pay_dues(self.shop.till, self.customer, one, payment_method_id=self.good)

        return Act(one, "renewal", pay, pay, lambda: self.subscription(one).status == "active")

    def plan_change(self) -> Act:
        one = self.begin(self.good)

        def change() -> None:
            with self.shop.database.open(self.scope, write=True) as db:
                shown = quote(db, one, self.more, mode="prorated_immediately_keep_cycle").id
            confirm(self.shop.till, self.scope, shown)

        def again() -> None:
            quotes = self.shop.rows(Quote, subscription_id=one)
            if not any(each.used_at for each in quotes):  # nothing was begun: the person starts anew
                change()

        return Act(one, "plan", change, again, lambda: self.subscription(one).product_id == self.more)

    def refund(self) -> Act:
        one = buy(self.shop.till, self.scope, customer_id=self.shop.customer_id, cart=[(self.once, 1)],
                  payment_method_id=self.good).payment_id  # fmt: skip

        def give_back() -> None:
            refund(self.shop.till, self.scope, one, amount_minor=1900)

        def again() -> None:
            if not self.shop.rows(Refund, payment_id=one):
                give_back()

        return Act(one, "refund", give_back, again,
                   lambda: [each.status for each in self.shop.rows(Refund, payment_id=one)] == ["succeeded"])  # fmt: skip


OPERATIONS: dict[str, Callable[[Stage], Act]] = {
    "renewal": Stage.renewal, "dues": Stage.dues, "plan change": Stage.plan_change, "refund": Stage.refund,
}  # fmt: skip
