"""Create rows with the ids that the SDK's own tests use (contract §6), through the regular commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from sqlalchemy import select

from billing.catalogue.addons import create_addon
from billing.catalogue.collections import GroupWanted, create_collection
from billing.catalogue.discount_codes import create_discount
from billing.catalogue.pictures import announce_picture
from billing.catalogue.products import create_product
from billing.charging.disputes import record_dispute
from billing.charging.ports import MethodDetails
from billing.charging.processor_refunds import ProcessorObject
from billing.charging.refund import refund
from billing.customers.businesses import create_business
from billing.customers.customers import create_customer
from billing.licenses.activations import activate
from billing.licenses.manage import bring_key
from billing.model.catalogue import CollectionGroup, CollectionItem
from billing.model.payment_accounts import sandbox_account_id
from billing.model.payments import Payment, PaymentMethod
from billing.model.subscriptions import Subscription
from billing.plan_changes.business_order import PlanChangeOrder, order
from billing.renewals import renew
from billing.subscriptions.subscribe import buy, subscribe
from core import clock
from core.ids import new_id
from core.scope import everything, system
from core.services import Services
from gateways.sandbox import returns
from tenants.api_keys import new_key
from tenants.webhooks import endpoints

CUSTOMER, SUBSCRIPTION, PAYMENT = "cus_TV52uJWWXt2yIoBBxpjaa", "sub_Iuaq622bbmmfOGrVTqdXv", "pay_gr4RizvMOXFJ6xca3y2tU"
REFUND, PRODUCT, COLLECTION = "ref_F0gZetLvTxxBrMU2CZcmy", "pdt_R8AWMPiV8RyJElcCKvAID", "pdc_8BWv0hojwUH7iCDabr0NI"
ADDON, DISCOUNT, BRAND = "adn_NX1zdqW4Hbivsqz8vI9dc", "dsc_qxxEmg5PuM1uNTE0LgkP9", "brnd_8dFiAW42v28JzhlVSocjq"
KEY, INSTANCE, UUID = "lic_7namTC0VcgrnzrF3GTSwB", "lki_EeWORStkMc7z0KycI31VS", "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"
WEBHOOK, DISPUTE = "whk_YdWqVEGKmSYKbsIyDxEab", "dispute_id"
KEY_TEXT = "2b1f8e2d-c41e-4e8f-b2d3-d9fd61c38f43"
BILLING = {"country": "GB", "street": "14 Tanner Street", "city": "London", "zipcode": "SE1 3LD"}
ONCE = {"type": "one_time_price", "currency": "USD", "price": 4900}
MONTHLY = {"type": "recurring_price", "currency": "USD", "price": 2417, "payment_frequency_count": 1, "payment_frequency_interval": "Month",
           "subscription_period_count": 10, "subscription_period_interval": "Year"}  # fmt: skip


@contextmanager
def called(module: str, *ids: str) -> Iterator[None]:
    """Give new rows these ids, in this order; afterwards regular ids again."""
    names = iter(ids)
    with patch(f"{module}.new_id", lambda prefix: next(names, None) or new_id(prefix)):
        yield


def seed(services: Services) -> str:
    """Create the suite's business and all rows except `payment_id` (`bought` or `unpaid`). Returns an API key."""
    with services.database.open(everything("the suite's business"), write=True) as db, called("billing.customers.businesses", BRAND):
        create_business(db, name="Acorn Notes", currency="USD", zone="UTC")
    scope = system(BRAND)
    with services.database.open(scope, write=True) as db:
        for customer_id in (CUSTOMER, "customer_id"):
            with called("billing.customers.customers", customer_id):
                create_customer(db, BRAND, email=f"{customer_id}@marlow.example", name="Ada Marlow")
        for addon_id in (ADDON, "addon_id"):
            with called("billing.catalogue.addons", addon_id):
                create_addon(db, BRAND, name="Backups", currency="USD", price=300, tax_category="saas")
        for product_id, price in ((PRODUCT, MONTHLY), ("product_id", MONTHLY), ("pdt_once", ONCE)):
            with called("billing.catalogue.products", product_id):
                create_product(db, BRAND, name="Acorn Team", price=price, tax_category="saas", license_key_enabled=price is ONCE)
        with called("billing.catalogue.collections", COLLECTION), patch("uuid.uuid4", lambda: UUID):
            create_collection(db, BRAND, name="Plans", groups=[GroupWanted([(PRODUCT, True)], "Plans")])
        _second_item(db)
        with patch("uuid.uuid4", lambda: UUID):
            announce_picture(db, BRAND, ADDON)
        with called("billing.catalogue.discount_codes", DISCOUNT):
            create_discount(db, BRAND, kind="percentage", amount=1000, code="code")
        with called("billing.licenses.manage", KEY):
            bring_key(db, customer_id=CUSTOMER, product_id=PRODUCT, key=KEY_TEXT)
        with called("billing.licenses.manage", "lic_placeholder"):
            bring_key(db, customer_id=CUSTOMER, product_id=PRODUCT, key="license_key")
        for instance_id, name in ((INSTANCE, "Ada's laptop"), ("license_key_instance_id", "Ada's phone")):
            with called("billing.licenses.activations", instance_id):
                activate(db, "lic_placeholder", name)
        key = new_key(db, BRAND, "The suite's", settings=services.settings)[1]
    method = _card(services)
    with called("billing.subscriptions.new_subscription", SUBSCRIPTION):
        subscribe(services.processor, scope, customer_id=CUSTOMER, product_id=PRODUCT, billing=BILLING, payment_method_id=method)
    bought(services, PAYMENT)
    order(services.processor, scope, SUBSCRIPTION, PlanChangeOrder("product_id", 1, (), "full_immediately", "next_billing_date"))
    with services.database.open(scope, write=True) as db, called("tenants.webhooks.endpoints", WEBHOOK):
        endpoints.create(db, services.outgoing, BRAND, "https://hooks.acorn.example/said")
    with called("billing.charging.refunds", REFUND):
        refund(services.processor, scope, PAYMENT, amount_minor=100, reason="a test")
    disputed(services)
    return key


def disputed(services: Services) -> None:
    """Create a payment that is disputed."""
    bought(services, "pay_disputed")
    with services.database.open(system(BRAND)) as db:
        reference = db.scalars(select(Payment.gateway_reference).where(Payment.id == "pay_disputed")).one()
    opened = services.gateway.on_page(returns.open_dispute, reference)
    with called("billing.charging.disputes", DISPUTE):
        record_dispute(services.processor, ProcessorObject(BRAND, sandbox_account_id(BRAND), opened))


def bought(services: Services, payment_id: str = "payment_id") -> None:
    """Create a payment that can be refunded."""
    with called("billing.subscriptions.subscribe", payment_id):
        buy(services.processor, system(BRAND), customer_id=CUSTOMER, cart=[("pdt_once", 1)], billing=BILLING, payment_method_id="pm_kept")


def unpaid(services: Services, payment_id: str = "payment_id") -> None:
    """Create a declined renewal, which can be retried."""
    with called("billing.subscriptions.new_subscription", "sub_unpaid"):
        subscribe(services.processor, system(BRAND), customer_id=CUSTOMER, product_id=PRODUCT, billing=BILLING, payment_method_id="pm_kept")
    declines = services.gateway.save_method(CUSTOMER, "4000000000000002", 6, clock.wall().year + 4, "Ada Marlow")
    with services.database.open(system(BRAND), write=True) as db:
        _keep(db, "pm_declines", declines)
        db.scalars(select(Subscription).where(Subscription.id == "sub_unpaid")).one().payment_method_id = "pm_declines"
    clock.turn(timedelta(days=32))
    with called("billing.charging.open_payments", payment_id):
        renew.prepare(services.processor, BRAND, "sub_unpaid")
    services.processor.start(BRAND, payment_id)
    clock.turn(timedelta(0))


def _second_item(db: Any) -> None:
    """Add a second product to the collection, because the suite removes one and a collection keeps at least one."""
    group = db.scalar(select(CollectionGroup).where(CollectionGroup.id == UUID))
    db.add(CollectionGroup(business_id=BRAND, id="more", collection_id=COLLECTION, name="More", position=1, enabled=True))
    db.flush()
    db.add(
        CollectionItem(
            business_id=BRAND, id="another", collection_id=COLLECTION, product_id="pdt_once", group_id="more", position=0, enabled=True
        )
    )
    assert group is not None


def _card(services: Services) -> str:
    details = services.gateway.save_method(CUSTOMER, "4242424242424242", 6, clock.wall().year + 4, "Ada Marlow")
    with services.database.open(system(BRAND), write=True) as db:
        _keep(db, "pm_kept", details)
        _keep(db, "payment_method_id", replace(details, reference=f"{details.reference}."))
    return "pm_kept"


def _keep(db: Any, method_id: str, details: MethodDetails) -> None:
    db.add(
        PaymentMethod(
            business_id=BRAND,
            customer_id=CUSTOMER,
            id=method_id,
            payment_account_id=sandbox_account_id(BRAND),
            reference=details.reference,
            kind="card",
            brand=details.brand,
            last4=details.last4,
            expiry_month=6,
            expiry_year=details.expiry_year,
            holder="Ada Marlow",
            country="US",
            recurring=True,
            is_default=method_id == "pm_kept",
            created_at=clock.now(),
        )
    )
