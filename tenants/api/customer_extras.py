"""What the contract lists about customers and this portal has none of: said as empty lists, so that a client need not ask twice.

Credit stays on the subscription it came from, so nobody has a wallet; licence keys and downloads come with products, so
there are no entitlements; use is not counted, so a subscription has no usage.
"""

from __future__ import annotations

from flask import jsonify
from flask.typing import ResponseReturnValue

from billing.queries import api as read
from core.web import db
from tenants.api.door import bp
from tenants.api.reading import CurrencyCode, PageQuery, Query, query
from tenants.api.saying import says
from tenants.api.shapes import Json, Shape


class Wallets(Shape):
    items: list[Json]
    total_balance_usd: int


class Nothing(Shape):
    """A list that is always empty."""

    items: list[Json]


class CreditUsage(Shape):
    subscription_id: str
    items: list[Json]


class LedgerQuery(PageQuery):
    currency: CurrencyCode | None = None


class GrantQuery(PageQuery):
    integration_type: str | None = None
    status: str | None = None


class UsageQuery(Query):
    page_number: int = 0
    page_size: int = 10
    start_date: str | None = None
    end_date: str | None = None
    meter_id: str | None = None


def _nothing(customer_id: str) -> ResponseReturnValue:
    read.customer(db(), customer_id)
    return jsonify(items=[])


@bp.get("/customers/<customer_id>/wallets", endpoint="wallets")
@says(Wallets)
def wallets(customer_id: str) -> ResponseReturnValue:
    """Nobody has one: credit stays on the subscription it came from."""
    read.customer(db(), customer_id)
    return jsonify(items=[], total_balance_usd=0)


@bp.get("/customers/<customer_id>/wallets/ledger-entries", endpoint="wallet_ledger")
@says(Nothing, asks=LedgerQuery)
def ledger(customer_id: str) -> ResponseReturnValue:
    query(LedgerQuery)
    return _nothing(customer_id)


@bp.get("/customers/<customer_id>/entitlements", endpoint="customer_entitlements")
@says(Nothing)
def entitlements(customer_id: str) -> ResponseReturnValue:
    return _nothing(customer_id)


@bp.get("/customers/<customer_id>/entitlement-grants", endpoint="customer_grants")
@says(Nothing, asks=GrantQuery)
def grants(customer_id: str) -> ResponseReturnValue:
    query(GrantQuery)
    return _nothing(customer_id)


@bp.get("/customers/<customer_id>/credit-entitlements", endpoint="customer_credits")
@says(Nothing)
def credits(customer_id: str) -> ResponseReturnValue:
    return _nothing(customer_id)


@bp.get("/subscriptions/<subscription_id>/usage-history", endpoint="usage_history")
@says(Nothing, asks=UsageQuery)
def usage(subscription_id: str) -> ResponseReturnValue:
    query(UsageQuery)
    read.subscription(db(), subscription_id)
    return jsonify(items=[])


@bp.get("/subscriptions/<subscription_id>/credit-usage", endpoint="credit_usage")
@says(CreditUsage)
def credit_usage(subscription_id: str) -> ResponseReturnValue:
    read.subscription(db(), subscription_id)
    return jsonify(subscription_id=subscription_id, items=[])
