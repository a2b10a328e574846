"""The cast: sample businesses and people, created by the regular commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from billing.catalogue.products import create_collection, create_product
from billing.customers.businesses import create_business
from billing.customers.customers import create_customer
from billing.model.payment_accounts import sandbox_account_id
from billing.model.payments import PaymentMethod
from billing.subscriptions.subscribe import buy, subscribe
from core import clock
from core.ids import new_id
from core.outbox import Outbox
from core.scope import everything, system
from core.services import Services

VISA = "4242424242424242"
MONTHLY = {
    "type": "recurring_price",
    "currency": "EUR",
    "price": 2417,
    "payment_frequency_count": 1,
    "payment_frequency_interval": "Month",
    "subscription_period_count": 10,
    "subscription_period_interval": "Year",
}
ONCE = {"type": "one_time_price", "currency": "EUR", "price": 4900}


@dataclass
class Buyer:
    """One customer row and what it bought."""

    business_id: str
    customer_id: str
    email: str
    subscription_id: str = ""
    payment_id: str = ""
    purchase_id: str = ""
    method_id: str = ""


@dataclass
class Cast:
    services: Services
    acorn: str = ""
    birch: str = ""
    products: dict[str, str] = field(default_factory=dict)
    ada_at_acorn: Any = None
    ada_at_birch: Any = None
    ben: Any = None

    ADA, BEN, MALLORY, SAM = "ada@marlow.example", "ben@hill.example", "mallory@void.example", "sam@acorn.example"

    @classmethod
    def play(cls, services: Services) -> Cast:
        cast = cls(services)
        with services.database.open(everything("the cast's businesses"), write=True) as db:
            cast.acorn = create_business(
                db,
                name="Acorn Notes",
                currency="EUR",
                zone="Europe/London",
                support_email="help@acorn.example",
                brand={"accent": "#5a2e14", "radius": 2},
                tax_rates={"GB": 2000, "*": 0},
                address={"street": "1 Oak Lane", "city": "Bristol", "zipcode": "BS1 1AA", "country": "GB"},
                settings={"plan_change": True, "pause": True},
            ).business_id
            cast.birch = create_business(
                db,
                name="Birch Hosting",
                currency="EUR",
                zone="Europe/Berlin",
                support_email="help@birch.example",
                brand={"accent": "#f4d63a", "radius": 4},
                tax_rates={"DE": 1900, "GB": 2000},
            ).business_id
        for name in ("acorn", "birch"):
            business_id = getattr(cast, name)
            with services.database.open(system(business_id), write=True) as db:
                plan = create_product(db, business_id, name=f"{name.title()} Team", price=MONTHLY, tax_category="saas")
                more = create_product(db, business_id, name=f"{name.title()} Max", price={**MONTHLY, "price": 5900}, tax_category="saas")
                once = create_product(
                    db,
                    business_id,
                    name=f"{name.title()} for desktop",
                    price=ONCE,
                    license_key_enabled=True,
                    license_key_activations_limit=3,
                )
                create_collection(db, business_id, name="Plans", product_ids=[plan.id, more.id])
                cast.products |= {f"{name}.plan": plan.id, f"{name}.more": more.id, f"{name}.once": once.id}
        cast.ada_at_acorn = cast.buyer("acorn", "Ada@Marlow.example", "Ada Marlow")
        cast.ada_at_birch = cast.buyer("birch", cast.ADA, "Ada Marlow")
        cast.ben = cast.buyer("birch", cast.BEN, "Ben Hill")
        cast.rest()
        return cast

    def rest(self) -> None:
        """Discard the emails of everything that happened so far, so that a test sees only its own emails."""
        with self.services.database.open(everything("the cast's past sends no letters"), write=True) as db:
            for work in db.scalars(select(Outbox).where(Outbox.state == "pending")):
                work.state = "done"

    def buyer(self, business: str, email: str, name: str, card: str = VISA) -> Buyer:
        """Create a customer with a saved card, a paid subscription and a purchase with a license key."""
        services, business_id = self.services, getattr(self, business)
        with services.database.open(system(business_id), write=True) as db:
            customer = create_customer(db, business_id, email=email, name=name)
            buyer = Buyer(business_id, customer.customer_id, email)
        buyer.method_id = self.card(buyer, card)
        billing = {"country": "GB", "street": "14 Tanner Street", "city": "London", "zipcode": "SE1 3LD"}
        began = subscribe(
            services.processor,
            system(business_id),
            customer_id=buyer.customer_id,
            product_id=self.products[f"{business}.plan"],
            billing=billing,
            payment_method_id=buyer.method_id,
        )
        bought = buy(
            services.processor,
            system(business_id),
            customer_id=buyer.customer_id,
            cart=[(self.products[f"{business}.once"], 1)],
            payment_method_id=buyer.method_id,
        )
        buyer.subscription_id, buyer.payment_id, buyer.purchase_id = began.subscription_id or "", began.payment_id, bought.payment_id
        return buyer

    def card(self, buyer: Buyer, number: str = VISA) -> str:
        """Save a card at the sandbox and here. Returns the payment method's id."""
        details = self.services.gateway.save_method(buyer.customer_id, number, 6, clock.wall().year + 4, "Ada Marlow")
        with self.services.database.open(system(buyer.business_id), write=True) as db:
            method = PaymentMethod(
                business_id=buyer.business_id,
                customer_id=buyer.customer_id,
                id=new_id("pm"),
                payment_account_id=sandbox_account_id(buyer.business_id),
                reference=details.reference,
                kind=details.kind,
                brand=details.brand,
                last4=details.last4,
                expiry_month=details.expiry_month,
                expiry_year=details.expiry_year,
                holder=details.holder,
                country=details.country,
                recurring=True,
                is_default=True,
                created_at=clock.now(),
            )
            db.add(method)
            return method.id
