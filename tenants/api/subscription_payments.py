"""Payment methods of subscriptions, retries of failed payments, and the removal of saved payment methods."""

from __future__ import annotations

from typing import Literal

from flask import jsonify
from flask.typing import ResponseReturnValue
from pydantic import model_validator

from billing.history import api_lists as read
from billing.renewals import retry as retrying_command
from billing.renewals.payment_methods import change_method, remove_method
from billing.renewals.retry_now import SENDS, retry, state_of
from core.errors import Invalid
from core.request_context import db, services
from portal.billing_services import processor
from tenants.api.authentication import bp, caller
from tenants.api.idempotency.money_calls import idempotent
from tenants.api.request_parsing import Amount, Body, CurrencyCode, Id, Metadata, body, return_url
from tenants.api.route_spec import route_spec
from tenants.api.shapes import Json, Shape, Stamp, json_response, stamp
from tenants.api.shapes.pages import PaymentPageShape, payment_page_shape


class PaymentMethodChange(Body):
    """`new`: the customer enters it on a hosted page. `existing`: the saved payment method `payment_method_id`."""

    type: Literal["new", "existing"]
    payment_method_id: Id | None = None
    return_url: str | None = None

    @model_validator(mode="after")
    def fits(self) -> PaymentMethodChange:
        if self.type == "existing" and not self.payment_method_id:
            raise ValueError("type existing requires a payment_method_id")
        if self.type == "new" and self.payment_method_id:
            raise ValueError("a payment_method_id requires type: existing")
        return self


class ChargeInput(Body):
    product_price: Amount
    product_currency: CurrencyCode | None = None
    product_description: str | None = None
    customer_balance_config: Json | None = None
    adaptive_currency_fees_inclusive: bool | None = None
    metadata: Metadata | None = None


class ChargeResult(Shape):
    payment_id: str


class RetryState(Shape):
    can_retry: bool
    sends_allowed: int
    sends_used: int
    automatic_retry_number: int | None
    automatic_retry_total: int | None
    next_automatic_retry_at: Stamp | None
    reason: str | None
    retry_available_at: Stamp | None


class RetryResult(Shape):
    invoice_id: str
    is_manual_retry: bool
    payment_id: str
    retry_attempt: int
    sends_allowed: int
    sends_used: int
    retry_available_at: Stamp | None
    status: str | None


def check_subscription(subscription_id: str) -> None:
    """Check that the subscription belongs to the business, before the body is read. Raises NotFound."""
    with services().database.open(caller().scope) as reading:
        read.subscription(reading, subscription_id)


@bp.post("/subscriptions/<subscription_id>/update-payment-method", endpoint="change_method")
@idempotent
@route_spec(PaymentPageShape, body=PaymentMethodChange, errors=(503,))
def change(subscription_id: str) -> ResponseReturnValue:
    """Change the payment method of a subscription.

    If the subscription is on hold, the amount due is charged immediately. Otherwise the method is used from the next renewal.
    """
    check_subscription(subscription_id)
    sent = body(PaymentMethodChange)
    url = return_url(sent.return_url, caller().business_id)
    done = change_method(processor(), caller().scope, subscription_id, payment_method_id=sent.payment_method_id, return_url=url)
    return json_response(payment_page_shape(done.payment_id, done.link))


@bp.post("/subscriptions/<subscription_id>/charge", endpoint="charge_subscription")
@idempotent
@route_spec(ChargeResult, body=ChargeInput)
def charge(subscription_id: str) -> ResponseReturnValue:
    """Always refused with SUBSCRIPTION_NOT_ON_DEMAND: on-demand subscriptions are not supported."""
    check_subscription(subscription_id)
    body(ChargeInput)
    raise Invalid("SUBSCRIPTION_NOT_ON_DEMAND", "This subscription cannot be charged on demand.")


@bp.get("/payments/<payment_id>/retry", endpoint="retry_state")
@route_spec(RetryState)
def show_retry(payment_id: str) -> ResponseReturnValue:
    """Return whether a failed payment can be retried, and when it is retried automatically."""
    state = state_of(db(), payment_id)
    retries = (
        retrying_command.planned(db(), state.subscription_id, state.invoice_id) if state.subscription_id and state.invoice_id else None
    )
    return jsonify(
        can_retry=state.reason is None, sends_allowed=SENDS, sends_used=state.sends_used, reason=state.reason, retry_available_at=None,
        automatic_retry_number=retries.made if retries else None, automatic_retry_total=retries.total if retries else None,
        next_automatic_retry_at=stamp(retries.next_at) if retries and retries.next_at else None,
    )  # fmt: skip


@bp.post("/payments/<payment_id>/retry", endpoint="retry_payment")
@idempotent
@route_spec(RetryResult, errors=(503,))
def retry_payment(payment_id: str) -> ResponseReturnValue:
    """Retry a failed payment of a subscription now."""
    sent = retry(processor(), caller().scope, payment_id)
    return jsonify(
        invoice_id=sent.invoice_id, is_manual_retry=True, payment_id=sent.payment_id, retry_attempt=max(sent.attempt - 1, 0),
        sends_allowed=SENDS, sends_used=sent.sends_used, retry_available_at=None, status=sent.status,
    )  # fmt: skip


@bp.delete("/customers/<customer_id>/payment-methods/<method_id>", endpoint="remove_method")
@route_spec(status=204)
def remove(customer_id: str, method_id: str) -> ResponseReturnValue:
    """Remove a saved payment method. Answers 409 while a subscription or a pending payment uses it."""
    read.customer(db(), customer_id)
    remove_method(db(), read.payment_method(db(), customer_id, method_id).id)
    return "", 204
