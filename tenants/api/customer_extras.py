"""Lists of the contract that are always empty in this portal: wallets, entitlements, usage.

Credit stays on the subscription it came from, so there are no wallets. License keys and downloads belong to products, so there are no
entitlements. Usage is not metered, so subscriptions have no usage.
"""

from __future__ import annotations

from flask import jsonify
from flask.typing import ResponseReturnValue

from billing.history import api_lists as read
from core.request_context import db
from tenants.api.authentication import bp
from tenants.api.request_parsing import CurrencyCode, PageQuery, Query, query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import Json, Shape


class Wallets(Shape):
    items: list[Json]
    total_balance_usd: int


class EmptyList(Shape):
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


def _empty_list(customer_id: str) -> ResponseReturnValue:
    read.customer(db(), customer_id)
    return jsonify(items=[])


@bp.get("/customers/<customer_id>/wallets", endpoint="wallets")
@route_spec(Wallets)
def wallets(customer_id: str) -> ResponseReturnValue:
    """List the wallets of a customer. Always empty: credit stays on the subscription it came from."""
    read.customer(db(), customer_id)
    return jsonify(items=[], total_balance_usd=0)


@bp.get("/customers/<customer_id>/wallets/ledger-entries", endpoint="wallet_ledger")
@route_spec(EmptyList, query=LedgerQuery)
def ledger(customer_id: str) -> ResponseReturnValue:
    """List the wallet ledger entries of a customer. Always empty."""
    query(LedgerQuery)
    return _empty_list(customer_id)


@bp.get("/customers/<customer_id>/entitlements", endpoint="customer_entitlements")
@route_spec(EmptyList)
def entitlements(customer_id: str) -> ResponseReturnValue:
    """List the entitlements of a customer. Always empty: license keys and downloads belong to products."""
    return _empty_list(customer_id)


@bp.get("/customers/<customer_id>/entitlement-grants", endpoint="customer_grants")
@route_spec(EmptyList, query=GrantQuery)
def grants(customer_id: str) -> ResponseReturnValue:
    """List the entitlement grants of a customer. Always empty."""
    query(GrantQuery)
    return _empty_list(customer_id)


@bp.get("/customers/<customer_id>/credit-entitlements", endpoint="customer_credits")
@route_spec(EmptyList)
def credits(customer_id: str) -> ResponseReturnValue:
    """List the credit entitlements of a customer. Always empty."""
    return _empty_list(customer_id)


@bp.get("/subscriptions/<subscription_id>/usage-history", endpoint="usage_history")
@route_spec(EmptyList, query=UsageQuery)
def usage(subscription_id: str) -> ResponseReturnValue:
    """List the usage of a subscription. Always empty: usage is not metered."""
    query(UsageQuery)
    read.subscription(db(), subscription_id)
    return jsonify(items=[])


@bp.get("/subscriptions/<subscription_id>/credit-usage", endpoint="credit_usage")
@route_spec(CreditUsage)
def credit_usage(subscription_id: str) -> ResponseReturnValue:
    """List the credit usage of a subscription. Always empty."""
    read.subscription(db(), subscription_id)
    return jsonify(subscription_id=subscription_id, items=[])
