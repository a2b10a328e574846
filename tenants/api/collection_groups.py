"""Groups of a collection, and the products in them."""

from __future__ import annotations

from typing import Annotated

from flask import jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field

from billing.commands import collection_items, collections
from billing.queries import catalogue as read
from billing.queries.catalogue import Grouped
from core.errors import NotFound
from core.web import db
from tenants.api.collections import GroupName, NewGroup, Products, pairs
from tenants.api.door import bp
from tenants.api.reading import Body, Id, body, given
from tenants.api.saying import says
from tenants.api.shapes import one
from tenants.api.shapes.catalogue import GroupShape, ItemShape


class GroupChange(Body):
    """`product_order`: the id of every item of the group."""

    group_name: GroupName | None = None
    product_order: Annotated[list[Id], Field(max_length=200)] | None = None
    status: bool | None = None


class NewItems(Body):
    products: Products


class ItemChange(Body):
    status: bool


@bp.post("/product-collections/<collection_id>/groups", endpoint="create_group")
@says(GroupShape, takes=NewGroup, refuses=(410,))
def create(collection_id: str) -> ResponseReturnValue:
    collections.load_collection(db(), collection_id)
    group = collections.add_group(db(), collection_id, body(NewGroup).wanted())
    held = [one for one in read.held(db(), collection_id) if one[0].group_id == group.id]
    return one(GroupShape.of(Grouped(group, held)))


@bp.patch("/product-collections/<collection_id>/groups/<group_id>", endpoint="change_group")
@says(takes=GroupChange, refuses=(410,))
def change(collection_id: str, group_id: str) -> ResponseReturnValue:
    """Only what is given changes; a null group_name takes the name away."""
    collections.load_group(db(), collection_id, group_id)
    sent = body(GroupChange)
    changes = given(sent, {"status": "enabled"})
    if "group_name" in sent.model_fields_set:
        changes["name"] = sent.group_name
    collections.update_group(db(), collection_id, group_id, product_order=sent.product_order, **changes)
    return "", 200


@bp.delete("/product-collections/<collection_id>/groups/<group_id>", endpoint="delete_group")
@says(status=204, refuses=(410,))
def delete(collection_id: str, group_id: str) -> ResponseReturnValue:
    collections.delete_group(db(), collection_id, group_id)
    return "", 204


@bp.post("/product-collections/<collection_id>/groups/<group_id>/items", endpoint="add_items")
@says(ItemShape, form="list", takes=NewItems, refuses=(410,))
def add(collection_id: str, group_id: str) -> ResponseReturnValue:
    group = collections.load_group(db(), collection_id, group_id)
    added = collection_items.add_items(db(), group, pairs(body(NewItems).products))
    return jsonify([ItemShape.of(held).json() for held in read.held(db(), collection_id, [item.id for item in added])])


@bp.patch("/product-collections/<collection_id>/groups/<group_id>/items/<item_id>", endpoint="change_item")
@says(takes=ItemChange, refuses=(410,))
def enable(collection_id: str, group_id: str, item_id: str) -> ResponseReturnValue:
    _item(collection_id, group_id, item_id)
    collection_items.enable_item(db(), collection_id, item_id, body(ItemChange).status)
    return "", 200


@bp.delete("/product-collections/<collection_id>/groups/<group_id>/items/<item_id>", endpoint="remove_item")
@says(status=204, refuses=(410,))
def remove(collection_id: str, group_id: str, item_id: str) -> ResponseReturnValue:
    _item(collection_id, group_id, item_id)
    collection_items.remove_item(db(), collection_id, item_id)
    return "", 204


def _item(collection_id: str, group_id: str, item_id: str) -> None:
    """Raises NotFound for an item of another group."""
    if collection_items.load_item(db(), collection_id, item_id).group_id != group_id:
        raise NotFound()
