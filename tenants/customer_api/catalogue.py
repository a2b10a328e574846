"""Products and the collections whose plans a subscription can change to (contract 3.5)."""

from __future__ import annotations

from flask import jsonify
from flask.typing import ResponseReturnValue

from billing.catalogue import api_queries
from billing.history import api_lists
from billing.history import customer_lists as read
from billing.model.policy import allows
from core.errors import NotFound
from core.request_context import db
from tenants.api.route_spec import route_spec
from tenants.api.shapes import Json
from tenants.api.shapes.catalogue import AddonShape, CollectionShape
from tenants.api.shapes.products import ProductShape
from tenants.customer_api.authentication import account, bp, for_customer

_SETTINGS = (
    "effective_at_on_upgrade", "effective_at_on_downgrade", "proration_billing_mode_on_upgrade", "proration_billing_mode_on_downgrade",
    "on_payment_failure",
)  # fmt: skip


@bp.get("/customer-portal/products/<product_id>", endpoint="product")
@for_customer
@route_spec(form="any")
def product(product_id: str) -> ResponseReturnValue:
    """Return a product with its add-ons."""
    row = api_lists.product(db(), product_id)
    addons = read.addons_of(db(), row.business_id, row.addons or [])
    shape = ProductShape.of(row).json()
    named = [AddonShape.of(addons[id]).json() for id in row.addons or [] if id in addons]
    hidden: Json = {
        "metadata": {},
        "digital_product_delivery": None,
        "license_key_activation_message": None,
    }  # of buyers, or of the business
    return jsonify({**shape, **hidden, "addons": named})


@bp.get("/customer-portal/products/<product_id>/collection", endpoint="collection_of_product")
@for_customer
@route_spec(form="any")
def collection_of_product(product_id: str) -> ResponseReturnValue:
    """Return the collection of a plan. 404: the plan cannot be changed in the portal."""
    collection_id = api_lists.collection_of(db(), product_id)
    if collection_id is None or not allows(account(), "plan_change"):
        raise NotFound(sentence="This plan has no collection.")
    return jsonify(_collection(collection_id))


@bp.get("/customer-portal/product-collections/<collection_id>", endpoint="collection")
@for_customer
@route_spec(form="any")
def collection(collection_id: str) -> ResponseReturnValue:
    """Return a collection with the plans that customers can choose."""
    return jsonify(_collection(collection_id))


def _collection(collection_id: str) -> Json:
    """Return a collection. Raises NotFound, also for an archived one. What the business has hidden is left out."""
    row, groups = api_queries.collection(db(), collection_id)
    if row.archived_at is not None:
        raise NotFound(sentence="There is no such collection.")
    shape = CollectionShape.of(row, groups).json()
    for group in shape["groups"]:
        group["products"] = [item for item in group["products"] if item["status"]]
    shown = [group for group in shape["groups"] if group["status"] and group["products"]]
    return {**{name: value for name, value in shape.items() if name not in _SETTINGS}, "groups": shown}
