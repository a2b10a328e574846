"""What it costs today to take up a subscription that has ended: the plan or its successor, at the catalog's price.

Nothing is written here. What was agreed before ends with the old subscription: its price, its discounts, its credit and its license keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from billing.charging.discount_redemption import discounts_for_codes
from billing.model.buyer_details import BuyerDetails
from billing.model.catalogue import PRICE_TYPES, Addon, CollectionGroup, CollectionItem, Product
from billing.model.lifecycle import LIVE
from billing.model.parties import Business, Customer
from billing.model.policy import refuse_blocked, setting
from billing.model.restarts import restart_of
from billing.model.subscriptions import Subscription, load_subscription
from billing.pricing import prices
from billing.pricing.calendar import nth
from billing.pricing.prices import PriceLine
from billing.subscriptions.new_subscription import new_subscription
from billing.subscriptions.purchase_details import customer_type_for
from core import clock
from core.db import ScopedSession
from core.errors import N_, BusinessArchived, Conflict, Forbidden, NotFound
from core.models import dumps

RESTARTABLE = ("cancelled", "expired")
SUCCESSORS = 10
"""How many successors are followed from a product that is no longer sold."""


@dataclass(frozen=True)
class Restartable:
    """The rows of a restart. `product`: what is sold now, the old plan or its successor."""

    business: Business
    customer: Customer
    old: Subscription
    product: Product


@dataclass(frozen=True)
class RestartOffer:
    """A subscription as it would start now, not stored. Amounts in minor units of its currency, tax included.

    `lines`: of the first period. `renews_minor`: the second period. `dropped`: names of add-ons that are no longer sold.
    """

    subscription: Subscription
    product: Product
    lines: Sequence[PriceLine]
    renews_minor: int
    dropped: tuple[str, ...]

    @property
    def total_minor(self) -> int:
        return prices.total(self.lines)

    @property
    def tax_minor(self) -> int:
        return sum(line.tax_minor for line in self.lines)

    @property
    def next_billing_at(self) -> Any:
        made = self.subscription
        return nth(clock.now(), made.zone, made.interval, made.interval_count, 1)

    @property
    def digest(self) -> str:
        """What the customer agrees to. It changes with the plan, its price, add-ons, discounts, tax and what the next period costs."""
        made = self.subscription
        terms = [made.product_id, made.quantity, made.unit_minor, made.addons, made.currency, made.interval, made.interval_count]
        amounts = [[line.description, line.quantity, line.net_minor, line.tax_minor] for line in self.lines]
        codes = [discount["code"] for discount in made.discounts]
        return hashlib.sha256(dumps([terms, amounts, codes, self.renews_minor, made.term_count, made.term_interval]).encode()).hexdigest()


def sold_now(db: ScopedSession, product_id: str) -> Product | None:
    """Return the product if it is sold, else the first of its successors that is. Hidden plans and archived products are not sold."""
    for _ in range(SUCCESSORS):
        product = db.scalar(select(Product).where(Product.id == product_id))
        if product is None:
            return None
        if _is_sold(db, product):
            return product
        if product.successor_id is None:
            return None
        product_id = product.successor_id
    return None


def _is_sold(db: ScopedSession, product: Product) -> bool:
    if product.archived_at is not None or not product.is_recurring or product.price_type not in PRICE_TYPES:
        return False
    shown = db.execute(
        select(CollectionItem.enabled, CollectionGroup.enabled)
        .join(
            CollectionGroup, (CollectionGroup.business_id == CollectionItem.business_id) & (CollectionGroup.id == CollectionItem.group_id)
        )
        .where(CollectionItem.business_id == product.business_id, CollectionItem.product_id == product.id)
    ).first()
    return shown is None or all(shown)


def check(db: ScopedSession, subscription_id: str, *, lock: bool = False) -> Restartable:
    """Return the rows, if the customer may take the subscription up again. The session's scope is the customer's or the business's.

    Raises NotFound, BusinessArchived, Forbidden (business not accepted yet), and Conflict: SUBSCRIPTION_NOT_RESTARTABLE,
    UNSUPPORTED_ACTION (external billing), CUSTOMER_BLOCKED, CUSTOMER_HAS_EXISTING_SUBSCRIPTION, PRODUCT_NOT_SOLD, ALREADY_RESTARTED.
    """
    old = load_subscription(db, subscription_id, lock=lock)
    business = db.scalar(select(Business).where(Business.business_id == old.business_id))
    customer = db.scalar(select(Customer).where(Customer.business_id == old.business_id, Customer.customer_id == old.customer_id))
    if business is None or customer is None:
        raise NotFound()
    if business.archived_at is not None:
        raise BusinessArchived(sentence=N_("This business is closed."))
    if not customer.is_recognized:
        raise Forbidden(sentence=N_("Accept this business first."))
    if old.collected_by != "us":
        raise Conflict("UNSUPPORTED_ACTION", N_("This subscription is billed by another system. Start it again there."))
    if old.status not in RESTARTABLE:
        raise Conflict("SUBSCRIPTION_NOT_RESTARTABLE", N_("Only a subscription that has ended can be restarted."))
    refuse_blocked(db, old.customer_id)
    if restart_of(db, old.business_id, old.id) is not None:
        raise Conflict("ALREADY_RESTARTED", N_("This subscription was already restarted."))
    live = select(Subscription.id).where(Subscription.business_id == old.business_id, Subscription.customer_id == old.customer_id)
    if not setting(business, "multiple_subscriptions") and db.scalar(live.where(Subscription.status.in_(LIVE)).limit(1)) is not None:
        raise Conflict("CUSTOMER_HAS_EXISTING_SUBSCRIPTION", N_("You already have a subscription with this business. Change its plan."))
    product = sold_now(db, old.product_id)
    if product is None:
        raise Conflict("PRODUCT_NOT_SOLD", N_("This plan is no longer sold."))
    return Restartable(business, customer, old, product)


def may_restart(db: ScopedSession, subscription_id: str) -> bool:
    try:
        check(db, subscription_id)
    except (BusinessArchived, Conflict, Forbidden, NotFound):
        return False
    return True


def offer(db: ScopedSession, found: Restartable, codes: Sequence[str] = ()) -> RestartOffer:
    """Return what the restart costs now. `codes`: discount codes that the customer entered; only a business's scope can read them.

    Raises DiscountRefused.
    """
    old, product = found.old, found.product
    discounts = discounts_for_codes(
        db, found.business, found.customer, codes, currency=product.currency, product_ids=[product.id]
    )  # fmt: skip
    addons, dropped = _addons(db, old, product)
    details = _details(old, found.customer)
    made = new_subscription(
        found.business, product, old.customer_id, old.quantity, 0,
        details=details, customer_type=customer_type_for(found.customer, details), addons=addons, discounts=discounts, metadata=None,
    )  # fmt: skip
    at = clock.now()
    lines = prices.for_period(found.business, made, product, at, at)
    renewal = prices.for_period(found.business, made, product, at, at, n=2)
    return RestartOffer(made, product, lines, prices.total(renewal), tuple(dropped))


def _details(old: Subscription, customer: Customer) -> BuyerDetails:
    """Return the billing details of the old subscription, or the customer's if it has none."""
    if old.billing:
        return BuyerDetails(dict(old.billing), old.business_name, old.tax_id)
    return BuyerDetails(dict(customer.billing or {}), customer.business_name, customer.tax_id)


def _addons(db: ScopedSession, old: Subscription, product: Product) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the add-ons that are still sold with the product, at today's prices, and the names of the others."""
    ids = [addon["addon_id"] for addon in old.addons]
    query = select(Addon).where(Addon.business_id == old.business_id, Addon.id.in_(ids), Addon.archived_at.is_(None))
    sold = {addon.id: addon for addon in db.scalars(query)} if ids else {}
    kept: list[dict[str, Any]] = []
    dropped: list[str] = []
    for held in old.addons:
        addon = sold.get(held["addon_id"])
        if addon is None or addon.currency != product.currency or (product.addons and addon.id not in product.addons):
            dropped.append(held["name"])
            continue
        kept.append({"addon_id": addon.id, "name": addon.name, "quantity": held["quantity"], "unit_minor": addon.price_minor})
    return kept, dropped
