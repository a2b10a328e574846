"""Changing the plan of a subscription: order it, look at it first, take back one that is planned."""

from __future__ import annotations

from typing import Annotated, Literal

from flask.typing import ResponseReturnValue
from pydantic import Field, model_validator

from billing.commands.plan_change import cancel_scheduled
from billing.commands.plan_order import Order, order, preview
from billing.queries import api as read
from core.web import db, house
from tenants.api.door import bp, caller
from tenants.api.once import once
from tenants.api.paying import known
from tenants.api.reading import Body, Codes, Id, Metadata, Quantity, body, codes, return_url
from tenants.api.saying import says
from tenants.api.shapes import one
from tenants.api.shapes.pages import PageShape, page_shape
from tenants.api.shapes.plan_changes import PreviewShape

Mode = Literal["prorated_immediately", "full_immediately", "difference_immediately", "do_not_bill", "prorated_immediately_keep_cycle"]


class AddonWanted(Body):
    addon_id: Id
    quantity: Quantity


class PlanChange(Body):
    product_id: Id
    quantity: Quantity
    proration_billing_mode: Mode
    adaptive_currency_fees_inclusive: bool | None = None  # about fees that nobody is charged here, so either is true
    addons: Annotated[list[AddonWanted], Field(max_length=50)] | None = None
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
            raise ValueError("return_url needs collect_via_payment_link")
        if self.collect_via_payment_link and self.effective_at == "next_billing_date":
            raise ValueError("collect_via_payment_link needs effective_at: immediately")
        if self.collect_via_payment_link and self.on_payment_failure == "apply_change":
            raise ValueError("collect_via_payment_link needs on_payment_failure: prevent_change")
        return self


@bp.post("/subscriptions/<subscription_id>/change-plan", endpoint="change_plan")
@once
@says(PageShape, takes=PlanChange, refuses=(503,))
def change(subscription_id: str) -> ResponseReturnValue:
    """All null: it is done, or planned. A payment_id: look at that payment. A payment_link: the customer has to go there."""
    known(subscription_id)
    done = order(house().till, caller().scope, subscription_id, _order(body(PlanChange)))
    return one(page_shape(None if done.status in ("applied", "scheduled", "succeeded") else done.payment_id, done.link))


@bp.post("/subscriptions/<subscription_id>/change-plan/preview", endpoint="preview_plan")
@says(PreviewShape, takes=PlanChange)
def look(subscription_id: str) -> ResponseReturnValue:
    """What the same body would charge now, and the subscription afterwards. Nothing changes."""
    known(subscription_id)
    wish = _order(body(PlanChange))
    with house().database.open(caller().scope) as reading:
        _row, customer, _name = read.subscription(reading, subscription_id)
        product = read.product(reading, wish.product_id)
        return one(PreviewShape.of(preview(reading, subscription_id, wish), customer, product))


@bp.delete("/subscriptions/<subscription_id>/change-plan/scheduled", endpoint="cancel_planned_change")
@says(status=204)
def take_back(subscription_id: str) -> ResponseReturnValue:
    cancel_scheduled(db(), subscription_id)
    return "", 204


def _order(sent: PlanChange) -> Order:
    """Raises Invalid for addresses that are none. Reads by itself, so it comes before any session of the view."""
    by_link = bool(sent.collect_via_payment_link)
    return Order(
        sent.product_id, sent.quantity, tuple(one.model_dump() for one in sent.addons or []), sent.proration_billing_mode,
        sent.effective_at or "immediately", "prevent_change" if by_link else sent.on_payment_failure,
        bool(sent.cancel_scheduled_change_plan), bool(sent.cancel_older_payment_link), by_link,
        return_url(sent.return_url, caller().business_id), sent.metadata, codes(sent.discount_code, sent.discount_codes),
    )  # fmt: skip
