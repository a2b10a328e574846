"""A business has one brand here, whose id is the business's (reference §1.6)."""

from __future__ import annotations

from flask import jsonify
from flask.typing import ResponseReturnValue

from billing import policy
from billing.parties import Business
from billing.queries import api as read
from core.brand import logo_path
from core.errors import NotFound
from core.web import db, external
from tenants.api.door import bp, caller
from tenants.api.reading import Query, query
from tenants.api.saying import says
from tenants.api.shapes import Shape, Stamp


class BrandShape(Shape):
    brand_id: str
    business_id: str
    enabled: bool = True
    statement_descriptor: str
    verification_enabled: bool = False
    verification_status: str = "Success"
    archived_at: Stamp | None
    description: str | None = None
    image: str | None = None
    name: str
    reason_for_hold: str | None = None
    support_email: str | None
    url: str | None = None

    @classmethod
    def of(cls, row: Business) -> BrandShape:
        return cls(
            brand_id=row.business_id, business_id=row.business_id, statement_descriptor=row.name[:22], archived_at=row.archived_at,
            name=row.name, support_email=row.support_email or None, url=policy.setting(row, "portal_return_url"),
            image=external(logo) if (logo := logo_path(row.business_id, row.brand or {})) else None,
        )  # fmt: skip


class BrandQuery(Query):
    """`include_archived` changes nothing: an archived business has no API key that works, so its brand is never asked for."""

    include_archived: bool = False


@bp.get("/brands", endpoint="brands")
@says(BrandShape, form="items", asks=BrandQuery)
def index() -> ResponseReturnValue:
    query(BrandQuery)
    return jsonify(items=[BrandShape.of(read.business(db(), caller().business_id)).json()])


@bp.get("/brands/<brand_id>", endpoint="brand")
@says(BrandShape)
def show(brand_id: str) -> ResponseReturnValue:
    if brand_id != caller().business_id:
        raise NotFound()
    return jsonify(BrandShape.of(read.business(db(), brand_id)).json())
