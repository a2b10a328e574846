"""How a subscription pays: another method, a charge on demand, an unpaid invoice tried once more; and methods that go."""

from __future__ import annotations

from typing import Literal

from flask import jsonify
from flask.typing import ResponseReturnValue
from pydantic import model_validator

from billing import retries
from billing.commands.methods import change_method, remove_method
from billing.commands.retrying import SENDS, retry, state_of
from billing.queries import api as read
from core.errors import Invalid
from core.web import db, house
from tenants.api.door import bp, caller
from tenants.api.once import once
from tenants.api.reading import Amount, Body, CurrencyCode, Id, Metadata, body, return_url
from tenants.api.saying import says
from tenants.api.shapes import Json, Shape, Stamp, one, stamp
from tenants.api.shapes.pages import PageShape, page_shape


class MethodWanted(Body):
    """`new` is entered on a hosted page; `existing` is one that the customer saved."""

    type: Literal["new", "existing"]
    payment_method_id: Id | None = None
    return_url: str | None = None

    @model_validator(mode="after")
    def fits(self) -> MethodWanted:
        if self.type == "existing" and not self.payment_method_id:
            raise ValueError("existing needs a payment_method_id")
        if self.type == "new" and self.payment_method_id:
            raise ValueError("a payment_method_id needs type: existing")
        return self


class ChargeWanted(Body):
    product_price: Amount
    product_currency: CurrencyCode | None = None
    product_description: str | None = None
    customer_balance_config: Json | None = None
    adaptive_currency_fees_inclusive: bool | None = None
    metadata: Metadata | None = None


class Charged(Shape):
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


class Retried(Shape):
    invoice_id: str
    is_manual_retry: bool
    payment_id: str
    retry_attempt: int
    sends_allowed: int
    sends_used: int
    retry_available_at: Stamp | None
    status: str | None


def known(subscription_id: str) -> None:
    """Before its body is looked at: whose it is. Raises NotFound."""
    with house().database.open(caller().scope) as reading:
        read.subscription(reading, subscription_id)


@bp.post("/subscriptions/<subscription_id>/update-payment-method", endpoint="change_method")
@once
@says(PageShape, takes=MethodWanted, refuses=(503,))
def change(subscription_id: str) -> ResponseReturnValue:
    """On hold, past its grace: what is due is paid with it. Otherwise it is used from the next renewal on."""
    known(subscription_id)
    sent = body(MethodWanted)
    back = return_url(sent.return_url, caller().business_id)
    done = change_method(house().till, caller().scope, subscription_id, payment_method_id=sent.payment_method_id, return_url=back)
    return one(page_shape(done.payment_id, done.link))


@bp.post("/subscriptions/<subscription_id>/charge", endpoint="charge_subscription")
@once
@says(Charged, takes=ChargeWanted)
def charge(subscription_id: str) -> ResponseReturnValue:
    """No subscription here is charged on demand: each pays by its dates, and by nothing else."""
    known(subscription_id)
    body(ChargeWanted)
    raise Invalid("SUBSCRIPTION_NOT_ON_DEMAND", "This subscription pays by its dates. It cannot be charged on demand.")


@bp.get("/payments/<payment_id>/retry", endpoint="retry_state")
@says(RetryState)
def look(payment_id: str) -> ResponseReturnValue:
    state = state_of(db(), payment_id)
    tries = retries.planned(db(), state.subscription_id, state.invoice_id) if state.subscription_id and state.invoice_id else None
    return jsonify(
        can_retry=state.reason is None, sends_allowed=SENDS, sends_used=state.sends_used, reason=state.reason, retry_available_at=None,
        automatic_retry_number=tries.made if tries else None, automatic_retry_total=tries.total if tries else None,
        next_automatic_retry_at=stamp(tries.next_at) if tries and tries.next_at else None,
    )  # fmt: skip


@bp.post("/payments/<payment_id>/retry", endpoint="retry_payment")
@once
@says(Retried, refuses=(503,))
def try_again(payment_id: str) -> ResponseReturnValue:
    sent = retry(house().till, caller().scope, payment_id)
    return jsonify(
        invoice_id=sent.invoice_id, is_manual_retry=True, payment_id=sent.payment_id, retry_attempt=max(sent.attempt - 1, 0),
        sends_allowed=SENDS, sends_used=sent.sends_used, retry_available_at=None, status=sent.status,
    )  # fmt: skip


@bp.delete("/customers/<customer_id>/payment-methods/<method_id>", endpoint="remove_method")
@says(status=204)
def remove(customer_id: str, method_id: str) -> ResponseReturnValue:
    """409 while a subscription or a payment under way needs it."""
    read.customer(db(), customer_id)
    remove_method(db(), read.payment_method(db(), customer_id, method_id).id)
    return "", 204
