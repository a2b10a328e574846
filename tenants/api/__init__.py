"""The merchant API: the paths and shapes of the contract (reference §2), so that the official SDK works with `<host>/api`."""

from __future__ import annotations

from flask import Flask

from core.web import House
from tenants.api import (
    brands,
    checkout,
    customers,
    invoices,
    license_keys,
    licenses,
    paying,
    payments,
    plan_changes,
    portal_sessions,
    products,
    refunds,
    subscription_changes,
    subscriptions,
    webhooks,
)
from tenants.api.door import bp

__all__ = [
    "brands", "checkout", "customers", "invoices", "license_keys", "licenses", "paying", "payments", "plan_changes",
    "portal_sessions", "products", "refunds", "register", "subscription_changes", "subscriptions", "webhooks",
]  # fmt: skip


def register(app: Flask, house: House) -> None:
    app.register_blueprint(bp)
