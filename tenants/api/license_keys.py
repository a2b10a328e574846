"""Licence keys and their activations, as the calling business sees them."""

from __future__ import annotations

from typing import Annotated, Literal

from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints

from billing.commands.license_keys import bring_key, change_key, rename_instance
from billing.queries import api as read
from core.web import db
from tenants.api.door import bp
from tenants.api.reading import Body, Id, Instant, Many, PageQuery, body, given, query
from tenants.api.saying import says
from tenants.api.shapes import items, one
from tenants.api.shapes.licences import LicenseInstanceShape, LicenseKeyShape

Limit = Annotated[int, Field(ge=0, le=1_000_000)]


class LicenseKeyQuery(PageQuery):
    customer_id: str | None = None
    product_id: str | None = None
    source: Literal["auto", "import", "manual"] | None = None
    status: Annotated[list[Literal["active", "expired", "disabled"]] | None, Many] = None


class InstanceQuery(PageQuery):
    license_key_id: str | None = None
    grant_id: str | None = None


class NewLicenseKey(Body):
    customer_id: Id
    key: Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
    product_id: Id
    activations_limit: Limit | None = None
    expires_at: Instant | None = None


class LicenseKeyChange(Body):
    """null: any number of places, and no end."""

    activations_limit: Limit | None = None
    disabled: bool | None = None
    expires_at: Instant | None = None


class InstanceChange(Body):
    name: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


@bp.post("/license_keys", endpoint="create_license_key")
@says(LicenseKeyShape, takes=NewLicenseKey, status=201)
def create() -> ResponseReturnValue:
    """A key that was made elsewhere, for a customer who has it."""
    sent = body(NewLicenseKey)
    return one(LicenseKeyShape.of(bring_key(db(), **sent.model_dump())), 201)


@bp.get("/license_keys", endpoint="license_keys")
@says(LicenseKeyShape, form="items", asks=LicenseKeyQuery)
def index() -> ResponseReturnValue:
    asked = query(LicenseKeyQuery)
    rows = read.license_keys(
        db(), asked.page, customer_id=asked.customer_id, product_id=asked.product_id, source=asked.source, status=asked.status
    )
    return items(LicenseKeyShape.of(row) for row in rows)


@bp.get("/license_keys/<key_id>", endpoint="license_key")
@says(LicenseKeyShape)
def show(key_id: str) -> ResponseReturnValue:
    return one(LicenseKeyShape.of(read.license_key(db(), key_id)))


@bp.patch("/license_keys/<key_id>", endpoint="change_license_key")
@says(LicenseKeyShape, takes=LicenseKeyChange)
def change(key_id: str) -> ResponseReturnValue:
    read.license_key(db(), key_id)
    sent = body(LicenseKeyChange)
    changes = given(sent, {"disabled": "disabled"})
    changes |= {name: getattr(sent, name) for name in ("activations_limit", "expires_at") if name in sent.model_fields_set}
    return one(LicenseKeyShape.of(change_key(db(), key_id, **changes)))


@bp.get("/license_key_instances", endpoint="license_instances")
@says(LicenseInstanceShape, form="items", asks=InstanceQuery)
def instances() -> ResponseReturnValue:
    asked = query(InstanceQuery)
    if asked.grant_id is not None:
        return items([])  # keys come with products here, not with grants
    return items(LicenseInstanceShape.of(row) for row in read.license_instances(db(), asked.page, license_key_id=asked.license_key_id))


@bp.get("/license_key_instances/<instance_id>", endpoint="license_instance")
@says(LicenseInstanceShape)
def instance(instance_id: str) -> ResponseReturnValue:
    return one(LicenseInstanceShape.of(read.license_instance(db(), instance_id)))


@bp.patch("/license_key_instances/<instance_id>", endpoint="change_license_instance")
@says(LicenseInstanceShape, takes=InstanceChange)
def rename(instance_id: str) -> ResponseReturnValue:
    read.license_instance(db(), instance_id)
    return one(LicenseInstanceShape.of(rename_instance(db(), instance_id, body(InstanceChange).name)))
