"""Updates a subscription. All fields are checked before anything is changed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import request
from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints

from billing.customers.customers import update_customer
from billing.history import api_lists as read
from billing.model import lifecycle
from billing.model.parties import Customer
from billing.model.subscriptions import Subscription, load_subscription
from billing.subscriptions.billing_details import edit_billing
from billing.subscriptions.cancel import cancel_at_period_end, is_consumers_own, keep
from billing.subscriptions.end_now import cancel_now
from billing.subscriptions.pause import pause, resume
from billing.subscriptions.reschedule import extend_term, move_next_date
from core.db import ScopedSession
from core.errors import Invalid
from core.request_context import services
from portal.billing_services import processor
from tenants.api.authentication import bp, caller
from tenants.api.idempotency.money_calls import idempotent
from tenants.api.request_parsing import Billing, Body, Instant, Interval, Metadata, ShortText, body
from tenants.api.route_spec import route_spec
from tenants.api.shapes import json_response
from tenants.api.shapes.subscriptions import SubscriptionShape, subscription_shape
from tenants.api.subscription_payments import check_subscription

Feedback = Literal[
    "too_expensive", "missing_features", "switched_service", "unused", "customer_service", "low_quality", "too_complex", "other",
]  # fmt: skip
Reason = Literal[
    "cancelled_by_customer", "cancelled_by_merchant", "cancelled_by_merchant_send_dunning", "cancelled_by_merchant_grace_period_expired",
    "dodo_team",
]  # fmt: skip
BILLING_FIELDS = ("billing", "customer_business_name", "customer_name", "tax_id")
CANCELLATION_FIELDS = ("cancel_reason", "cancellation_comment", "cancellation_feedback")
NAMES = {"business_name": "customer_business_name", "name": "customer_name", "tax_id": "tax_id"}


class SubscriptionChange(Body):
    removed = {"pause": "This field was removed. Send status: paused or active instead."}

    billing: Billing | None = None
    cancel_at_next_billing_date: bool | None = None
    cancel_reason: Reason | None = None
    cancellation_comment: Annotated[str, StringConstraints(max_length=500)] | None = None
    cancellation_feedback: Feedback | None = None
    customer_business_name: ShortText | None = None
    customer_name: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)] | None = None
    metadata: Metadata | None = None
    next_billing_date: Instant | None = None
    status: Literal["cancelled", "paused", "active"] | None = None
    subscription_period_count: Annotated[int, Field(ge=1, le=10_000)] | None = None
    subscription_period_interval: Interval | None = None
    tax_id: Annotated[str, StringConstraints(max_length=50)] | None = None


@bp.patch("/subscriptions/<subscription_id>", endpoint="change_subscription")
@idempotent
@route_spec(SubscriptionShape, body=SubscriptionChange)
def change(subscription_id: str) -> ResponseReturnValue:
    """Update a subscription: billing details, dates, cancellation, pause. Fields that are not sent stay unchanged.

    If any field is refused, nothing changes.
    """
    check_subscription(subscription_id)
    sent = body(SubscriptionChange)
    _check_combinations(sent, request.get_json(force=True))
    with services().database.open(caller().scope, write=True) as db:
        row = load_subscription(db, subscription_id)
        _edit(db, row, sent)
        if sent.status == "cancelled":  # refuse it here, before the other changes are committed
            lifecycle.move(lifecycle.SUBSCRIPTION, row.status, "cancel")
    if sent.status == "cancelled":
        cancel_now(processor(), caller().scope, subscription_id, sent.cancellation_feedback, sent.cancellation_comment)
    if sent.cancel_reason == "cancelled_by_customer":
        with services().database.open(caller().scope, write=True) as db:
            row = load_subscription(db, subscription_id)
            if not is_consumers_own(row):  # who declared it themselves stays the one who can undo it
                row.cancelled_by = {"type": "customer", "reported_by": "api_key"}
    with services().database.open(caller().scope) as db:
        return json_response(subscription_shape(db, subscription_id))


def _check_combinations(sent: SubscriptionChange, raw: dict[str, Any]) -> None:
    """Refuse fields that cannot be combined. Raises Invalid."""
    if sent.status in ("paused", "active") and len(raw) > 1:
        _refuse("status", "Send paused or active without other fields.")
    ends = sent.status == "cancelled" or sent.cancel_at_next_billing_date is True
    for name in CANCELLATION_FIELDS:
        if getattr(sent, name) is not None and not ends:
            _refuse(name, "Send this only with a cancellation.")
    if sent.status == "cancelled" and (sent.cancel_at_next_billing_date is not None or sent.next_billing_date is not None):
        _refuse("status", "cancelled takes effect immediately. Send it without cancel_at_next_billing_date and next_billing_date.")


def _edit(db: ScopedSession, row: Subscription, sent: SubscriptionChange) -> None:
    if any(name in sent.model_fields_set for name in BILLING_FIELDS):
        _edit_billing(db, row, read.customer(db, row.customer_id), sent)
    if sent.metadata is not None:
        row.meta = sent.metadata
    if sent.subscription_period_count is not None or sent.subscription_period_interval is not None:
        extend_term(db, row.id, sent.subscription_period_count, sent.subscription_period_interval)
    if sent.cancel_at_next_billing_date is False:
        keep(db, row.id)
    if sent.next_billing_date is not None:
        move_next_date(db, row.id, sent.next_billing_date)
    if sent.cancel_at_next_billing_date is True:
        cancel_at_period_end(db, row.id, sent.cancellation_feedback, sent.cancellation_comment)
    if sent.status == "paused":
        pause(db, row.id)
    elif sent.status == "active":
        resume(db, row.id)


def _edit_billing(db: ScopedSession, row: Subscription, customer: Customer, sent: SubscriptionChange) -> None:
    """Update the billing details. Fields that are not sent stay unchanged; without a tax id the company name is cleared as well."""
    given, old = sent.model_fields_set, row.billing or customer.billing or {}
    address = sent.billing.model_dump() if sent.billing else {part: old.get(part) for part in Billing.model_fields}
    tax_id = sent.tax_id if "tax_id" in given else row.tax_id
    company = sent.customer_business_name if "customer_business_name" in given else row.business_name if tax_id else None
    try:
        edit_billing(
            db, row.id, name=sent.customer_name or old.get("name") or customer.name, street=address["street"], city=address["city"],
            state=address["state"], zipcode=address["zipcode"], country=address["country"] or "", business_name=company, tax_id=tax_id,
        )  # fmt: skip
    except Invalid as wrong:
        fields = {NAMES.get(name, f"billing.{name}"): reason for name, reason in wrong.fields.items()}
        raise Invalid(wrong.code, "; ".join(f"{name}: {reason}" for name, reason in fields.items()), fields=fields) from None
    if sent.customer_name and sent.customer_name != customer.name:
        update_customer(db, customer, name=sent.customer_name)


def _refuse(name: str, reason: str) -> None:
    raise Invalid("INVALID_REQUEST_BODY", f"{name}: {reason}", fields={name: reason})
