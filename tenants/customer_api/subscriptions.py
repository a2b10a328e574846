"""Subscriptions of the customer: list, show, and the four changes of the contract (3.4)."""

from __future__ import annotations

from typing import Annotated, Any

from flask import jsonify
from flask.typing import ResponseReturnValue
from pydantic import StringConstraints

from billing.history import customer_counts
from billing.history import customer_lists as read
from billing.plan_changes.scheduled import scheduled
from billing.subscriptions import billing_details, pause, queries
from billing.subscriptions import cancel as cancel_subscription
from billing.subscriptions.end_now import cancel_now
from core.errors import Invalid
from core.request_context import db, scope, services
from portal.billing_services import processor
from portal.request_accounts import open_account
from tenants.api.request_parsing import Country, ShortText, body, query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import Json
from tenants.customer_api.authentication import bp, for_customer, require_recent_proof
from tenants.customer_api.requests import LooseBody, Paging, page_of
from tenants.customer_api.shapes import subscription_detail, subscription_item


class EditedAddress(LooseBody):
    country: Country
    city: ShortText | None = None
    state: ShortText | None = None
    street: ShortText | None = None
    zipcode: Annotated[str, StringConstraints(max_length=30)] | None = None


class SubscriptionEdit(LooseBody):
    """Exactly one of: cancel at the next billing date or undo it, pause or resume, billing details."""

    cancel_at_next_billing_date: bool | None = None
    cancellation_feedback: str | None = None
    cancellation_comment: str | None = None
    pause: bool | None = None
    billing: EditedAddress | None = None
    customer_name: ShortText | None = None
    customer_business_name: ShortText | None = None
    tax_id: Annotated[str, StringConstraints(max_length=50)] | None = None


class CancellationReason(LooseBody):
    cancellation_feedback: str | None = None
    cancellation_comment: str | None = None


@bp.get("/customer-portal/subscriptions", endpoint="subscriptions")
@for_customer
@route_spec(form="any", query=Paging)
def index() -> ResponseReturnValue:
    """List the subscriptions, newest first."""
    return listed()


def listed() -> ResponseReturnValue:
    """Return a page of the subscriptions that the token opens."""
    paging = query(Paging)
    rows = read.subscriptions(db(), paging.page)
    planned = scheduled(db(), [row.id for row, _, _ in rows])
    return page_of(rows, customer_counts.subscriptions(db()), paging, lambda row: subscription_item(*row, planned.get(row[0].id)))


@bp.get("/customer-portal/subscriptions/<subscription_id>", endpoint="subscription")
@for_customer
@route_spec(form="any")
def show(subscription_id: str) -> ResponseReturnValue:
    """Return a subscription."""
    return jsonify(shape_of(subscription_id))


@bp.patch("/customer-portal/subscriptions/<subscription_id>", endpoint="change_subscription")
@for_customer
@route_spec(form="any", body=SubscriptionEdit)
def change(subscription_id: str) -> ResponseReturnValue:
    """Cancel or keep, pause or resume, or edit the billing details. Returns the subscription."""
    return changed(subscription_id)


def changed(subscription_id: str) -> ResponseReturnValue:
    """Make the change of the body and return the subscription. Raises NotFound, Invalid, Forbidden, Conflict."""
    row = queries.get_subscription(db(), subscription_id)
    open_account(row.business_id, row.customer_id)
    sent = body(SubscriptionEdit)
    wanted = [name for name in ("cancel_at_next_billing_date", "pause", "billing") if getattr(sent, name) is not None]
    if len(wanted) != 1:
        message = "Send exactly one of cancel_at_next_billing_date, pause and billing."
        raise Invalid(sentence=message, fields={"body": message})
    if sent.cancel_at_next_billing_date:
        feedback = (sent.cancellation_feedback or None, sent.cancellation_comment or None)
        cancel_subscription.cancel_at_period_end(db(), subscription_id, *feedback)
    elif sent.cancel_at_next_billing_date is False:
        cancel_subscription.keep(db(), subscription_id)
    elif sent.pause is not None:
        (pause.pause if sent.pause else pause.resume)(db(), subscription_id)
    else:
        _edit_billing(subscription_id, sent)
    db().flush()
    return jsonify(shape_of(subscription_id))


@bp.post("/customer-portal/subscriptions/<subscription_id>/cancel", endpoint="cancel_subscription")
@for_customer
@route_spec(form="any", body=CancellationReason)
def cancel(subscription_id: str) -> ResponseReturnValue:
    """End a subscription now. Needs a recent sign-in."""
    return ended(subscription_id)


def ended(subscription_id: str) -> ResponseReturnValue:
    """End the subscription now and return it. Opens its own sessions first."""
    with services().database.open(scope()) as reading:
        row = queries.get_subscription(reading, subscription_id)
    open_account(row.business_id, row.customer_id)
    sent = body(CancellationReason)
    require_recent_proof()
    cancel_now(processor(), scope(), subscription_id, sent.cancellation_feedback or None, sent.cancellation_comment or None)
    return jsonify(shape_of(subscription_id))


def shape_of(subscription_id: str) -> Json:
    """Return a subscription with its product, add-ons and scheduled change. Raises NotFound."""
    row, customer, product = read.subscription(db(), subscription_id)
    addons = read.addons_of(db(), row.business_id, [item["addon_id"] for item in row.addons or []])
    return subscription_detail(row, customer, product, scheduled(db(), [row.id]).get(row.id), addons)


def _edit_billing(subscription_id: str, sent: SubscriptionEdit) -> None:
    """Change the billing details. A name that is not sent stays; tax number and company are cleared by null."""
    row, customer, _product = read.subscription(db(), subscription_id)
    given, address = sent.model_fields_set, sent.billing
    assert address is not None
    tax_id = sent.tax_id if "tax_id" in given else row.tax_id
    company: Any = sent.customer_business_name if "customer_business_name" in given else row.business_name
    billing_details.edit_billing(
        db(), subscription_id, name=sent.customer_name or (row.billing or {}).get("name") or customer.name,
        business_name=company if tax_id else None, tax_id=tax_id or None, **address.model_dump(),
    )  # fmt: skip
