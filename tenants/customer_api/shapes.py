"""The JSON of the customer API (contract 3). What only the business uses, such as its metadata, is left out."""

from __future__ import annotations

from auth.visit_rows import Account
from billing.history.api_lists import PaymentWithContext
from billing.model.catalogue import Addon, Product
from billing.model.parties import Customer
from billing.model.policy import allows, setting
from billing.model.quotes import Quote
from billing.model.subscriptions import Subscription
from billing.plan_changes.scheduled import Planned
from core.links import external
from tenants.api.shapes import Json, stamp
from tenants.api.shapes.payments import PaymentItem
from tenants.api.shapes.products import image_url
from tenants.api.shapes.subscriptions import SubscriptionItem, SubscriptionShape


def business_shape(account: Account) -> Json:
    """Return the business of a token, with what its customers may do (contract 3.3)."""
    brand = account.brand
    return {
        "business_id": account.business_id, "name": account.name, "logo": external(account.logo_url) if account.logo_url else None,
        "country": account.business.country, "description": None, "support_email": account.support_email or None,
        "allow_customer_portal_sub_change_plan": allows(account, "plan_change"),
        "allow_customers_to_cancel_subscription": True,  # consumers always may; a refusal for business customers says so
        "allow_customers_to_pause_subscription": allows(account, "pause"),
        "allow_multiple_sub_per_customer": bool(setting(account, "multiple_subscriptions")),
        "tracking": None, "theme_mode": "system", "theme_config": {"light": {"primary": brand["accent"]}} if brand.get("accent") else None,
    }  # fmt: skip


def brief_business_shape(account: Account) -> Json:
    """Return a business in the list of a person, with how the person stands to it."""
    return {
        "business_id": account.business_id, "name": account.name, "logo": external(account.logo_url) if account.logo_url else None,
        "country": account.business.country, "is_archived": account.archived_at is not None,
        "recognition": "recognized" if account.accepted else "pending_acceptance",
    }  # fmt: skip


def profile_shape(customer: Customer) -> Json:
    return {
        "business_id": customer.business_id, "customer_id": customer.customer_id, "created_at": stamp(customer.created_at),
        "email": customer.email, "name": customer.name, "phone_number": customer.phone,
    }  # fmt: skip


def product_brief(product: Product) -> Json:
    return {
        "id": product.id, "name": product.name, "description": product.description or None, "image": image_url(product.image),
    }  # fmt: skip


def subscription_item(row: Subscription, customer: Customer, product: Product, planned: Planned | None) -> Json:
    return _of_customer(SubscriptionItem.of(row, customer, product.name, planned).json(), row, product, {})


def subscription_detail(row: Subscription, customer: Customer, product: Product, planned: Planned | None, addons: dict[str, Addon]) -> Json:
    return _of_customer(SubscriptionShape.of(row, customer, product.name, planned).json(), row, product, addons)


def _of_customer(shape: Json, row: Subscription, product: Product, addons: dict[str, Addon]) -> Json:
    """Return the shape of the merchant API with the product, named add-ons and without metadata."""
    held = [_addon(item, addons.get(item["addon_id"])) for item in row.addons or []]
    return {
        **shape, "business_id": row.business_id, "product": product_brief(product), "addons": held, "meters": shape.get("meters", []),
        "metadata": {}, "customer": {**shape["customer"], "metadata": {}}, "collected_by": row.collected_by,
    }  # fmt: skip


def _addon(held: Json, addon: Addon | None) -> Json:
    return {
        "addon_id": held["addon_id"], "quantity": held["quantity"], "name": held.get("name") or (addon.name if addon else held["addon_id"]),
        "description": (addon.description or None) if addon else None, "image": image_url(addon.image) if addon else None,
    }  # fmt: skip


def payment_item(paid: PaymentWithContext) -> Json:
    shape = PaymentItem.of(paid).json()
    return {**shape, "business_id": paid.payment.business_id, "metadata": {}, "customer": {**shape["customer"], "metadata": {}}}


def preview_shape(charge: Json, quote: Quote) -> Json:
    """Return a preview as the official front end adds it up: it takes the sign of a line from `proration_factor` alone."""
    lines = [{**line, "tax": abs(line.get("tax") or 0), "tax_rate": line.get("tax_rate") or 0} for line in charge["line_items"]]
    for line in lines:
        if line["unit_price"] < 0:
            line.update(unit_price=-line["unit_price"], proration_factor=-1)
    return {**charge, "line_items": lines, "quote_id": quote.id, "expires_at": stamp(quote.expires_at)}
