"""A business that an account at the stand-in for Stripe bills, and what a pull of it must copy."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from billing.customers.businesses import create_business
from billing.model.catalogue import Product
from billing.model.imported_records import SourceId
from billing.model.invoices import Invoice
from billing.model.parties import Customer, CustomerTotal
from billing.model.payments import Payment, PaymentMethod, Refund
from billing.model.subscriptions import Subscription
from core import clock
from core.scope import everything, system
from core.services import Services
from tenants.external.account import ExternalAccount, ExternalWebhook, Reach, connect, origin_of
from tenants.external.reader import AccountReader
from tenants.external.systems import SYSTEMS
from tests.harness.stripe_standin import StandIn
from tests.harness.stripe_standin.billing import Merchant

KEY = "rk_test_mirror"


def account_with(stand_in: StandIn, customers: int, key: str = KEY) -> Merchant:
    """An account with two plans, an extra and some buyers: every fifth pays late, every seventh cancelled, every tenth got money back."""
    merchant = Merchant(stand_in.account(key))
    began = merchant.now - 400 * 86_400
    merchant.now = began
    plans = [merchant.price("Acorn Team", 2400), merchant.price("Acorn Max", 5900, "year")]
    extra = merchant.price("Acorn Seats", 500)
    for n in range(customers):
        merchant.now = began + n * 86_400 * 390 // max(customers, 1)
        buyer = merchant.customer(f"buyer{n}@people.example", f"Buyer {n}", "4000000000000341" if n % 5 == 4 else "4242424242424242")
        merchant.account.private[buyer["invoice_settings"]["default_payment_method"]]["behavior"] = "ok"
        items = [(plans[n % 2], 1 + n % 3)] + ([(extra, 2)] if n % 2 == 0 and n % 4 == 0 else [])
        bought = merchant.subscribe(buyer, *items)
        if n % 5 == 4:
            merchant.account.private[buyer["invoice_settings"]["default_payment_method"]]["behavior"] = "generic_decline"
            merchant.renew(bought)
        if n % 7 == 6:
            merchant.end(bought)
        if n % 10 == 3:
            merchant.charge(buyer, 1500 + n)
        if n % 10 == 0:
            paid = merchant.account.every("charge", customer=buyer["id"])[-1]
            merchant.refund(paid["id"], 300)
    merchant.customer(None, "A guest", card=None)
    merchant.account.events.clear()
    for event in merchant.account.every("event"):
        event["created"] = began  # before the pull, so they are not read again
    merchant.account.__dict__.pop("ordered", None)
    merchant.now = began + 400 * 86_400
    return merchant


def mirrored(services: Services, stand_in: StandIn, key: str = KEY, name: str = "Acorn Notes") -> str:
    """Create a business whose account at Stripe has this key."""
    with services.database.open(everything("a business that Stripe bills"), write=True) as db:
        made = create_business(
            db,
            name=name,
            currency="EUR",
            zone="Europe/London",
            support_email="help@acorn.example",
            settings={"pause": True, "plan_change": True},
        )
        business_id = made.business_id
    account = stand_in.account(key)
    with services.database.open(system(business_id), write=True) as db:
        connect(
            db, services.settings, business_id, "stripe", base_url=stand_in.base_url, api_key=key, webhook_key=account.webhook_secret,
            reference=account.id,
        )  # fmt: skip
    return business_id


def reader_of(services: Services, stand_in: StandIn, business_id: str, key: str = KEY) -> AccountReader:
    origin = origin_of(services.database, business_id, "stripe")
    assert origin is not None
    api = SYSTEMS["stripe"].open(services.outgoing, Reach(stand_in.base_url, key))
    return AccountReader(services.database, services.settings, api, business_id, origin, SYSTEMS["stripe"])


def work(services: Services) -> None:
    for lane in services.worker.lanes:
        lane.drain()


def waiting(services: Services, business_id: str) -> int:
    with services.database.open(system(business_id)) as db:
        return db.scalar(select(func.count()).select_from(ExternalWebhook).where(ExternalWebhook.due_at.is_not(None))) or 0


def make_events_due(services: Services, business_id: str) -> None:
    with services.database.open(system(business_id), write=True) as db:
        for account in db.scalars(select(ExternalAccount)):
            account.events_due_at = clock.wall() - timedelta(seconds=1)


def a_month_passes(merchant: Merchant, seed: int) -> None:
    """Everything that can happen in an account, in a random order of its buyers."""
    chance, account = random.Random(seed), merchant.account
    buyers = [item for item in account.every("customer") if item["email"]]
    chance.shuffle(buyers)
    bought = {item["customer"]: item for item in account.every("subscription") if item["status"] in ("active", "past_due")}
    buyers = [item for item in buyers if item["id"] in bought]
    for n, buyer in enumerate(buyers):
        merchant.now += 60
        mine = bought[buyer["id"]]
        card = account.private[buyer["invoice_settings"]["default_payment_method"]]
        if n % 6 == 0:
            card["behavior"] = "insufficient_funds"
        invoice = merchant.renew(mine)
        if n % 12 == 0:
            card["behavior"] = "ok"
            merchant.pay(invoice)
        elif n % 6 == 1:
            merchant.change(mine, cancel_at_period_end=True, cancel_at=mine["items"]["data"][0]["current_period_end"])
        elif n % 6 == 2:
            merchant.change(mine, pause_collection={"behavior": "void", "resumes_at": None})
        elif n % 6 == 3:
            merchant.refund(account.every("charge", customer=buyer["id"])[0]["id"], 200)
            merchant.move(buyer, name=f"{buyer['name']} Ltd", email=f"new-{buyer['email']}")
        elif n % 6 == 4:
            merchant.detach(buyer)
            merchant.give_card(buyer, "5555555555554444")
        elif n % 6 == 5:
            merchant.end(mine)
    plan = account.every("price")[-1]
    merchant.rename(plan["product"], "Acorn Team Plus")
    merchant.retire(merchant.price("Acorn Once", 9900, None))
    late = merchant.customer("late@people.example", "Late")
    merchant.subscribe(late, (merchant.price("Acorn Usage", 0, usage="metered", product=plan["product"]), 1), (plan, 3))
    merchant.charge(late, 700)


def our_id(services: Services, business_id: str, reference: str) -> str:
    with services.database.open(system(business_id)) as db:
        return db.scalars(select(SourceId.row_id).where(SourceId.reference == reference, SourceId.kind != "addon")).one()


def content(services: Services, business_id: str) -> dict[str, Any]:
    """Return what is stored of the account, without ids and times of our own. Equal for two businesses with the same data."""
    with services.database.open(system(business_id)) as db:
        names = {row.row_id: row.reference for row in db.scalars(select(SourceId))}

        def rows(model: Any, *columns: Any, where: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
            key = model.customer_id if model is Customer else model.id
            found = db.execute(select(key, *columns).where(model.account_id.is_not(None), *where)).all()
            plain = [tuple(names.get(value, value) if isinstance(value, str) else value for value in row) for row in found]
            return sorted(plain, key=repr)

        item = Subscription
        return {
            "products": rows(Product, Product.name, Product.price_minor, Product.currency, Product.interval, Product.archived_at.is_(None)),
            "customers": rows(Customer, Customer.email, Customer.name),
            "subscriptions": rows(
                item, item.customer_id, item.product_id, item.status, item.quantity, item.unit_minor, item.next_billing_at,
                item.cancel_at_period_end, item.payment_method_id, item.collected_by,
            ),
            "addons": sorted((names[row[0]], [(names[part["addon_id"]], part["quantity"], part["unit_minor"]) for part in row[1]])
                             for row in db.execute(select(item.id, item.addons))),
            "payments": rows(
                Payment, Payment.customer_id, Payment.subscription_id, Payment.amount_minor, Payment.tax_minor, Payment.status,
                Payment.charge_type, Payment.refunded_minor, Payment.created_at,
            ),
            "refunds": rows(Refund, Refund.payment_id, Refund.amount_minor, Refund.status),
            "methods": rows(PaymentMethod, PaymentMethod.last4, PaymentMethod.held_by, where=[PaymentMethod.removed_at.is_(None)]),
            "invoices": sorted(map(tuple, db.execute(select(Invoice.number, Invoice.total_minor, Invoice.tax_minor, Invoice.status)))),
            "totals": sorted(
                (names[row[0]], *row[1:])
                for row in db.execute(
                    select(CustomerTotal.customer_id, CustomerTotal.currency, CustomerTotal.paid_minor, CustomerTotal.refunded_minor)
                )
            ),
            "invoices in all": db.scalar(select(func.count()).select_from(Invoice)),
        }  # fmt: skip
