"""Product collections: groups of plans that customers can switch between."""

from __future__ import annotations

from typing import Annotated, Any

from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints

from billing.catalogue import api_queries as read
from billing.catalogue import collections as commands
from billing.catalogue.collections import GroupWanted
from billing.catalogue.pictures import set_picture
from core.errors import Invalid
from core.request_context import db
from tenants.api.addons import ImageId
from tenants.api.authentication import bp, caller
from tenants.api.products import Description, Name
from tenants.api.request_parsing import Body, Id, Localized, PageQuery, body, given, query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import items, json_response
from tenants.api.shapes.catalogue import CollectionItemShape, CollectionShape, Failure, Mode, Unarchived, When

DEFAULTS = {
    "effective_at_on_upgrade": "effective_on_upgrade", "effective_at_on_downgrade": "effective_on_downgrade",
    "proration_billing_mode_on_upgrade": "proration_on_upgrade", "proration_billing_mode_on_downgrade": "proration_on_downgrade",
    "on_payment_failure": "on_payment_failure",
}  # fmt: skip
GroupName = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class CollectionProductInput(Body):
    """A product of the collection. `status` says whether customers can switch to it."""

    product_id: Id
    status: bool | None = None


Products = Annotated[list[CollectionProductInput], Field(min_length=1, max_length=200)]


class NewGroup(Body):
    products: Products
    group_name: GroupName | None = None
    status: bool | None = None

    def wanted(self) -> GroupWanted:
        return GroupWanted(pairs(self.products), self.group_name, self.status is not False)


class _Defaults(Body):
    brand_id: Id | None = None
    description: Description | None = None
    effective_at_on_upgrade: When | None = None
    effective_at_on_downgrade: When | None = None
    proration_billing_mode_on_upgrade: Mode | None = None
    proration_billing_mode_on_downgrade: Mode | None = None
    on_payment_failure: Failure | None = None


class NewCollection(_Defaults):
    groups: Annotated[list[NewGroup], Field(min_length=1, max_length=50)]
    name: Name


class CollectionChange(_Defaults):
    group_order: Annotated[list[Id], Field(max_length=50)] | None = None
    image_id: ImageId | None = None
    name: Name | None = None


class CollectionQuery(PageQuery, Localized):
    archived: bool = False
    brand_id: str | None = None


def pairs(products: list[CollectionProductInput]) -> list[tuple[str, bool]]:
    return [(product.product_id, product.status is not False) for product in products]


@bp.post("/product-collections", endpoint="create_collection")
@route_spec(CollectionShape, body=NewCollection, errors=(410,))
def create() -> ResponseReturnValue:
    """Create a product collection."""
    sent, business_id = body(NewCollection), caller().business_id
    _check_brand(sent.brand_id)
    row = commands.create_collection(
        db(), business_id, name=sent.name, groups=[group.wanted() for group in sent.groups], description=sent.description or "",
        **{column: getattr(sent, name) for name, column in DEFAULTS.items()},
    )  # fmt: skip
    return json_response(CollectionShape.of(*read.collection(db(), row.id)))


@bp.get("/product-collections", endpoint="collections")
@route_spec(CollectionItemShape, form="items", query=CollectionQuery)
def index() -> ResponseReturnValue:
    """List product collections, newest first."""
    params = query(CollectionQuery)
    if params.brand_id not in (None, caller().business_id):
        return items([])
    return items(CollectionItemShape.of(*row) for row in read.collections(db(), params.page, archived=params.archived))


@bp.get("/product-collections/<collection_id>", endpoint="collection")
@route_spec(CollectionShape, query=Localized)
def show(collection_id: str) -> ResponseReturnValue:
    """Return a product collection with its groups and products."""
    query(Localized)
    return json_response(CollectionShape.of(*read.collection(db(), collection_id)))


@bp.patch("/product-collections/<collection_id>", endpoint="change_collection")
@route_spec(body=CollectionChange, errors=(410,))
def change(collection_id: str) -> ResponseReturnValue:
    """Update a product collection. Fields that are not sent stay unchanged.

    A default that is null is inherited from the business. `group_order` must name every group.
    """
    read.collection(db(), collection_id)
    sent = body(CollectionChange)
    _check_brand(sent.brand_id)
    if "image_id" in sent.model_fields_set:
        set_picture(db(), collection_id, sent.image_id)
    changes: dict[str, Any] = given(sent, {"name": "name"})
    if "description" in sent.model_fields_set:
        changes["description"] = sent.description or ""
    changes |= {column: getattr(sent, name) for name, column in DEFAULTS.items() if name in sent.model_fields_set}
    commands.update_collection(db(), collection_id, group_order=sent.group_order, **changes)
    return "", 200


@bp.delete("/product-collections/<collection_id>", endpoint="archive_collection")
@route_spec(errors=(410,))
def archive(collection_id: str) -> ResponseReturnValue:
    """Archive a product collection."""
    commands.archive_collection(db(), collection_id)
    return "", 200


@bp.post("/product-collections/<collection_id>/unarchive", endpoint="unarchive_collection")
@route_spec(Unarchived)
def unarchive(collection_id: str) -> ResponseReturnValue:
    """Unarchive a product collection.

    `excluded_product_ids` are products that are now archived or in another collection.
    """
    row, gone = commands.unarchive_collection(db(), collection_id)
    return json_response(Unarchived(collection_id=row.id, excluded_product_ids=gone, message="The collection is active again."))


def _check_brand(brand_id: str | None) -> None:
    if brand_id not in (None, caller().business_id):
        raise Invalid(sentence="brand_id: this brand does not exist.", fields={"brand_id": "This brand does not exist."})
