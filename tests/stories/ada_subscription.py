"""Ada and her subscription, for tests that change, pause and end it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from billing.model.invoices import Invoice
from billing.model.payments import Payment, PaymentMethod
from billing.model.quotes import Quote
from billing.model.subscriptions import Subscription
from billing.plan_changes import confirm as confirm_plan_change
from core import clock
from core.outbox import Event
from core.scope import Scope, customer_of, system
from tests.cast import Buyer, Cast

TEAM, MAX = 2900, 7080  # a month of each at Acorn, with 20 % tax


class Ada:
    """Ada at Acorn, with her actions and the state of her rows."""

    def __init__(self, cast: Cast) -> None:
        self.cast, self.services, self.buyer = cast, cast.services, cast.ada_at_acorn
        self.processor = cast.services.processor
        self.scope: Scope = customer_of(self.buyer.business_id, self.buyer.customer_id)
        self.business = system(self.buyer.business_id)
        self.team, self.max = cast.products["acorn.plan"], cast.products["acorn.more"]

    def quote(self, product_id: str, scope: Scope | None = None, **options: Any) -> Quote:
        with self.services.database.open(scope or self.scope, write=True) as db:
            return confirm_plan_change.quote(db, self.buyer.subscription_id, product_id, **options)

    def confirm(self, quote_id: str, scope: Scope | None = None) -> confirm_plan_change.PlanChangeResult:
        return confirm_plan_change.confirm(self.processor, scope or self.scope, quote_id)

    def do(self, command: Any, *args: Any, scope: Scope | None = None, **kwargs: Any) -> Any:
        with self.services.database.open(scope or self.scope, write=True) as db:
            return command(db, *args, **kwargs)

    def pay_with(self, number: str) -> None:
        """Use another card for the subscription."""
        method = self.cast.card(self.buyer, number)
        with self.services.database.open(self.business, write=True) as db:
            found = db.scalar(select(Subscription).where(Subscription.id == self.buyer.subscription_id))
            found.payment_method_id = method

    def forget_cards(self) -> None:
        with self.services.database.open(self.business, write=True) as db:
            for method in db.scalars(select(PaymentMethod).where(PaymentMethod.customer_id == self.buyer.customer_id)):
                method.removed_at = clock.now()

    @property
    def subscription(self) -> Subscription:
        with self.services.database.open(self.business) as db:
            return db.scalar(select(Subscription).where(Subscription.id == self.buyer.subscription_id))

    def payments(self, charge_type: str) -> list[Payment]:
        with self.services.database.open(self.business) as db:
            return list(
                db.scalars(
                    select(Payment)
                    .where(Payment.subscription_id == self.buyer.subscription_id, Payment.charge_type == charge_type)
                    .order_by(Payment.created_at)
                )
            )

    def invoice(self, invoice_id: str | None) -> Invoice:
        with self.services.database.open(self.business) as db:
            return db.scalar(select(Invoice).where(Invoice.id == invoice_id))

    def events(self) -> list[str]:
        with self.services.database.open(self.business) as db:
            return list(db.scalars(select(Event.type).where(Event.noun_id == self.buyer.subscription_id).order_by(Event.at, Event.id)))

    def charged(self) -> int:
        """Return how often the provider charged anybody."""
        return sum(1 for kind, _, _ in self.services.gateway.movements() if kind == "charge")


def wait(**span: float) -> None:
    clock.turn(clock.offset() + timedelta(**span))


__all__ = ["MAX", "TEAM", "Ada", "Buyer", "wait"]
