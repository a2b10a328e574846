"""The calling business's add-ons."""

from __future__ import annotations

from typing import Annotated

from flask.typing import ResponseReturnValue
from pydantic import StringConstraints

from billing.commands import addons as commands
from billing.commands.pictures import set_picture
from billing.queries import catalogue as read
from core.web import db
from tenants.api.door import bp, caller
from tenants.api.products import Description, Name, TaxCategory
from tenants.api.reading import Amount, Body, CurrencyCode, Localized, PageQuery, body, given, query
from tenants.api.saying import says
from tenants.api.shapes import items, one
from tenants.api.shapes.catalogue import AddonShape

ImageId = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class NewAddon(Body):
    currency: CurrencyCode
    name: Name
    price: Amount
    tax_category: TaxCategory
    description: Description | None = None


class AddonChange(Body):
    currency: CurrencyCode | None = None
    description: Description | None = None
    image_id: ImageId | None = None
    name: Name | None = None
    price: Amount | None = None
    tax_category: TaxCategory | None = None


class AddonQuery(PageQuery, Localized):
    archived: bool = False


@bp.post("/addons", endpoint="create_addon")
@says(AddonShape, takes=NewAddon)
def create() -> ResponseReturnValue:
    sent = body(NewAddon)
    row = commands.create_addon(
        db(), caller().business_id, name=sent.name, currency=sent.currency, price=sent.price, tax_category=sent.tax_category,
        description=sent.description or "",
    )  # fmt: skip
    return one(AddonShape.of(row))


@bp.get("/addons", endpoint="addons")
@says(AddonShape, form="items", asks=AddonQuery)
def index() -> ResponseReturnValue:
    asked = query(AddonQuery)
    return items(AddonShape.of(row) for row in read.addons(db(), asked.page, archived=asked.archived))


@bp.get("/addons/<addon_id>", endpoint="addon")
@says(AddonShape, asks=Localized)
def show(addon_id: str) -> ResponseReturnValue:
    query(Localized)
    return one(AddonShape.of(read.addon(db(), addon_id)))


@bp.patch("/addons/<addon_id>", endpoint="change_addon")
@says(AddonShape, takes=AddonChange)
def change(addon_id: str) -> ResponseReturnValue:
    """Only what is given changes. `image_id`: one that PUT …/images answered; null takes the picture away."""
    read.addon(db(), addon_id)
    sent = body(AddonChange)
    if "image_id" in sent.model_fields_set:
        set_picture(db(), addon_id, sent.image_id)
    changes = given(sent, {"currency": "currency", "name": "name", "price": "price_minor", "tax_category": "tax_category"})
    if "description" in sent.model_fields_set:
        changes["description"] = sent.description or ""
    return one(AddonShape.of(commands.update_addon(db(), addon_id, **changes)))


@bp.delete("/addons/<addon_id>", endpoint="archive_addon")
@says(refuses=(410,))
def archive(addon_id: str) -> ResponseReturnValue:
    commands.archive_addon(db(), addon_id)
    return "", 200


@bp.post("/addons/<addon_id>/unarchive", endpoint="unarchive_addon")
@says()
def unarchive(addon_id: str) -> ResponseReturnValue:
    commands.unarchive_addon(db(), addon_id)
    return "", 200
