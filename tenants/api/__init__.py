"""The merchant API, with the paths and shapes of the contract (reference §2). The official SDK works with `<host>/api`."""

from __future__ import annotations

from datetime import timedelta

from flask import Flask

from core.services import Services
from core.worker import Tick
from tenants import idempotency_store
from tenants.api import (
    addons,
    brands,
    collection_groups,
    collections,
    consents,
    countries,
    customer_extras,
    customer_tokens,
    customers,
    discounts,
    disputes,
    invoices,
    license_keys,
    licenses,
    openapi,
    payments,
    pictures,
    plan_changes,
    portal_sessions,
    price_changes,
    product_changes,
    products,
    refund_policy,
    refunds,
    rights,
    subscription_changes,
    subscription_payments,
    subscriptions,
    taxes,
    webhooks,
)
from tenants.api.authentication import bp
from tenants.api.idempotency import middleware
from tenants.rate_limits import Rates

__all__ = [
    "addons", "brands", "collection_groups", "collections", "consents", "countries", "customer_extras", "customer_tokens", "customers",
    "discounts", "disputes", "invoices", "license_keys", "licenses", "middleware", "openapi", "payments", "pictures", "plan_changes",
    "portal_sessions", "price_changes", "product_changes", "products", "refund_policy", "refunds", "register", "rights",
    "subscription_changes", "subscription_payments", "subscriptions", "taxes", "webhooks",
]  # fmt: skip


def register(app: Flask, services: Services) -> None:
    app.extensions["api rates"] = Rates(services.database)
    app.register_blueprint(bp)
    services.worker.ticks.append(Tick("old calls", timedelta(hours=1), lambda: idempotency_store.sweep(services.database)))
