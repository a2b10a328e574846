"""The merchant API: the paths and shapes of the contract (reference §2), so that the official SDK works with `<host>/api`."""

from __future__ import annotations

from datetime import timedelta

from flask import Flask

from core.web import House
from core.worker import Tick
from tenants import repeats
from tenants.api import (
    addons,
    again,
    brands,
    checkout,
    collection_groups,
    collections,
    customer_extras,
    customers,
    discounts,
    invoices,
    license_keys,
    licenses,
    openapi,
    paying,
    payments,
    pictures,
    plan_changes,
    portal_sessions,
    product_changes,
    products,
    refunds,
    subscription_changes,
    subscriptions,
    webhooks,
)
from tenants.api.door import bp
from tenants.rates import Rates

__all__ = [
    "addons", "again", "brands", "checkout", "collection_groups", "collections", "customer_extras", "customers", "discounts",
    "invoices", "license_keys", "licenses", "openapi", "paying", "payments", "pictures", "plan_changes", "portal_sessions",
    "product_changes", "products", "refunds", "register", "subscription_changes", "subscriptions", "webhooks",
]  # fmt: skip


def register(app: Flask, house: House) -> None:
    app.extensions["api rates"] = Rates(house.database)
    app.register_blueprint(bp)
    house.worker.ticks.append(Tick("old calls", timedelta(hours=1), lambda: repeats.sweep(house.database)))
