"""License keys as grants, their activations, and the kinds of entitlement that this portal does not have (contract 3.7, 3.8)."""

from __future__ import annotations

from flask import jsonify
from flask.typing import ResponseReturnValue

from billing.history import api_lists
from billing.history import customer_lists as read
from billing.model.catalogue import Product
from billing.model.licenses import LicenseKey
from billing.subscriptions import queries
from core.errors import Conflict, NotFound
from core.request_context import db
from tenants.api.request_parsing import query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import Json, stamp
from tenants.api.shapes.licenses import LicenseInstanceShape
from tenants.customer_api.authentication import bp, for_customer
from tenants.customer_api.requests import Paging, nothing

STATES = {"active": "Delivered", "disabled": "Revoked", "expired": "Revoked"}


class OfGrant(Paging):
    grant_id: str | None = None


@bp.get("/customer-portal/entitlements", endpoint="entitlements")
@for_customer
@route_spec(form="any")
def index() -> ResponseReturnValue:
    """List what was granted: the newest hundred license keys."""
    return jsonify(items=[_grant(*row) for row in read.license_keys(db())])


@bp.post("/customer-portal/entitlements/<grant_id>/accept", endpoint="accept_entitlement")
@bp.post("/customer-portal/entitlements/<grant_id>/reconnect", endpoint="reconnect_entitlement")
@for_customer
@route_spec(form="any")
def accept(grant_id: str) -> ResponseReturnValue:
    """Refused: a license key needs no connection to another account."""
    api_lists.license_key(db(), grant_id)
    raise Conflict("NO_ACTION_REQUIRED", "This needs no connection.")


@bp.get("/customer-portal/entitlements/<grant_id>/download", endpoint="download_entitlement")
@for_customer
@route_spec(form="any")
def download(grant_id: str) -> ResponseReturnValue:
    """Return the download of the product of a license key. 404 if it has none, or the key is not active."""
    key = api_lists.license_key(db(), grant_id)
    product = read.products_of(db(), key.business_id, [key.product_id])[key.product_id]
    if not product.download or key.state != "active":
        raise NotFound(sentence="There is nothing to download.")
    stored = product.download
    return jsonify(files=[], external_link=stored.get("external_url"), instructions=stored.get("instructions"))


@bp.get("/customer-portal/license-key-instances", endpoint="license_key_instances")
@for_customer
@route_spec(form="any", query=OfGrant)
def instances() -> ResponseReturnValue:
    """List the activations of a license key, newest first."""
    paging = query(OfGrant)
    if paging.grant_id is not None:
        api_lists.license_key(db(), paging.grant_id)
    rows = api_lists.license_instances(db(), paging.page, license_key_id=paging.grant_id)
    return jsonify(items=[LicenseInstanceShape.of(row).json() for row in rows])


@bp.get("/customer-portal/wallets", endpoint="wallets")
@for_customer
@route_spec(form="any")
def wallets() -> ResponseReturnValue:
    """List wallets. Always empty: credit stays on the subscription it came from."""
    return nothing(total_balance_usd=0)


@bp.get("/customer-portal/wallets/ledger-entries", endpoint="wallet_ledger")
@bp.get("/customer-portal/credit-entitlements", endpoint="credit_entitlements")
@for_customer
@route_spec(form="any")
def empty() -> ResponseReturnValue:
    """Return an empty list: there are no wallets and no credits in units."""
    return nothing()


@bp.get("/customer-portal/credit-entitlements/<credit_id>/ledger", endpoint="credit_ledger")
@for_customer
@route_spec(form="any")
def credit_ledger(credit_id: str) -> ResponseReturnValue:
    """Always 404: there are no credits in units."""
    raise NotFound(sentence=f"There is no credit {credit_id[:80]}.")


@bp.get("/customer-portal/subscriptions/<subscription_id>/usage-history", endpoint="usage_history")
@bp.get("/customer-portal/subscriptions/<subscription_id>/meters/<meter_id>", endpoint="meter_events")
@for_customer
@route_spec(form="any")
def usage(subscription_id: str, meter_id: str | None = None) -> ResponseReturnValue:
    """Return an empty page: use is not counted."""
    queries.get_subscription(db(), subscription_id)
    return nothing()


def _grant(key: LicenseKey, product: Product) -> Json:
    state = STATES.get(key.state, "Delivered")
    return {
        "id": key.id, "entitlement": {"name": product.name, "integration_type": "license_key", "description": product.description or None},
        "status": state, "requires_action": False, "action_type": "none", "created_at": stamp(key.created_at),
        "updated_at": stamp(key.created_at), "delivered_at": stamp(key.created_at), "oauth_expires_at": None, "oauth_url": None,
        "license_key": {
            "id": key.id, "key": key.key, "status": key.state, "activations_used": key.instances_count,
            "activations_limit": key.activations_limit, "expires_at": stamp(key.expires_at) if key.expires_at else None,
        },
        "digital_product_delivery": None, "framer_delivery": None, "error": None,
    }  # fmt: skip
