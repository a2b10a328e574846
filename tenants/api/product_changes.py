"""Update, archive and unarchive products."""

from __future__ import annotations

from typing import Any

from flask.typing import ResponseReturnValue

from billing.catalogue import products as commands
from billing.catalogue.pictures import set_picture
from billing.history import api_lists as read
from billing.model.catalogue import TaxCategory
from core.errors import Invalid
from core.request_context import db
from tenants.api.addons import ImageId
from tenants.api.authentication import bp, caller
from tenants.api.products import Addons, Description, DigitalDelivery, Duration, KeyLimit, KeyMessage, Name, Price, price_of
from tenants.api.request_parsing import Body, Id, Metadata, body, given
from tenants.api.route_spec import route_spec


class ProductChange(Body):
    addons: Addons | None = None
    brand_id: Id | None = None
    description: Description | None = None
    digital_product_delivery: DigitalDelivery | None = None
    image_id: ImageId | None = None
    license_key_activation_message: KeyMessage | None = None
    license_key_activations_limit: KeyLimit | None = None
    license_key_duration: Duration | None = None
    license_key_enabled: bool | None = None
    metadata: Metadata | None = None
    name: Name | None = None
    price: Price | None = None
    successor_product_id: Id | None = None
    tax_category: TaxCategory | None = None


@bp.patch("/products/<product_id>", endpoint="change_product")
@route_spec(body=ProductChange)
def change(product_id: str) -> ResponseReturnValue:
    """Update a product. Fields that are not sent stay unchanged; null clears an optional field.

    Existing subscriptions keep the price they were sold at.
    """
    read.product(db(), product_id)
    sent = body(ProductChange)
    if sent.brand_id not in (None, caller().business_id):
        raise Invalid(sentence="brand_id: this brand does not exist.", fields={"brand_id": "This brand does not exist."})
    if "image_id" in sent.model_fields_set:
        set_picture(db(), product_id, sent.image_id)
    changes = given(sent, {"addons": "addons", "license_key_enabled": "license_key_enabled", "metadata": "meta", "name": "name",
                           "tax_category": "tax_category"})  # fmt: skip
    changes |= _clearable(sent)
    price = price_of(sent.price) if sent.price else None
    commands.update_product(db(), product_id, price=price, **changes)
    return "", 200


@bp.delete("/products/<product_id>", endpoint="archive_product")
@route_spec(errors=(410,))
def archive(product_id: str) -> ResponseReturnValue:
    """Archive a product. It cannot be bought any more; existing subscriptions are not affected."""
    commands.archive_product(db(), product_id)
    return "", 200


@bp.post("/products/<product_id>/unarchive", endpoint="unarchive_product")
@route_spec()
def unarchive(product_id: str) -> ResponseReturnValue:
    """Unarchive a product, so that it can be bought again."""
    commands.unarchive_product(db(), product_id)
    return "", 200


def _clearable(sent: ProductChange) -> dict[str, Any]:
    plain = sent.model_dump()
    columns = {
        "description": plain["description"] or "", "download": plain["digital_product_delivery"],
        "license_key_message": plain["license_key_activation_message"], "license_key_limit": plain["license_key_activations_limit"],
        "license_key_duration": plain["license_key_duration"], "successor_id": plain["successor_product_id"],
    }  # fmt: skip
    names = ("description", "digital_product_delivery", "license_key_activation_message", "license_key_activations_limit",
             "license_key_duration", "successor_product_id")  # fmt: skip
    return {column: columns[column] for name, column in zip(names, columns, strict=True) if name in sent.model_fields_set}
