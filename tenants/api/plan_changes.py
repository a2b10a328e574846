"""Plan changes of subscriptions: preview, order, and cancel a scheduled change."""

from __future__ import annotations

from typing import Annotated, Literal

from flask.typing import ResponseReturnValue
from pydantic import Field, model_validator

from billing.history import api_lists as read
from billing.plan_changes.business_order import PlanChangeOrder, order, preview
from billing.plan_changes.confirm import cancel_scheduled
from core.request_context import db, services
from portal.billing_services import processor
from tenants.api.authentication import bp, caller
from tenants.api.idempotency.money_calls import idempotent
from tenants.api.request_parsing import Body, Codes, Id, Metadata, Quantity, body, codes, return_url
from tenants.api.route_spec import route_spec
from tenants.api.shapes import json_response
from tenants.api.shapes.pages import PaymentPageShape, payment_page_shape
from tenants.api.shapes.plan_changes import PreviewShape
from tenants.api.subscription_payments import check_subscription

Mode = Literal["prorated_immediately", "full_immediately", "difference_immediately", "do_not_bill", "prorated_immediately_keep_cycle"]


class PlanChangeAddon(Body):
    addon_id: Id
    quantity: Quantity


class PlanChange(Body):
    product_id: Id
    quantity: Quantity
    proration_billing_mode: Mode
    adaptive_currency_fees_inclusive: bool | None = None  # no effect: there are no currency conversion fees
    addons: Annotated[list[PlanChangeAddon], Field(max_length=50)] | None = None
    cancel_older_payment_link: bool | None = None
    cancel_scheduled_change_plan: bool | None = None
    collect_via_payment_link: bool | None = None
    discount_code: str | None = None
    discount_codes: Codes | None = None
    effective_at: Literal["immediately", "next_billing_date"] | None = None
    metadata: Metadata | None = None
    on_payment_failure: Literal["prevent_change", "apply_change"] | None = None
    return_url: str | None = None

    @model_validator(mode="after")
    def fits(self) -> PlanChange:
        if self.return_url and not self.collect_via_payment_link:
            raise ValueError("return_url requires collect_via_payment_link")
        if self.collect_via_payment_link and self.effective_at == "next_billing_date":
            raise ValueError("collect_via_payment_link requires effective_at: immediately")
        if self.collect_via_payment_link and self.on_payment_failure == "apply_change":
            raise ValueError("collect_via_payment_link requires on_payment_failure: prevent_change")
        return self


@bp.post("/subscriptions/<subscription_id>/change-plan", endpoint="change_plan")
@idempotent
@route_spec(PaymentPageShape, body=PlanChange, errors=(503,))
def change(subscription_id: str) -> ResponseReturnValue:
    """Change the plan of a subscription, immediately or on the next billing date.

    If every field of the answer is null, the change is done or scheduled. A `payment_id` is a payment that is still pending. A
    `payment_link` is the page where the customer has to pay.
    """
    check_subscription(subscription_id)
    done = order(processor(), caller().scope, subscription_id, _order(body(PlanChange)))
    return json_response(payment_page_shape(None if done.status in ("applied", "scheduled", "succeeded") else done.payment_id, done.link))


@bp.post("/subscriptions/<subscription_id>/change-plan/preview", endpoint="preview_plan")
@route_spec(PreviewShape, body=PlanChange)
def show_preview(subscription_id: str) -> ResponseReturnValue:
    """Return what this plan change would charge now, and the subscription after it. Nothing changes."""
    check_subscription(subscription_id)
    plan_order = _order(body(PlanChange))
    with services().database.open(caller().scope) as reading:
        _row, customer, _name = read.subscription(reading, subscription_id)
        product = read.product(reading, plan_order.product_id)
        return json_response(PreviewShape.of(preview(reading, subscription_id, plan_order), customer, product))


@bp.delete("/subscriptions/<subscription_id>/change-plan/scheduled", endpoint="cancel_planned_change")
@route_spec(status=204)
def cancel_planned_change(subscription_id: str) -> ResponseReturnValue:
    """Cancel the scheduled plan change of a subscription."""
    cancel_scheduled(db(), subscription_id)
    return "", 204


def _order(sent: PlanChange) -> PlanChangeOrder:
    """Return the order of the body. Raises Invalid (return_url). Opens its own session, so call it before the view opens one."""
    by_link = bool(sent.collect_via_payment_link)
    return PlanChangeOrder(
        sent.product_id, sent.quantity, tuple(addon.model_dump() for addon in sent.addons or []), sent.proration_billing_mode,
        sent.effective_at or "immediately", "prevent_change" if by_link else sent.on_payment_failure,
        bool(sent.cancel_scheduled_change_plan), bool(sent.cancel_older_payment_link), by_link,
        return_url(sent.return_url, caller().business_id), sent.metadata, codes(sent.discount_code, sent.discount_codes),
    )  # fmt: skip
