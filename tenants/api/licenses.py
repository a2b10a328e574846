"""License checks that a sold program makes: activate, deactivate, validate.

These routes need no API key, so they reveal little and are rate-limited (safety 5.2).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from flask import g, jsonify
from flask.typing import ResponseReturnValue
from pydantic import StringConstraints

from auth.rate_limits import Limit, is_spent, spend
from billing.licenses import activations
from billing.licenses import lookup as find
from billing.licenses.lookup import LicenseMatch
from core.errors import N_, Forbidden, NotFound, TooMany
from core.request_context import services
from core.scope import system
from tenants.api.authentication import bp, without_key
from tenants.api.client_address import source
from tenants.api.request_parsing import Body, Id
from tenants.api.request_parsing import body as read_body
from tenants.api.route_spec import route_spec
from tenants.api.shapes import CustomerLimited, Shape, Stamp, json_response

KeyText = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class LicenseRequest(Body):
    """`business_id` is an extension of the contract. Imported keys may be short; they are found only together with it."""

    license_key: KeyText
    business_id: Id | None = None


class Activation(LicenseRequest):
    name: str


class Deactivation(LicenseRequest):
    license_key_instance_id: Id


class Validation(LicenseRequest):
    license_key_instance_id: Id | None = None


class ProductNamed(Shape):
    product_id: str
    name: str | None


class Activated(Shape):
    id: str
    business_id: str
    created_at: Stamp
    customer: CustomerLimited
    license_key_id: str
    name: str
    product: ProductNamed


class Validity(Shape):
    valid: bool


@bp.post("/licenses/activate", endpoint="activate_license")
@without_key
@route_spec(Activated, body=Activation, status=201, errors=(403,))
def activate() -> ResponseReturnValue:
    """Activate a license key. Without the API key of its business the name and email of the customer are masked."""
    sent = read_body(Activation)
    found = _find_key(sent)
    if found.archived:
        raise Forbidden("INACTIVE_LICENSE_KEY", N_("This license key is not active."))
    with services().database.open(system(found.business_id), write=True) as db:
        activation, key = activations.activate(db, found.id, sent.name)
        customer, product_name = find.owner(db, key)
        customer_shape = CustomerLimited.of(customer)
        product = ProductNamed(product_id=key.product_id, name=product_name)
    if g.caller is None or g.caller.business_id != found.business_id:
        customer_shape = _masked(customer_shape)
    return json_response(
        Activated(
            id=activation.id, business_id=activation.business_id, created_at=activation.created_at, customer=customer_shape,
            license_key_id=activation.license_key_id, name=activation.name, product=product,
        ), 201,
    )  # fmt: skip


@bp.post("/licenses/deactivate", endpoint="deactivate_license")
@without_key
@route_spec(body=Deactivation, errors=(403,))
def deactivate() -> ResponseReturnValue:
    """Deactivate an activation of a license key. A key can be deactivated 10 times an hour."""
    sent = read_body(Deactivation)
    found = _find_key(sent)
    if not spend(services().database, [Limit(f"license:free:{found.id}", 10, timedelta(hours=1))]):
        raise TooMany()
    with services().database.open(system(found.business_id), write=True) as db:
        activations.deactivate(db, found.id, sent.license_key_instance_id)
    return "", 200


@bp.post("/licenses/validate", endpoint="validate_license")
@without_key
@route_spec(Validity, body=Validation)
def validate() -> ResponseReturnValue:
    """Return whether a license key is valid and, with `license_key_instance_id`, whether that activation exists."""
    sent = read_body(Validation)
    try:
        found = _find_key(sent)
    except NotFound:
        return jsonify(valid=False)
    with services().database.open(system(found.business_id)) as db:
        return jsonify(valid=not found.archived and find.is_valid(db, found.id, sent.license_key_instance_id))


def _find_key(sent: LicenseRequest) -> LicenseMatch:
    """Return the license key of the request.

    Raises NotFound, which a client address may cause 20 times a minute, and TooMany after that.
    """
    business_id = sent.business_id or (g.caller.business_id if g.caller else None)
    limit = Limit(f"license:unknown:{source()}", 20, timedelta(minutes=1))
    if is_spent(services().database, limit):
        raise TooMany()
    found = find.by_text(services().database, sent.license_key, business_id)
    if found is None:
        if not spend(services().database, [limit]):
            raise TooMany()
        raise NotFound("LICENSE_KEY_NOT_FOUND", "This license key does not exist.")
    return found


def _masked(customer_shape: CustomerLimited) -> CustomerLimited:
    """Hide the owner of the key, because somebody else may have found it: `A…`, `a…@example.com`."""
    local, _, domain = customer_shape.email.partition("@")
    return CustomerLimited(
        customer_id=customer_shape.customer_id,
        email=f"{local[:1]}…@{domain}",
        name=f"{customer_shape.name[:1]}…",
        metadata={},
        phone_number=None,
    )
