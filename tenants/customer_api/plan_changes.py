"""Change the plan: preview, and the change at exactly the previewed price (contract 3.4, 3.5)."""

from __future__ import annotations

from typing import Annotated

from flask import jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field

from billing.history import api_lists as read
from billing.plan_changes import choices, eligibility, repeat_quote
from billing.plan_changes import confirm as command
from billing.plan_changes import external as plan_change_external
from billing.plan_changes.business_order import PlanChangePreview
from billing.plan_changes.eligibility import PlanSelection
from billing.pricing import prices
from billing.subscriptions import queries
from billing.subscriptions.subscription_row import SubscriptionRow
from core.errors import Conflict
from core.request_context import db, scope, services
from core.scope import system
from portal.billing_services import dispatcher, processor
from portal.plan_slip import needs_proof
from portal.renewals import next_charge
from portal.request_accounts import account
from tenants.api.request_parsing import Codes, Id, Quantity, body
from tenants.api.route_spec import route_spec
from tenants.api.shapes import Json
from tenants.api.shapes.plan_changes import PreviewShape
from tenants.customer_api.authentication import bp, for_customer, require_recent_proof
from tenants.customer_api.requests import LooseBody
from tenants.customer_api.shapes import preview_shape


class WantedAddon(LooseBody):
    addon_id: Id
    quantity: Quantity


class WantedPlan(LooseBody):
    """The plan after the change. How and when it is charged is decided by the collection and the business.

    `addons` null keeps or drops them with the plan. `discount_codes`: all codes after the change; not sent: those that stay.
    """

    product_id: Id
    quantity: Quantity
    addons: Annotated[list[WantedAddon], Field(max_length=50)] | None = None
    discount_codes: Codes | None = None


@bp.post("/customer-portal/subscriptions/<subscription_id>/change-plan/preview", endpoint="preview_plan")
@for_customer
@route_spec(form="any", body=WantedPlan)
def preview(subscription_id: str) -> ResponseReturnValue:
    """Return what the change would cost now, and the subscription after it. The price holds for 15 minutes."""
    _check_own(subscription_id)
    sent = body(WantedPlan)
    quote_id = _quote(subscription_id, sent)
    repeat_quote.mark_previewed(services().database, scope(), quote_id)
    return jsonify(_shown(subscription_id, quote_id))


@bp.post("/customer-portal/subscriptions/<subscription_id>/change-plan", endpoint="change_plan")
@for_customer
@route_spec(form="any", body=WantedPlan)
def change(subscription_id: str) -> ResponseReturnValue:
    """Change the plan at the price that was previewed last. 409 QUOTE_STALE if it has changed, or nothing was previewed in the last 15
    minutes: nothing is charged, preview again. A repeated call returns the outcome.

    A `payment_link` is the page where the customer has to confirm or enter a payment.
    """
    _check_own(subscription_id)
    sent = body(WantedPlan)
    selection, codes = _selection(subscription_id, sent), sent.discount_codes
    quote_id = repeat_quote.last_shown(services().database, scope(), selection, codes)
    if quote_id is None:
        raise Conflict("QUOTE_STALE", "No price of this change has been shown in the last 15 minutes. Preview it. Nothing was charged.")
    with services().database.open(scope()) as reading:
        row = queries.get_subscription(reading, subscription_id)
        shown = choices.shown(reading, subscription_id, quote_id)
        before = prices.total(next_charge(row, account(row.business_id, row.customer_id)))
    if shown.quote.used_at is None and needs_proof(row, shown.quote, before):
        require_recent_proof()
    if row.collected_by != "us":
        plan_change_external.order(services().database, scope(), quote_id)
        return jsonify(status="delegated", payment_id=None, payment_link=None)
    done = command.confirm(processor(), scope(), quote_id)
    return jsonify(status=done.status, payment_id=done.payment_id, payment_link=done.link)


@bp.delete("/customer-portal/subscriptions/<subscription_id>/change-plan/scheduled", endpoint="keep_plan")
@for_customer
@route_spec(status=204)
def keep_plan(subscription_id: str) -> ResponseReturnValue:
    """Cancel a scheduled plan change."""
    row = _check_own(subscription_id)
    with services().database.open(system(row.business_id, scope().actor), write=True) as writing:
        command.cancel_scheduled(writing, subscription_id)
    return "", 204


def _check_own(subscription_id: str) -> SubscriptionRow:
    """Return the subscription. Raises NotFound, before the body is read."""
    with services().database.open(scope()) as reading:
        return queries.get_subscription(reading, subscription_id)


def _selection(subscription_id: str, sent: WantedPlan) -> PlanSelection:
    addons = None if sent.addons is None else [item.model_dump() for item in sent.addons]
    return PlanSelection(subscription_id, sent.product_id, sent.quantity, addons)


def _quote(subscription_id: str, sent: WantedPlan) -> str:
    selection = _selection(subscription_id, sent)
    with services().database.open(scope()) as reading:
        external = queries.get_subscription(reading, subscription_id).collected_by != "us"
    if external:
        codes = list(sent.discount_codes or [])
        return plan_change_external.quote_external(services().database, dispatcher().systems, scope(), selection, codes=codes)
    return repeat_quote.quote(services().database, scope(), selection, sent.discount_codes)


def _shown(subscription_id: str, quote_id: str) -> Json:
    row, customer, _name = read.subscription(db(), subscription_id)
    quote = choices.shown(db(), subscription_id, quote_id).quote
    addons = [{"addon_id": item["addon_id"], "quantity": item["quantity"]} for item in quote.addons]
    wanted = eligibility.wanted(db(), row, quote.product_id, quote.quantity, addons)
    shape = PreviewShape.of(PlanChangePreview(row, wanted, quote), customer, read.product(db(), quote.product_id)).json()
    plan = {**shape["new_plan"], "metadata": {}, "customer": {**shape["new_plan"]["customer"], "metadata": {}}}
    return {"immediate_charge": preview_shape(shape["immediate_charge"], quote), "new_plan": plan}
