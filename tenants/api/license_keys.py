"""Licence keys and their activations, as the calling business sees them."""

from __future__ import annotations

from typing import Annotated, Literal

from flask.typing import ResponseReturnValue

from billing.queries import api as read
from core.web import db
from tenants.api.door import bp
from tenants.api.reading import Many, PageQuery, query
from tenants.api.shapes import items, one
from tenants.api.shapes.licences import LicenseInstanceShape, LicenseKeyShape


class LicenseKeyQuery(PageQuery):
    customer_id: str | None = None
    product_id: str | None = None
    source: Literal["auto", "import", "manual"] | None = None
    status: Annotated[list[Literal["active", "expired", "disabled"]] | None, Many] = None


class InstanceQuery(PageQuery):
    license_key_id: str | None = None
    grant_id: str | None = None


@bp.get("/license_keys", endpoint="license_keys")
def index() -> ResponseReturnValue:
    asked = query(LicenseKeyQuery)
    rows = read.license_keys(
        db(), asked.page, customer_id=asked.customer_id, product_id=asked.product_id, source=asked.source, status=asked.status
    )
    return items(LicenseKeyShape.of(row) for row in rows)


@bp.get("/license_keys/<key_id>", endpoint="license_key")
def show(key_id: str) -> ResponseReturnValue:
    return one(LicenseKeyShape.of(read.license_key(db(), key_id)))


@bp.get("/license_key_instances", endpoint="license_instances")
def instances() -> ResponseReturnValue:
    asked = query(InstanceQuery)
    if asked.grant_id is not None:
        return items([])  # keys come with products here, not with grants
    return items(LicenseInstanceShape.of(row) for row in read.license_instances(db(), asked.page, license_key_id=asked.license_key_id))


@bp.get("/license_key_instances/<instance_id>", endpoint="license_instance")
def instance(instance_id: str) -> ResponseReturnValue:
    return one(LicenseInstanceShape.of(read.license_instance(db(), instance_id)))
