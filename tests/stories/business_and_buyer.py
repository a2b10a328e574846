"""One business, one buyer and both ledgers, for tests of payments."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from billing.catalogue.products import create_product
from billing.customers.businesses import create_business
from billing.customers.customers import create_customer
from billing.model.disputes import Dispute
from billing.model.invoices import Invoice
from billing.model.parties import Business, CustomerTotal, SpendMonth
from billing.model.payment_accounts import sandbox_account_id
from billing.model.payments import Payment, PaymentMethod, Refund
from billing.model.subscriptions import Subscription
from billing.pricing.tax_setup import from_rates
from billing.subscriptions.subscribe import StartedPurchase, buy, subscribe
from core import clock
from core.ids import new_id
from core.outbox import Event
from core.scope import everything, system

VISA = "4242424242424242"


def turn_to(moment: datetime) -> None:
    clock.turn(moment - datetime.now(UTC))


@dataclass
class Site:
    services: Any
    business_id: str = ""
    customer_id: str = ""
    subscription_id: str = ""

    @classmethod
    def open(cls, services: Any, zone: str = "Europe/London") -> Site:
        site = cls(services)
        with site.database.open(everything("a business for a story"), write=True) as db:
            site.business_id = create_business(db, name="Acorn", currency="EUR", zone=zone).business_id
        site.customer_id = site.customer("ada@marlow.example")
        return site

    @property
    def database(self) -> Any:
        return self.services.database

    @property
    def processor(self) -> Any:
        return self.services.processor

    @property
    def gateway(self) -> Any:
        return self.services.gateway

    def customer(self, email: str) -> str:
        with self.database.open(system(self.business_id), write=True) as db:
            return create_customer(db, self.business_id, email=email, name=email.split("@")[0].title()).customer_id

    def card(self, customer_id: str = "", number: str = VISA) -> str:
        """Save a card at the sandbox and here. Returns the payment method's id."""
        owner = customer_id or self.customer_id
        kept = self.gateway.save_method(owner, number, 6, clock.now().year + 4, "Ada Marlow")
        with self.database.open(system(self.business_id), write=True) as db:
            method = PaymentMethod(
                business_id=self.business_id,
                customer_id=owner,
                id=new_id("pm"),
                payment_account_id=sandbox_account_id(self.business_id),
                reference=kept.reference,
                kind=kept.kind,
                brand=kept.brand,
                last4=kept.last4,
                recurring=True,
                created_at=clock.now(),
                expiry_month=kept.expiry_month,
                expiry_year=kept.expiry_year,
            )
            db.add(method)
            return method.id

    @staticmethod
    def monthly(price: int, currency: str = "EUR", term: tuple[str, int] = ("Year", 10)) -> dict[str, Any]:
        return {
            "type": "recurring_price",
            "currency": currency,
            "price": price,
            "payment_frequency_count": 1,
            "payment_frequency_interval": "Month",
            "subscription_period_interval": term[0],
            "subscription_period_count": term[1],
        }

    def product(self, price: dict[str, Any], **more: Any) -> str:
        with self.database.open(system(self.business_id), write=True) as db:
            return create_product(db, self.business_id, name="Team", price=price, **more).id

    def subscribe(
        self,
        *,
        card: str = VISA,
        price: int = 2900,
        currency: str = "EUR",
        trial_days: int = 0,
        tax: dict[str, int] | None = None,
        term: tuple[str, int] = ("Year", 10),
    ) -> StartedPurchase:
        with self.database.open(everything("tax of a story"), write=True) as db:
            db.scalar(select(Business)).tax_setup = from_rates(tax or {})
        began = subscribe(
            self.processor,
            system(self.business_id),
            customer_id=self.customer_id,
            payment_method_id=self.card(number=card),
            product_id=self.product(self.monthly(price, currency, term)),
            trial_days=trial_days,
            billing={"country": "GB"},
        )
        self.subscription_id = began.subscription_id or ""
        return began

    def buy(self, *, price: int = 2900, quantity: int = 1, licence: bool = False) -> StartedPurchase:
        product = self.product({"type": "one_time_price", "currency": "EUR", "price": price}, license_key_enabled=licence)
        return buy(
            self.processor,
            system(self.business_id),
            customer_id=self.customer_id,
            cart=[(product, quantity)],
            payment_method_id=self.card(),
        )

    def subscription(self) -> Subscription:
        return self.rows(Subscription, id=self.subscription_id)[0]

    def rows(self, table: Any, **where: Any) -> list[Any]:
        with self.database.open(everything("read a story")) as db:
            found = db.scalars(select(table).filter_by(business_id=self.business_id, **where)).all()
            db.expunge_all()
            return list(found)

    def events(self) -> list[str]:
        return [row.type for row in sorted(self.rows(Event), key=lambda row: row.id)]

    def work(self) -> None:
        self.services.worker.drain()

    def pass_period(self) -> None:
        """Advance past the next date (or the date that was missed) and run the worker."""
        due = self.subscription().next_billing_at
        turn_to(due + timedelta(minutes=5) if due > clock.now() else clock.now() + timedelta(days=31))
        self.work()

    def overdue(self) -> None:
        """End the leases of everything that is open."""
        with self.database.open(everything("time passes in a story"), write=True) as db:
            past = clock.wall() - timedelta(seconds=1)
            for row in (*db.scalars(select(Payment).where(Payment.is_open)), *db.scalars(select(Refund).where(Refund.status == "pending"))):
                row.check_at = past

    def charges(self) -> list[int]:
        return [money.minor for kind, _, money in self.gateway.movements() if kind not in ("refund", "dispute")]

    def balanced(self) -> None:
        """Assert that both ledgers agree: every movement is one settled row here, and the totals are their sums."""
        moved = self.gateway.movements()
        ours = [(entry.key, entry.amount_minor) for entry in self.rows(Payment, status="succeeded") if entry.amount_minor]
        back = [(entry.key, entry.amount_minor) for entry in self.rows(Refund, status="succeeded")]
        keys = {entry.id: entry.key for entry in self.rows(Payment)}
        lost = [(keys[entry.payment_id], entry.taken_minor) for entry in self.rows(Dispute) if entry.taken_minor]
        assert Counter((key, money.minor) for kind, key, money in moved if kind != "dispute") == Counter(ours + back)
        assert Counter((key, money.minor) for kind, key, money in moved if kind == "dispute") == Counter(lost)
        took = sum(money.minor for kind, _, money in moved if kind not in ("refund", "dispute"))
        gave = sum(money.minor for kind, _, money in moved if kind == "refund")
        gone = gave + sum(minor for _, minor in lost)
        for table in (CustomerTotal, SpendMonth):
            rows = self.rows(table)
            assert (sum(row.paid_minor for row in rows), sum(row.refunded_minor for row in rows)) == (took, gone), table.__name__
        assert sum(entry.paid_minor for entry in self.rows(Invoice)) <= took
        assert sum(entry.refunded_minor for entry in self.rows(Payment)) == gave
