"""StripeGateway: the port to payment processors at one Stripe account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlsplit

import structlog

from billing.charging.account_ports import TestPayment
from billing.charging.ports import (
    AccountAccess,
    ChargeOutcome,
    ChargeRequest,
    CollectRequest,
    CustomerRequest,
    HostedPage,
    MethodDetails,
    RefundRequest,
    Trace,
)
from billing.charging.processor_reports import DisputeReport, Notification, RefundReport
from core.errors import N_, Invalid, Unavailable
from core.money import Money
from core.outgoing import Outgoing
from gateways.stripe import account_test, charges, checkout, customers, disputes, intents, notifications, refunds
from gateways.stripe.api import AccessDenied, Refusal, StripeApi, Unanswered

log = structlog.get_logger()

Found = TypeVar("Found")
_SILENT = N_("The payment processor does not answer. Please try again later.")


class StripeGateway:
    """Acts at one account. Threads can share an instance: it keeps no state but the HTTP client."""

    name = "stripe"
    resend_window = timedelta(hours=23)  # Stripe may forget a key after 24 hours

    def __init__(self, access: AccountAccess, outgoing: Outgoing, api_base: str | None = None):
        self._access = access
        self._api = StripeApi(access, outgoing, api_base)

    def register(self, request: CustomerRequest) -> str:
        return self._or_raise(lambda: customers.register(self._api, request))

    def collect(self, request: CollectRequest) -> HostedPage:
        if request.amount is not None and request.amount.minor < 0:
            raise Invalid(fields={"amount": "An amount cannot be negative."})
        if urlsplit(request.return_url).scheme not in ("http", "https"):
            raise Invalid(fields={"return_url": "Enter an http or https address."})
        _registered(request.customer_reference)
        return self._or_raise(lambda: checkout.collect(self._api, request))

    def charge(self, request: ChargeRequest) -> ChargeOutcome:
        _positive(request.amount)
        _registered(request.customer_reference)
        return self._or_unknown(request.key, lambda: charges.charge(self._api, request))

    def refund(self, request: RefundRequest) -> ChargeOutcome:
        _positive(request.amount)
        if request.business_id != self._access.business_id:
            return intents.declined(request.key, "PROCESSING_ERROR")
        return self._or_unknown(request.key, lambda: refunds.refund(self._api, request))

    def look_up(self, trace: Trace) -> ChargeOutcome:
        return self._or_unknown(trace.key, lambda: self._look_up(trace))

    def _look_up(self, trace: Trace) -> ChargeOutcome:
        if trace.kind == "refund":
            return refunds.look_up(self._api, trace)
        if trace.kind == "collect":
            return checkout.look_up(self._api, trace)
        found = intents.find(self._api, trace)
        return intents.outcome_of(self._api, found, trace.key) if found else ChargeOutcome("not_found", trace.key)

    def look_up_refund(self, reference: str) -> RefundReport | None:
        return self._or_raise(lambda: refunds.report(self._api, reference))

    def look_up_dispute(self, reference: str) -> DisputeReport | None:
        return self._or_raise(lambda: disputes.look_up(self._api, reference, live=self._access.live))

    def cancel(self, trace: Trace) -> ChargeOutcome:
        return self._or_unknown(trace.key, lambda: self._cancel(trace))

    def _cancel(self, trace: Trace) -> ChargeOutcome:
        if trace.kind == "refund":
            return refunds.cancel(self._api, trace)
        if trace.kind == "collect":
            return checkout.cancel(self._api, trace)
        return charges.cancel(self._api, trace)

    def forget(self, method_reference: str) -> None:
        self._or_raise(lambda: customers.forget(self._api, method_reference))

    def describe(self, method_reference: str) -> MethodDetails | None:
        return self._or_raise(lambda: customers.describe(self._api, method_reference))

    def test_payment(self, key: str, currency: str) -> TestPayment:
        return self._or_raise(lambda: account_test.run(self._api, key, currency))

    def read_notification(self, headers: Mapping[str, str], body: bytes) -> Notification:
        return notifications.read(self._access, headers, body)

    def _or_unknown(self, key: str, call: Callable[[], ChargeOutcome]) -> ChargeOutcome:
        """Return the outcome. What is not known, or refused for a reason that is not the customer's, is unknown."""
        try:
            return call()
        except (Unanswered, Refusal) as problem:
            log.warning("stripe call without outcome", account=self._access.id, key=key, problem=type(problem).__name__, said=str(problem))
            return ChargeOutcome("unknown", key, error_message=str(problem) if isinstance(problem, AccessDenied) else None)

    def _or_raise(self, call: Callable[[], Found]) -> Found:
        try:
            return call()
        except (Unanswered, Refusal) as problem:
            log.warning("stripe call failed", account=self._access.id, problem=type(problem).__name__, said=str(problem))
            raise Unavailable(sentence=_SILENT) from problem


def _positive(amount: Money) -> None:
    if amount.minor <= 0:
        raise Invalid(fields={"amount": "The amount must be more than 0."})


def _registered(customer_reference: str) -> None:
    if not customer_reference:
        raise ValueError("the customer is not registered at this account")
