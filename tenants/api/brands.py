"""A business has exactly one brand, with the id of the business (reference §1.6)."""

from __future__ import annotations

from flask import jsonify
from flask.typing import ResponseReturnValue

from billing.history import api_lists as read
from billing.model import policy
from billing.model.parties import Business
from core.brand import logo_path
from core.errors import NotFound
from core.links import external
from core.request_context import db
from tenants.api.authentication import bp, caller
from tenants.api.request_parsing import Query, query
from tenants.api.route_spec import route_spec
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
    """`include_archived` has no effect: the API keys of an archived business do not work."""

    include_archived: bool = False


@bp.get("/brands", endpoint="brands")
@route_spec(BrandShape, form="items", query=BrandQuery)
def index() -> ResponseReturnValue:
    """List the brands of the business. There is exactly one, with the id of the business."""
    query(BrandQuery)
    return jsonify(items=[BrandShape.of(read.business(db(), caller().business_id)).json()])


@bp.get("/brands/<brand_id>", endpoint="brand")
@route_spec(BrandShape)
def show(brand_id: str) -> ResponseReturnValue:
    """Return the brand of the business."""
    if brand_id != caller().business_id:
        raise NotFound()
    return jsonify(BrandShape.of(read.business(db(), brand_id)).json())
