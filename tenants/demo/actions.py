"""Actions of the businesses and customers of the demo, through the regular commands, with a moved clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from billing.catalogue.products import create_collection, create_product
from billing.charging.refund import refund
from billing.customers.accept_or_decline import accept
from billing.customers.archive_business import archive_business
from billing.customers.businesses import create_business
from billing.customers.customers import create_customer
from billing.licenses.activations import activate
from billing.model.licenses import LicenseKey
from billing.model.payments import PaymentMethod
from billing.renewals import renew
from billing.renewals.time_travel import next_renewal
from billing.subscriptions.cancel import cancel_at_period_end
from billing.subscriptions.pause import pause
from billing.subscriptions.subscribe import StartedPurchase, buy, subscribe
from core import clock
from core.outbox import Outbox
from core.scope import customer_of, everything, system
from core.services import Services
from tenants.demo.businesses import DemoBusiness, Item

Scene = tuple[int, Callable[[], object]]
"""(days ago, action)"""


@dataclass(frozen=True)
class TypedCard:
    """Card details for the hosted page, in the provider's field names."""

    number: str = field(repr=False)
    expiry: str
    holder: str
    country: str
    cvc: str = field(default="123", repr=False)
    postal_code: str = ""


@dataclass(frozen=True)
class Person:
    email: str
    name: str
    address: dict[str, str]

    def card(self, number: str, expiry: str = "08/31") -> TypedCard:
        return TypedCard(number, expiry, self.name, self.address["country"])


@dataclass
class World:
    services: Services
    today: datetime
    businesses: dict[str, str] = field(default_factory=dict)
    products: dict[str, str] = field(default_factory=dict)
    customers: dict[tuple[str, str], str] = field(default_factory=dict)
    bought: dict[str, StartedPurchase] = field(default_factory=dict)

    # time
    def play(self, scenes: Iterable[Scene]) -> Iterable[int]:
        """Run the scenes in order of time, with due renewals in between. Yields after each scene."""
        for n, (days, act) in enumerate(sorted(scenes, key=lambda scene: -scene[0])):
            moment = self.today - timedelta(days=days, minutes=37 * n % 240)  # varies the time of day
            self.advance_to(moment)
            act()
            yield n
        self.advance_to(self.today)

    def advance_to(self, moment: datetime) -> None:
        while (due := self._next_due()) is not None and due <= moment:
            _set_clock(due + timedelta(minutes=1))
            if not renew.run_due(self.services.processor):
                break
        _set_clock(moment)

    def _next_due(self) -> datetime | None:
        with self.services.database.open(everything("the demo's next renewal")) as db:
            return next_renewal(db, self.today - timedelta(days=400), self.businesses.values())

    def mark_events_done(self) -> None:
        """Mark all pending events as done, so that past events send no emails and no webhooks."""
        self.services.gateway.deliver_due()
        with self.services.database.open(everything("mark the demo's events as done"), write=True) as db:
            of_demo = Outbox.business_id.in_(self.businesses.values()) | (Outbox.type == "gateway.notified")
            db.execute(
                update(Outbox).where(Outbox.state.in_(("pending", "mail")), of_demo).values(state="done"),
                execution_options={"synchronize_session": False},
            )

    # businesses
    def open_business(self, business: DemoBusiness) -> None:
        with self.services.database.open(everything("the demo's businesses"), write=True) as db:
            business_id = self.businesses[business.key] = create_business(
                db,
                name=business.name,
                currency=business.currency,
                zone=business.zone,
                locale=business.locale,
                legal_name=business.legal,
                address=business.address,
                tax_id=business.tax_id,
                support_email=business.email,
                brand={"accent": business.accent, "radius": business.radius, "font": business.font},
                settings=business.settings,
                tax_rates=business.rates,
                invoice_prefix=business.prefix,
            ).business_id
        with self.services.database.open(system(business_id), write=True) as db:
            for item in business.items:
                product = create_product(
                    db,
                    business_id,
                    name=item.name,
                    price=_price(business, item),
                    tax_category=item.category,
                    description=item.description,
                    license_key_enabled=item.keys is not None,
                    license_key_activations_limit=item.keys,
                )
                self.products[f"{business.key}.{item.key}"] = product.id
            if business.plans:
                create_collection(
                    db, business_id, name="Plans", product_ids=[self.products[f"{business.key}.{plan}"] for plan in business.plans]
                )

    def close_business(self, business: str) -> None:
        with self.services.database.open(everything("the demo's closed business"), write=True) as db:
            archive_business(db, self.businesses[business])

    def customer(self, person: Person, business: str) -> str:
        """Return the person's customer id at a business. Creates the customer on first use."""
        found = self.customers.get((person.email, business))
        if found is None:
            with self.services.database.open(system(self.businesses[business]), write=True) as db:
                found = create_customer(db, self.businesses[business], email=person.email, name=person.name).customer_id
            self.customers[person.email, business] = found
        return found

    def accept_businesses(self, person: Person, *excluded: str) -> None:
        """Accept every business that the person bought from so far, except the excluded ones."""
        for (email, business), customer_id in self.customers.items():
            if email == person.email and business not in excluded:
                with self.services.database.open(customer_of(self.businesses[business], customer_id), write=True) as db:
                    accept(db, customer_id)

    # customers
    def subscribe(self, label: str, person: Person, product: str, card: TypedCard | None = None) -> None:
        """Subscribe, and remember the subscription as `label`. Enters `card` on the hosted page, or charges the saved card."""
        business = product.split(".")[0]
        customer_id = self.customer(person, business)
        started = subscribe(
            self.services.processor,
            system(self.businesses[business]),
            customer_id=customer_id,
            product_id=self.products[product],
            billing=person.address,
            payment_method_id=None if card else self._saved(business, customer_id),
        )
        self._finish(label, business, started, card)

    def buy(self, label: str, person: Person, product: str, card: TypedCard | None = None) -> None:
        business = product.split(".")[0]
        customer_id = self.customer(person, business)
        started = buy(
            self.services.processor,
            system(self.businesses[business]),
            customer_id=customer_id,
            cart=[(self.products[product], 1)],
            billing=person.address,
            payment_method_id=None if card else self._saved(business, customer_id),
        )
        self._finish(label, business, started, card)

    def _finish(self, label: str, business: str, started: StartedPurchase, card: TypedCard | None) -> None:
        self.bought[label] = started
        if card is None or started.link is None:
            return
        reference = started.link.rsplit("/", 1)[-1]
        if self.services.gateway.submit_page(reference, card).state == "requires_action":
            self.services.gateway.leave_page(reference)  # declined, and the customer left the page
        # as the worker does after the provider's notification
        self.services.processor.follow_up(self.businesses[business], started.payment_id)

    def _saved(self, business: str, customer_id: str) -> str:
        with self.services.database.open(system(self.businesses[business])) as db:
            return db.scalars(select(PaymentMethod.id).where(PaymentMethod.customer_id == customer_id)).one()

    def cancel(self, label: str, person: Person, business: str, feedback: str | None = None) -> None:
        with self.services.database.open(customer_of(self.businesses[business], self.customers[person.email, business]), write=True) as db:
            cancel_at_period_end(db, str(self.bought[label].subscription_id), feedback)

    def pause(self, label: str, person: Person, business: str) -> None:
        with self.services.database.open(customer_of(self.businesses[business], self.customers[person.email, business]), write=True) as db:
            pause(db, str(self.bought[label].subscription_id))

    def refund(self, label: str, business: str, amount: int | None, reason: str) -> None:
        refund(
            self.services.processor, system(self.businesses[business]), self.bought[label].payment_id, amount_minor=amount, reason=reason
        )

    def activate(self, label: str, business: str, *names: str) -> None:
        with self.services.database.open(system(self.businesses[business]), write=True) as db:
            key = db.scalars(select(LicenseKey.id).where(LicenseKey.payment_id == self.bought[label].payment_id)).one()
            for name in names:
                activate(db, key, name)
                db.flush()


def _set_clock(moment: datetime) -> None:
    clock.turn(moment - clock.wall())


def _price(business: DemoBusiness, item: Item) -> dict[str, Any]:
    price: dict[str, Any] = {
        "type": "one_time_price",
        "currency": business.currency,
        "price": item.price,
        "tax_inclusive": business.inclusive,
    }
    if item.every:
        price |= {
            "type": "recurring_price",
            "payment_frequency_count": 1,
            "payment_frequency_interval": item.every,
            "subscription_period_count": 10,
            "subscription_period_interval": "Year",
            "trial_period_days": item.trial,
        }
    return price
