"""The refund policy of the business. An addition to the contract: the console page Settings → Refunds has the same data."""

from __future__ import annotations

from typing import Annotated, Literal

from flask import jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field

from billing.customers import refund_policy as command
from billing.model.refund_policy import ANSWER_DAYS, MOST_DAYS, MOST_MONTHS, RefundPolicy
from core.request_context import db
from tenants.api.authentication import bp
from tenants.api.request_parsing import Body, body
from tenants.api.route_spec import route_spec
from tenants.api.shapes import Shape

Kind = Literal["one_time", "first_payment", "renewal"]


class RefundPolicyChanges(Body):
    """The values to change; the others stay. `kinds` replaces the whole list."""

    enabled: bool | None = None
    days: Annotated[int, Field(ge=1, le=MOST_DAYS)] | None = None
    kinds: Annotated[list[Kind], Field(max_length=3)] | None = None
    amount: Literal["full", "prorated"] | None = None
    months_between_refunds: Annotated[int, Field(ge=0, le=MOST_MONTHS)] | None = None
    license_keys: Literal["any", "not_activated"] | None = None
    requests_enabled: bool | None = None
    answer_within_working_days: Annotated[int, Field(ge=ANSWER_DAYS[0], le=ANSWER_DAYS[1])] | None = None


class RefundPolicyShape(Shape):
    """Customers refund payments of these `kinds` within `days` themselves. `amount` prorated: the unused time of the billing period.

    `months_between_refunds` 0: without limit. `license_keys` not_activated: only while none is activated. `requests_enabled`: customers
    may request other refunds, which staff answer within this number of working days.
    """

    enabled: bool
    days: int
    kinds: list[str]
    amount: str
    months_between_refunds: int
    license_keys: str
    requests_enabled: bool
    answer_within_working_days: int

    @classmethod
    def of(cls, policy: RefundPolicy) -> RefundPolicyShape:
        values = {name: getattr(policy, ours) for name, ours in _NAMES.items()}
        return cls(**{**values, "kinds": list(policy.kinds)})


_NAMES = {
    "enabled": "is_on",
    "days": "days",
    "kinds": "kinds",
    "amount": "amount",
    "months_between_refunds": "months",
    "license_keys": "keys",
    "requests_enabled": "takes_requests",
    "answer_within_working_days": "answer_days",
}
"""Name in the API → name in RefundPolicy."""


@bp.get("/refund-policy", endpoint="refund_policy")
@route_spec(RefundPolicyShape)
def show() -> ResponseReturnValue:
    """Return the refund policy of the business."""
    return jsonify(RefundPolicyShape.of(command.current_policy(db())).json())


@bp.patch("/refund-policy", endpoint="patch_refund_policy")
@route_spec(RefundPolicyShape, body=RefundPolicyChanges)
def change() -> ResponseReturnValue:
    """Change the refund policy of the business. Refunds and requests that exist are not affected."""
    sent = {name: value for name, value in body(RefundPolicyChanges).model_dump().items() if value is not None}
    command.change_refund_policy(db(), {_NAMES[name]: value for name, value in sent.items()})
    return jsonify(RefundPolicyShape.of(command.current_policy(db())).json())
