"""Everything a person bought, from every business, and acting on it: the unified portal without its pages.

Only a token of a person opens these calls. A business can make tokens of its own customers only.
"""

from __future__ import annotations

from flask import jsonify
from flask.typing import ResponseReturnValue

from auth import access_tokens
from billing.history import api_lists, customer_counts
from billing.renewals import pay_dues
from billing.subscriptions import queries
from core.errors import BusinessArchived, Conflict, NotFound
from core.request_context import db, scope, services
from portal.billing_services import processor
from portal.request_accounts import businesses, open_account
from tenants.api.request_parsing import Id, body, query
from tenants.api.route_spec import route_spec
from tenants.customer_api import subscriptions
from tenants.customer_api.authentication import bearer, bp, for_person, own_return_url, refuse_new_card_of_old_session
from tenants.customer_api.requests import LooseBody, OfSubscription, Paging, page_of
from tenants.customer_api.shapes import brief_business_shape, payment_item


class DuePayment(LooseBody):
    """`amount`: what the customer was shown, in minor units. Without a `payment_method_id` the customer pays on a hosted page."""

    amount: int
    payment_method_id: Id | None = None


@bp.get("/unified-customer-portal/businesses", endpoint="unified_businesses")
@for_person
@route_spec(form="any", query=Paging)
def list_businesses() -> ResponseReturnValue:
    """List the businesses that the person buys from, by name."""
    paging = query(Paging)
    found = list(businesses().values())
    start = paging.page_number * paging.page_size
    return page_of(found[start : start + paging.page_size], len(found), paging, brief_business_shape)


@bp.get("/unified-customer-portal/businesses/<business_id>/customer-portal-token", endpoint="unified_business_token")
@for_person
@route_spec(form="any")
def business_token(business_id: str) -> ResponseReturnValue:
    """Return a token of one business. It may do what this token may, and ends with it and with the session."""
    theirs = businesses().get(business_id)
    if theirs is None:
        raise NotFound(sentence="There is no such business.")
    if theirs.archived_at:
        raise BusinessArchived(sentence="This business is archived")
    visit = bearer().visit
    assert visit is not None  # a token of a person has a session
    _row, secret = access_tokens.make_for_session(
        services().database, services().settings, visit, business_id, theirs.name, may_act=bearer().may_act, parent=bearer()
    )
    return jsonify(token=secret)


@bp.get("/unified-customer-portal/subscriptions", endpoint="unified_subscriptions")
@for_person
@route_spec(form="any", query=Paging)
def list_subscriptions() -> ResponseReturnValue:
    """List the subscriptions at all businesses, newest first."""
    return subscriptions.listed()


@bp.get("/unified-customer-portal/subscriptions/<subscription_id>", endpoint="unified_subscription")
@for_person
@route_spec(form="any")
def subscription(subscription_id: str) -> ResponseReturnValue:
    """Return a subscription at any business."""
    return jsonify(subscriptions.shape_of(subscription_id))


@bp.patch("/unified-customer-portal/subscriptions/<subscription_id>", endpoint="unified_change_subscription")
@for_person
@route_spec(form="any", body=subscriptions.SubscriptionEdit)
def change_subscription(subscription_id: str) -> ResponseReturnValue:
    """Cancel or keep, pause or resume, or edit the billing details, at any business. Returns the subscription."""
    return subscriptions.changed(subscription_id)


@bp.post("/unified-customer-portal/subscriptions/<subscription_id>/cancel", endpoint="unified_cancel_subscription")
@for_person
@route_spec(form="any", body=subscriptions.CancellationReason)
def cancel_subscription(subscription_id: str) -> ResponseReturnValue:
    """End a subscription at any business now. Needs a recent sign-in."""
    return subscriptions.ended(subscription_id)


@bp.post("/unified-customer-portal/subscriptions/<subscription_id>/pay", endpoint="unified_pay")
@for_person
@route_spec(form="any", body=DuePayment)
def pay(subscription_id: str) -> ResponseReturnValue:
    """Pay what is due for a subscription. 409 AMOUNT_CHANGED if it is not the amount of the body: nothing is charged.

    A `payment_link` is the page where the customer has to confirm or enter a payment.
    """
    with services().database.open(scope()) as reading:
        row = queries.get_subscription(reading, subscription_id)
        dues = pay_dues.dues(reading, subscription_id)
    open_account(row.business_id, row.customer_id)
    sent = body(DuePayment)
    if dues is None:
        raise Conflict("NOTHING_DUE", "Nothing is due for this subscription.")
    if dues.due_minor != sent.amount:
        raise Conflict("AMOUNT_CHANGED", f"{dues.due_minor} is due, in minor units of {row.currency}. Nothing was charged.")
    if sent.payment_method_id is None:
        refuse_new_card_of_old_session()
    done = pay_dues.pay_dues(processor(), scope(), subscription_id, payment_method_id=sent.payment_method_id, return_url=own_return_url())
    return jsonify(status=done.status, payment_id=done.payment_id, payment_link=done.link, error_code=done.error_code)


@bp.get("/unified-customer-portal/payments", endpoint="unified_payments")
@for_person
@route_spec(form="any", query=OfSubscription)
def list_payments() -> ResponseReturnValue:
    """List the payments at all businesses, newest first."""
    paging = query(OfSubscription)
    rows = api_lists.payments(db(), paging.page, subscription_id=paging.subscription_id)
    return page_of(rows, customer_counts.payments(db(), paging.subscription_id), paging, payment_item)
