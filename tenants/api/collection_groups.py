"""Groups of a product collection, and the products in them."""

from __future__ import annotations

from typing import Annotated

from flask import jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field

from billing.catalogue import api_queries as read
from billing.catalogue import collection_items, collections
from billing.catalogue.api_queries import Grouped
from core.errors import NotFound
from core.request_context import db
from tenants.api.authentication import bp
from tenants.api.collections import GroupName, NewGroup, Products, pairs
from tenants.api.request_parsing import Body, Id, body, given
from tenants.api.route_spec import route_spec
from tenants.api.shapes import json_response
from tenants.api.shapes.catalogue import GroupShape, ItemShape


class GroupChange(Body):
    """Changes to a group. `product_order` must name the id of every item of the group."""

    group_name: GroupName | None = None
    product_order: Annotated[list[Id], Field(max_length=200)] | None = None
    status: bool | None = None


class NewItems(Body):
    products: Products


class ItemChange(Body):
    status: bool


@bp.post("/product-collections/<collection_id>/groups", endpoint="create_group")
@route_spec(GroupShape, body=NewGroup, errors=(410,))
def create(collection_id: str) -> ResponseReturnValue:
    """Add a group with products to a collection."""
    collections.load_collection(db(), collection_id)
    group = collections.add_group(db(), collection_id, body(NewGroup).wanted())
    entries = [item for item in read.items_with_products(db(), collection_id) if item[0].group_id == group.id]
    return json_response(GroupShape.of(Grouped(group, entries)))


@bp.patch("/product-collections/<collection_id>/groups/<group_id>", endpoint="change_group")
@route_spec(body=GroupChange, errors=(410,))
def change(collection_id: str, group_id: str) -> ResponseReturnValue:
    """Update a group. Fields that are not sent stay unchanged; a null `group_name` removes the name."""
    collections.load_group(db(), collection_id, group_id)
    sent = body(GroupChange)
    changes = given(sent, {"status": "enabled"})
    if "group_name" in sent.model_fields_set:
        changes["name"] = sent.group_name
    collections.update_group(db(), collection_id, group_id, product_order=sent.product_order, **changes)
    return "", 200


@bp.delete("/product-collections/<collection_id>/groups/<group_id>", endpoint="delete_group")
@route_spec(status=204, errors=(410,))
def delete(collection_id: str, group_id: str) -> ResponseReturnValue:
    """Delete a group and remove its products from the collection."""
    collections.delete_group(db(), collection_id, group_id)
    return "", 204


@bp.post("/product-collections/<collection_id>/groups/<group_id>/items", endpoint="add_items")
@route_spec(ItemShape, form="list", body=NewItems, errors=(410,))
def add(collection_id: str, group_id: str) -> ResponseReturnValue:
    """Add products to a group."""
    group = collections.load_group(db(), collection_id, group_id)
    added = collection_items.add_items(db(), group, pairs(body(NewItems).products))
    return jsonify([ItemShape.of(entry).json() for entry in read.items_with_products(db(), collection_id, [item.id for item in added])])


@bp.patch("/product-collections/<collection_id>/groups/<group_id>/items/<item_id>", endpoint="change_item")
@route_spec(body=ItemChange, errors=(410,))
def enable(collection_id: str, group_id: str, item_id: str) -> ResponseReturnValue:
    """Enable or disable a product of a group. Customers can only switch to enabled products."""
    _check_item(collection_id, group_id, item_id)
    collection_items.enable_item(db(), collection_id, item_id, body(ItemChange).status)
    return "", 200


@bp.delete("/product-collections/<collection_id>/groups/<group_id>/items/<item_id>", endpoint="remove_item")
@route_spec(status=204, errors=(410,))
def remove(collection_id: str, group_id: str, item_id: str) -> ResponseReturnValue:
    """Remove a product from a group."""
    _check_item(collection_id, group_id, item_id)
    collection_items.remove_item(db(), collection_id, item_id)
    return "", 204


def _check_item(collection_id: str, group_id: str, item_id: str) -> None:
    """Check that the item is in the group. Raises NotFound."""
    if collection_items.load_item(db(), collection_id, item_id).group_id != group_id:
        raise NotFound()
