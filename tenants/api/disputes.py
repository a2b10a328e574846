"""Disputes of the calling business's payments. They are answered at the payment processor."""

from __future__ import annotations

from typing import Literal

from flask.typing import ResponseReturnValue

from billing.history import disputes as read
from core.request_context import db
from tenants.api.authentication import bp
from tenants.api.request_parsing import PageQuery, query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import items, json_response
from tenants.api.shapes.disputes import DisputeItem, DisputeShape

Status = Literal[
    "dispute_opened", "dispute_expired", "dispute_accepted", "dispute_cancelled", "dispute_challenged", "dispute_won", "dispute_lost"
]


class DisputeQuery(PageQuery):
    customer_id: str | None = None
    dispute_stage: Literal["pre_dispute", "dispute", "pre_arbitration"] | None = None
    dispute_status: Status | None = None


@bp.get("/disputes", endpoint="disputes")
@route_spec(DisputeItem, form="items", query=DisputeQuery)
def index() -> ResponseReturnValue:
    """List disputes, newest first."""
    params = query(DisputeQuery)
    rows = read.api_disputes(
        db(), params.page, customer_id=params.customer_id, status=params.dispute_status, stage=params.dispute_stage,
    )  # fmt: skip
    return items(DisputeItem.of(row) for row in rows)


@bp.get("/disputes/<dispute_id>", endpoint="dispute")
@route_spec(DisputeShape)
def show(dispute_id: str) -> ResponseReturnValue:
    """Return a dispute."""
    found = read.dispute(db(), dispute_id)
    return json_response(DisputeShape.of_customer(found.dispute, found.customer))
