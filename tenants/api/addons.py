"""Add-ons of the calling business."""

from __future__ import annotations

from typing import Annotated

from flask.typing import ResponseReturnValue
from pydantic import StringConstraints

from billing.catalogue import addons as commands
from billing.catalogue import api_queries as read
from billing.catalogue.pictures import set_picture
from billing.model.catalogue import TaxCategory
from core.request_context import db
from tenants.api.authentication import bp, caller
from tenants.api.products import Description, Name
from tenants.api.request_parsing import Amount, Body, CurrencyCode, Localized, PageQuery, body, given, query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import items, json_response
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
@route_spec(AddonShape, body=NewAddon)
def create() -> ResponseReturnValue:
    """Create an add-on."""
    sent = body(NewAddon)
    row = commands.create_addon(
        db(), caller().business_id, name=sent.name, currency=sent.currency, price=sent.price, tax_category=sent.tax_category,
        description=sent.description or "",
    )  # fmt: skip
    return json_response(AddonShape.of(row))


@bp.get("/addons", endpoint="addons")
@route_spec(AddonShape, form="items", query=AddonQuery)
def index() -> ResponseReturnValue:
    """List add-ons, newest first."""
    params = query(AddonQuery)
    return items(AddonShape.of(row) for row in read.addons(db(), params.page, archived=params.archived))


@bp.get("/addons/<addon_id>", endpoint="addon")
@route_spec(AddonShape, query=Localized)
def show(addon_id: str) -> ResponseReturnValue:
    """Return an add-on."""
    query(Localized)
    return json_response(AddonShape.of(read.addon(db(), addon_id)))


@bp.patch("/addons/<addon_id>", endpoint="change_addon")
@route_spec(AddonShape, body=AddonChange)
def change(addon_id: str) -> ResponseReturnValue:
    """Update an add-on. Fields that are not sent stay unchanged.

    `image_id` is an id returned by `PUT /addons/{addon_id}/images`; null removes the image.
    """
    read.addon(db(), addon_id)
    sent = body(AddonChange)
    if "image_id" in sent.model_fields_set:
        set_picture(db(), addon_id, sent.image_id)
    changes = given(sent, {"currency": "currency", "name": "name", "price": "price_minor", "tax_category": "tax_category"})
    if "description" in sent.model_fields_set:
        changes["description"] = sent.description or ""
    return json_response(AddonShape.of(commands.update_addon(db(), addon_id, **changes)))


@bp.delete("/addons/<addon_id>", endpoint="archive_addon")
@route_spec(errors=(410,))
def archive(addon_id: str) -> ResponseReturnValue:
    """Archive an add-on. It cannot be bought any more."""
    commands.archive_addon(db(), addon_id)
    return "", 200


@bp.post("/addons/<addon_id>/unarchive", endpoint="unarchive_addon")
@route_spec()
def unarchive(addon_id: str) -> ResponseReturnValue:
    """Unarchive an add-on, so that it can be bought again."""
    commands.unarchive_addon(db(), addon_id)
    return "", 200
