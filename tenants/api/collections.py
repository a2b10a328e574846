"""Product collections: the plans that customers may change between."""

from __future__ import annotations

from typing import Annotated, Any

from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints

from billing.commands import collections as commands
from billing.commands.collections import GroupWanted
from billing.commands.pictures import set_picture
from billing.queries import catalogue as read
from core.errors import Invalid
from core.web import db
from tenants.api.addons import ImageId
from tenants.api.door import bp, caller
from tenants.api.products import Description, Name
from tenants.api.reading import Body, Id, Localized, PageQuery, body, given, query
from tenants.api.saying import says
from tenants.api.shapes import items, one
from tenants.api.shapes.catalogue import CollectionItemShape, CollectionShape, Failure, Mode, Unarchived, When

DEFAULTS = {
    "effective_at_on_upgrade": "effective_on_upgrade", "effective_at_on_downgrade": "effective_on_downgrade",
    "proration_billing_mode_on_upgrade": "proration_on_upgrade", "proration_billing_mode_on_downgrade": "proration_on_downgrade",
    "on_payment_failure": "on_payment_failure",
}  # fmt: skip
GroupName = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class ProductIn(Body):
    """`status`: whether people may move to it."""

    product_id: Id
    status: bool | None = None


Products = Annotated[list[ProductIn], Field(min_length=1, max_length=200)]


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


def pairs(products: list[ProductIn]) -> list[tuple[str, bool]]:
    return [(product.product_id, product.status is not False) for product in products]


@bp.post("/product-collections", endpoint="create_collection")
@says(CollectionShape, takes=NewCollection, refuses=(410,))
def create() -> ResponseReturnValue:
    sent, business_id = body(NewCollection), caller().business_id
    _check_brand(sent.brand_id)
    row = commands.create_collection(
        db(), business_id, name=sent.name, groups=[group.wanted() for group in sent.groups], description=sent.description or "",
        **{column: getattr(sent, name) for name, column in DEFAULTS.items()},
    )  # fmt: skip
    return one(CollectionShape.of(*read.collection(db(), row.id)))


@bp.get("/product-collections", endpoint="collections")
@says(CollectionItemShape, form="items", asks=CollectionQuery)
def index() -> ResponseReturnValue:
    asked = query(CollectionQuery)
    if asked.brand_id not in (None, caller().business_id):
        return items([])
    return items(CollectionItemShape.of(*row) for row in read.collections(db(), asked.page, archived=asked.archived))


@bp.get("/product-collections/<collection_id>", endpoint="collection")
@says(CollectionShape, asks=Localized)
def show(collection_id: str) -> ResponseReturnValue:
    query(Localized)
    return one(CollectionShape.of(*read.collection(db(), collection_id)))


@bp.patch("/product-collections/<collection_id>", endpoint="change_collection")
@says(takes=CollectionChange, refuses=(410,))
def change(collection_id: str) -> ResponseReturnValue:
    """Only what is given changes. A null default is inherited from the business. `group_order` names every group."""
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
@says(refuses=(410,))
def archive(collection_id: str) -> ResponseReturnValue:
    commands.archive_collection(db(), collection_id)
    return "", 200


@bp.post("/product-collections/<collection_id>/unarchive", endpoint="unarchive_collection")
@says(Unarchived)
def unarchive(collection_id: str) -> ResponseReturnValue:
    row, gone = commands.unarchive_collection(db(), collection_id)
    return one(Unarchived(collection_id=row.id, excluded_product_ids=gone, message="The collection is in use again."))


def _check_brand(brand_id: str | None) -> None:
    if brand_id not in (None, caller().business_id):
        raise Invalid(sentence="brand_id: there is no such brand.", fields={"brand_id": "There is no such brand."})
