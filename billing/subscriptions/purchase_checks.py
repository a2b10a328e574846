"""Load and check what a purchase names: business, customer, products and add-ons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from billing.model.catalogue import PRICE_TYPES, USAGE_PRICING_REFUSAL, Addon, Product
from billing.model.parties import Business, Customer
from billing.model.policy import refuse_blocked
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid, NotFound


def load_parties(db: ScopedSession, customer_id: str) -> tuple[Business, Customer]:
    """The business of the session's scope and its customer. Raises NotFound, Conflict (archived business, blocked customer)."""
    business = db.scalar(select(Business))
    customer = db.scalar(select(Customer).where(Customer.customer_id == customer_id))
    if business is None or customer is None:
        raise NotFound(sentence=N_("There is no such customer."))
    if business.archived_at:
        raise Conflict("BUSINESS_ARCHIVED", N_("This business is closed. Nothing can be bought from it."))
    refuse_blocked(db, customer_id)
    return business, customer


def load_product(db: ScopedSession, product_id: str) -> Product:
    """A product on sale. Raises NotFound, Invalid for a usage-based price."""
    product = db.scalar(select(Product).where(Product.id == product_id, Product.archived_at.is_(None)))
    if product is None:
        raise NotFound(sentence=N_("There is no such product."))
    if product.price_type not in PRICE_TYPES:
        raise Invalid("UNSUPPORTED_ACTION", USAGE_PRICING_REFUSAL, fields={"product_id": USAGE_PRICING_REFUSAL})
    return product


def check_billing_currency(currency: str | None, product: Product) -> None:
    """Raises Invalid unless `currency` is None or the product's currency."""
    if currency not in (None, product.currency):
        problem = f"This product is sold in {product.currency}."
        raise Invalid("UNSUPPORTED_CURRENCY", f"billing_currency: {problem}", fields={"billing_currency": problem})


def chosen_addons(db: ScopedSession, product: Product, wanted: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """`wanted` [{addon_id, quantity}] with names and prices, as a subscription stores them. Raises Invalid, NotFound."""
    ids = [choice["addon_id"] for choice in wanted]
    if len(set(ids)) != len(ids):
        raise Invalid("DUPLICATE_ADDON_IDS_IN_REQUEST", N_("An add-on is listed twice."), fields={"addons": N_("Listed twice.")})
    rows = {addon.id: addon for addon in db.scalars(select(Addon).where(Addon.id.in_(ids)))} if ids else {}
    if any(choice.get("quantity", 1) < 1 for choice in wanted):
        raise Invalid("INVALID_QUANTITY", N_("The quantity must be 1 or more."), fields={"addons": N_("Must be 1 or more.")})
    for addon_id in ids:
        if addon_id in rows and rows[addon_id].currency != product.currency:
            raise Invalid(
                sentence=N_("An add-on must have the currency of its product."), fields={"addons": N_("The currency is different.")}
            )
        if addon_id not in rows or (product.addons and addon_id not in product.addons):
            raise NotFound("MISSING_ADDON_IDS", f"There is no add-on {addon_id[:40]} for this product.")
    return [
        {
            "addon_id": choice["addon_id"],
            "name": rows[choice["addon_id"]].name,
            "quantity": choice.get("quantity", 1),
            "unit_minor": rows[choice["addon_id"]].price_minor,
        }
        for choice in wanted
    ]
