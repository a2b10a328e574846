"""License keys of the calling business and their activations."""

from __future__ import annotations

from typing import Annotated, Literal

from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints

from billing.history import api_lists as read
from billing.licenses.manage import bring_key, change_key, rename_instance
from core.request_context import db
from tenants.api.authentication import bp
from tenants.api.request_parsing import Body, Id, Instant, Many, PageQuery, body, given, query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import items, json_response
from tenants.api.shapes.licenses import LicenseInstanceShape, LicenseKeyShape

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
    """Changes to a license key. A null `activations_limit` means unlimited activations, a null `expires_at` means no expiry."""

    activations_limit: Limit | None = None
    disabled: bool | None = None
    expires_at: Instant | None = None


class InstanceChange(Body):
    name: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


@bp.post("/license_keys", endpoint="create_license_key")
@route_spec(LicenseKeyShape, body=NewLicenseKey, status=201)
def create() -> ResponseReturnValue:
    """Import a license key that was created elsewhere and assign it to a customer."""
    sent = body(NewLicenseKey)
    return json_response(LicenseKeyShape.of(bring_key(db(), **sent.model_dump())), 201)


@bp.get("/license_keys", endpoint="license_keys")
@route_spec(LicenseKeyShape, form="items", query=LicenseKeyQuery)
def index() -> ResponseReturnValue:
    """List license keys, newest first."""
    params = query(LicenseKeyQuery)
    rows = read.license_keys(
        db(), params.page, customer_id=params.customer_id, product_id=params.product_id, source=params.source, status=params.status
    )
    return items(LicenseKeyShape.of(row) for row in rows)


@bp.get("/license_keys/<key_id>", endpoint="license_key")
@route_spec(LicenseKeyShape)
def show(key_id: str) -> ResponseReturnValue:
    """Return a license key."""
    return json_response(LicenseKeyShape.of(read.license_key(db(), key_id)))


@bp.patch("/license_keys/<key_id>", endpoint="change_license_key")
@route_spec(LicenseKeyShape, body=LicenseKeyChange)
def change(key_id: str) -> ResponseReturnValue:
    """Update a license key. Fields that are not sent stay unchanged."""
    read.license_key(db(), key_id)
    sent = body(LicenseKeyChange)
    changes = given(sent, {"disabled": "disabled"})
    changes |= {name: getattr(sent, name) for name in ("activations_limit", "expires_at") if name in sent.model_fields_set}
    return json_response(LicenseKeyShape.of(change_key(db(), key_id, **changes)))


@bp.get("/license_key_instances", endpoint="license_instances")
@route_spec(LicenseInstanceShape, form="items", query=InstanceQuery)
def instances() -> ResponseReturnValue:
    """List the activations of license keys."""
    params = query(InstanceQuery)
    if params.grant_id is not None:
        return items([])  # license keys belong to products; there are no entitlement grants
    return items(LicenseInstanceShape.of(row) for row in read.license_instances(db(), params.page, license_key_id=params.license_key_id))


@bp.get("/license_key_instances/<instance_id>", endpoint="license_instance")
@route_spec(LicenseInstanceShape)
def instance(instance_id: str) -> ResponseReturnValue:
    """Return an activation of a license key."""
    return json_response(LicenseInstanceShape.of(read.license_instance(db(), instance_id)))


@bp.patch("/license_key_instances/<instance_id>", endpoint="change_license_instance")
@route_spec(LicenseInstanceShape, body=InstanceChange)
def rename(instance_id: str) -> ResponseReturnValue:
    """Rename an activation of a license key."""
    read.license_instance(db(), instance_id)
    return json_response(LicenseInstanceShape.of(rename_instance(db(), instance_id, body(InstanceChange).name)))
