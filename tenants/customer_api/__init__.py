"""The API for customers' own programs and front ends, with the paths and shapes of the contract (3). Docs: docs/customer-api.md."""

from __future__ import annotations

from flask import Flask

from core.services import Services
from tenants.customer_api import (
    business,
    catalogue,
    entitlements,
    payment_methods,
    payments,
    plan_changes,
    session,
    sign_in,
    subscriptions,
    unified,
)
from tenants.customer_api.authentication import bp

__all__ = [
    "business", "catalogue", "entitlements", "payment_methods", "payments", "plan_changes", "register", "session", "sign_in",
    "subscriptions", "unified",
]  # fmt: skip


def register(app: Flask, services: Services) -> None:
    app.register_blueprint(bp)
