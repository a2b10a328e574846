"""The demo's hands: what a shop and a person do, through the commands that real data comes through, on a turned clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from billing import renewals
from billing.commands.appearing import accept
from billing.commands.archiving import archive_business
from billing.commands.businesses import create_business
from billing.commands.buying import Started, buy, subscribe
from billing.commands.cancelling import cancel_at_period_end
from billing.commands.customers import create_customer
from billing.commands.licensing import activate
from billing.commands.pausing import pause
from billing.commands.products import create_collection, create_product
from billing.commands.refunding import refund
from billing.licences import LicenseKey
from billing.passing import next_renewal
from billing.payments import Payment, PaymentMethod
from core import clock
from core.outbox import Outbox
from core.scope import customer_of, everything, system
from core.web import House
from tenants.demo.shops import Item, Shop

Scene = tuple[int, Callable[[], object]]
"""(days ago, what happens)"""


@dataclass(frozen=True)
class Card:
    """What a person types on the hosted page, in the provider's field names."""

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

    def card(self, number: str, expiry: str = "08/31") -> Card:
        return Card(number, expiry, self.name, self.address["country"])


@dataclass
class World:
    house: House
    today: datetime
    shops: dict[str, str] = field(default_factory=dict)
    products: dict[str, str] = field(default_factory=dict)
    customers: dict[tuple[str, str], str] = field(default_factory=dict)
    bought: dict[str, Started] = field(default_factory=dict)

    # --- time
    def play(self, scenes: Iterable[Scene]) -> Iterable[int]:
        """Let a year go by, scene after scene; what falls due in between renews on its day. Yields after each scene."""
        for n, (days, act) in enumerate(sorted(scenes, key=lambda one: -one[0])):
            moment = self.today - timedelta(days=days, minutes=37 * n % 240)  # people do not all come at the same time of day
            self.live_until(moment)
            act()
            yield n
        self.live_until(self.today)

    def live_until(self, moment: datetime) -> None:
        while (due := self._next_due()) is not None and due <= moment:
            _turn(due + timedelta(minutes=1))
            if not renewals.run_due(self.house.till):
                break
        _turn(moment)

    def _next_due(self) -> datetime | None:
        with self.house.database.open(everything("the demo's next renewal")) as db:
            return next_renewal(db, self.today - timedelta(days=400), self.shops.values())

    def hush(self) -> None:
        """History that is loaded sends no letters and no webhooks: what the past year left to be told counts as told."""
        self.house.gateway.deliver_due()
        with self.house.database.open(everything("the demo's past is silent"), write=True) as db:
            mine = Outbox.business_id.in_(self.shops.values()) | (Outbox.type == "gateway.notified")
            db.execute(update(Outbox).where(Outbox.state == "pending", mine).values(state="done"),
                       execution_options={"synchronize_session": False})

    # --- shops
    def open_shop(self, shop: Shop) -> None:
        with self.house.database.open(everything("the demo's businesses"), write=True) as db:
            business_id = self.shops[shop.key] = create_business(
                db, name=shop.name, currency=shop.currency, zone=shop.zone, locale=shop.locale, legal_name=shop.legal, address=shop.address,
                tax_id=shop.tax_id, support_email=shop.email, brand={"accent": shop.accent, "radius": shop.radius, "font": shop.font},
                settings=shop.settings, tax_rates=shop.rates, invoice_prefix=shop.prefix).business_id
        with self.house.database.open(system(business_id), write=True) as db:
            for item in shop.items:
                product = create_product(
                    db, business_id, name=item.name, price=_price(shop, item), tax_category=item.category, description=item.words,
                    license_key_enabled=item.keys is not None, license_key_activations_limit=item.keys)
                self.products[f"{shop.key}.{item.key}"] = product.id
            if shop.plans:
                create_collection(db, business_id, name="Plans", product_ids=[self.products[f"{shop.key}.{one}"] for one in shop.plans])

    def close_shop(self, shop: str) -> None:
        with self.house.database.open(everything("the demo's closed shop"), write=True) as db:
            archive_business(db, self.shops[shop])

    def know(self, person: Person, shop: str) -> str:
        """The person's customer row at a shop, made when they first come there."""
        found = self.customers.get((person.email, shop))
        if found is None:
            with self.house.database.open(system(self.shops[shop]), write=True) as db:
                found = create_customer(db, self.shops[shop], email=person.email, name=person.name).customer_id
            self.customers[person.email, shop] = found
        return found

    def mine(self, person: Person, *but: str) -> None:
        """Asked whose these are, the person says "mine" of every shop they buy from by now, except those."""
        for (email, shop), customer_id in self.customers.items():
            if email == person.email and shop not in but:
                with self.house.database.open(customer_of(self.shops[shop], customer_id), write=True) as db:
                    accept(db, customer_id)

    # --- people
    def subscribe(self, label: str, person: Person, product: str, card: Card | None = None) -> None:
        """Under `label` for later scenes. With a card it is typed on the hosted page; without, the saved one is charged."""
        shop = product.split(".")[0]
        customer = self.know(person, shop)
        began = subscribe(self.house.till, system(self.shops[shop]), customer_id=customer, product_id=self.products[product],
                          billing=person.address, payment_method_id=None if card else self._saved(shop, customer))
        self._finish(label, shop, began, card)

    def buy(self, label: str, person: Person, product: str, card: Card | None = None) -> None:
        shop = product.split(".")[0]
        customer = self.know(person, shop)
        began = buy(self.house.till, system(self.shops[shop]), customer_id=customer, cart=[(self.products[product], 1)],
                    billing=person.address, payment_method_id=None if card else self._saved(shop, customer))
        self._finish(label, shop, began, card)

    def _finish(self, label: str, shop: str, began: Started, card: Card | None) -> None:
        self.bought[label] = began
        if card is None or began.link is None:
            return
        reference = began.link.rsplit("/", 1)[-1]
        if self.house.gateway.submit_page(reference, card).state == "requires_action":
            self.house.gateway.leave_page(reference)  # declined, and the person gave up
        with self.house.database.open(system(self.shops[shop])) as db:
            key = db.scalar(select(Payment.key).where(Payment.id == began.payment_id))
        self.house.till.follow(key)  # what the worker does when the provider's notification comes

    def _saved(self, shop: str, customer_id: str) -> str:
        with self.house.database.open(system(self.shops[shop])) as db:
            return db.scalars(select(PaymentMethod.id).where(PaymentMethod.customer_id == customer_id)).one()

    def cancel(self, label: str, person: Person, shop: str, feedback: str | None = None) -> None:
        with self.house.database.open(customer_of(self.shops[shop], self.customers[person.email, shop]), write=True) as db:
            cancel_at_period_end(db, str(self.bought[label].subscription_id), feedback)

    def pause(self, label: str, person: Person, shop: str) -> None:
        with self.house.database.open(customer_of(self.shops[shop], self.customers[person.email, shop]), write=True) as db:
            pause(db, str(self.bought[label].subscription_id))

    def refund(self, label: str, shop: str, amount: int | None, reason: str) -> None:
        refund(self.house.till, system(self.shops[shop]), self.bought[label].payment_id, amount_minor=amount, reason=reason)

    def activate(self, label: str, shop: str, *places: str) -> None:
        with self.house.database.open(system(self.shops[shop]), write=True) as db:
            key = db.scalars(select(LicenseKey.id).where(LicenseKey.payment_id == self.bought[label].payment_id)).one()
            for place in places:
                activate(db, key, place)
                db.flush()


def _turn(moment: datetime) -> None:
    clock.turn(moment - clock.wall())


def _price(shop: Shop, item: Item) -> dict[str, Any]:
    price: dict[str, Any] = {"type": "one_time_price", "currency": shop.currency, "price": item.price, "tax_inclusive": shop.inclusive}
    if item.every:
        price |= {"type": "recurring_price", "payment_frequency_count": 1, "payment_frequency_interval": item.every,
                  "subscription_period_count": 10, "subscription_period_interval": "Year", "trial_period_days": item.trial}
    return price
