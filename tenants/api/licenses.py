"""What a sold program calls about its key. Open without an API key, so it says little and only so often (safety 5.2)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from flask import g, jsonify
from flask.typing import ResponseReturnValue
from pydantic import StringConstraints

from auth.budgets import Limit, is_spent, spend
from billing.commands import licensing
from billing.queries import license_text as find
from billing.queries.license_text import Found
from core.errors import Forbidden, NotFound, TooMany
from core.scope import system
from core.web import house
from tenants.api.door import bp, without_key
from tenants.api.reading import Body, Id
from tenants.api.reading import body as read_body
from tenants.api.saying import says
from tenants.api.shapes import CustomerLimited, Shape, Stamp, one
from tenants.api.source import source

KeyText = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Asked(Body):
    """`business_id` is our addition: keys that a business brought along may be short, and resolve only with it."""

    license_key: KeyText
    business_id: Id | None = None


class Activation(Asked):
    name: str


class Deactivation(Asked):
    license_key_instance_id: Id


class Validation(Asked):
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
@says(Activated, takes=Activation, status=201, refuses=(403,))
def activate() -> ResponseReturnValue:
    sent = read_body(Activation)
    found = _known(sent)
    if found.archived:
        raise Forbidden("INACTIVE_LICENSE_KEY", "This licence key is not active.")
    with house().database.open(system(found.business_id), write=True) as db:
        place, key = licensing.activate(db, found.id, sent.name)
        customer, product_name = find.owner(db, key)
        buyer = CustomerLimited.of(customer)
        product = ProductNamed(product_id=key.product_id, name=product_name)
    if g.caller is None or g.caller.business_id != found.business_id:
        buyer = _masked(buyer)
    return one(
        Activated(
            id=place.id, business_id=place.business_id, created_at=place.created_at, customer=buyer, license_key_id=place.license_key_id,
            name=place.name, product=product,
        ), 201,
    )  # fmt: skip


@bp.post("/licenses/deactivate", endpoint="deactivate_license")
@without_key
@says(takes=Deactivation, refuses=(403,))
def deactivate() -> ResponseReturnValue:
    sent = read_body(Deactivation)
    found = _known(sent)
    if not spend(house().database, [Limit(f"licence:free:{found.id}", 10, timedelta(hours=1))]):
        raise TooMany()
    with house().database.open(system(found.business_id), write=True) as db:
        licensing.deactivate(db, found.id, sent.license_key_instance_id)
    return "", 200


@bp.post("/licenses/validate", endpoint="validate_license")
@without_key
@says(Validity, takes=Validation)
def validate() -> ResponseReturnValue:
    sent = read_body(Validation)
    try:
        found = _known(sent)
    except NotFound:
        return jsonify(valid=False)
    with house().database.open(system(found.business_id)) as db:
        return jsonify(valid=not found.archived and find.is_valid(db, found.id, sent.license_key_instance_id))


def _known(sent: Asked) -> Found:
    """The key meant. Raises NotFound, which costs its source one of 20 a minute; TooMany after those."""
    business_id = sent.business_id or (g.caller.business_id if g.caller else None)
    limit = Limit(f"licence:unknown:{source()}", 20, timedelta(minutes=1))
    if is_spent(house().database, limit):
        raise TooMany()
    found = find.by_text(house().database, sent.license_key, business_id)
    if found is None:
        if not spend(house().database, [limit]):
            raise TooMany()
        raise NotFound("LICENSE_KEY_NOT_FOUND", "There is no such licence key.")
    return found


def _masked(buyer: CustomerLimited) -> CustomerLimited:
    """A key found somewhere shall not tell whose it is: `A…`, `a…@example.com`."""
    local, _, domain = buyer.email.partition("@")
    return CustomerLimited(
        customer_id=buyer.customer_id, email=f"{local[:1]}…@{domain}", name=f"{buyer.name[:1]}…", metadata={}, phone_number=None
    )
