"""The customer pages. Both the unified portal and each business portal register this blueprint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

if TYPE_CHECKING:
    from flask import Flask

    from core.services import Services

bp = Blueprint("portal", __name__)

from portal import (  # noqa: E402
    activity,
    billing_details,
    cancellation,
    documents,
    email_change,
    history,
    invoice_payment,
    license_keys,
    notifications,
    pause,
    pay,
    payment_methods,
    payments,
    plan_change,
    plan_codes,
    price_change,
    profile,
    purchases,
    receipts,
    refund_requests,
    restart,
    search,
    self_refunds,
    sessions,
    subscriptions,
    withdrawal,
)

__all__ = [
    "activity",
    "billing_details",
    "bp",
    "cancellation",
    "documents",
    "email_change",
    "history",
    "invoice_payment",
    "license_keys",
    "notifications",
    "pause",
    "pay",
    "payment_methods",
    "payments",
    "plan_change",
    "plan_codes",
    "price_change",
    "profile",
    "purchases",
    "receipts",
    "refund_requests",
    "register",
    "restart",
    "search",
    "self_refunds",
    "sessions",
    "subscriptions",
    "withdrawal",
]


def register(app: Flask, services: Services) -> None:
    """Register the public legal pages, and the emails about what customers buy and change. Each door registers the other pages."""
    from portal import legal, notice_off
    from portal.emails import actions, address_change, notices
    from portal.emails import purchases as purchase_emails
    from portal.emails import refund_requests as request_emails

    legal.register(app)
    purchase_emails.register(services)
    actions.register(services)
    notices.register(services)
    address_change.register(services)
    notice_off.register(app, services)
    request_emails.register(services)
