"""Checkout Sessions: Stripe's hosted page, which saves a method and charges it if there is an amount.

A session is open, complete or expired. The reference of an operation is its session until money moved, and then its PaymentIntent.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from billing.charging.ports import ChargeOutcome, CollectRequest, HostedPage, Trace
from core.errors import N_, Conflict, Gone, Invalid
from gateways.stripe import intents, metadata
from gateways.stripe.amounts import is_too_small, to_stripe
from gateways.stripe.api import KeyReused, Refusal, StripeApi, StripeObject, Unanswered
from gateways.stripe.declines import code_of
from gateways.stripe.mandates import with_mandate
from gateways.stripe.methods import WORKING_DAYS, details_of, generated_method

EXPAND = ["payment_intent.payment_method", "payment_intent.latest_charge", "setup_intent.payment_method", "setup_intent.latest_attempt"]
_LOCALES = {"de": "de", "en": "en", "it": "it", "pt_BR": "pt-BR", "sv": "sv"}
_CLOSED = N_("This payment was cancelled.")


def collect(api: StripeApi, request: CollectRequest) -> HostedPage:
    """Open the page. Raises Invalid, Conflict for a key of another request, Gone for a key that was cancelled."""
    sent = metadata.of_request(request)
    try:
        made = api.call(api.v1.checkout.sessions.create, _parameters(request, sent), key=request.key)
        session = retrieve(api, made.object["id"]) if made.repeated else made.object
    except Refusal as refused:
        if refused.code in ("amount_too_small", "amount_too_large"):  # the limits depend on the currency of the account
            raise Invalid(fields={"amount": N_("The payment processor cannot charge this amount in this currency.")}) from refused
        raise
    except KeyReused:  # other words, or another request
        trace = Trace(request.key, "collect", customer_reference=request.customer_reference)
        found = find(api, trace)
        if found is None and intents.is_used_up(api, trace):
            raise Gone(sentence=_CLOSED) from None
        if found is None or not metadata.is_same_request(found, sent):
            raise Conflict("IDEMPOTENCY_KEY_REUSED", "This key was already used for a different request.") from None
        session = found
    if not session.get("url"):
        raise Gone(sentence=_CLOSED)
    return HostedPage(session["url"], session["id"], datetime.fromtimestamp(session["expires_at"], UTC))


def _parameters(request: CollectRequest, sent: dict[str, str]) -> StripeObject:
    """Return the parameters. Times are left out, because two tries of one request must have equal parameters."""
    parameters: StripeObject = {
        "customer": request.customer_reference,
        "success_url": request.return_url,
        "cancel_url": request.cancel_url or request.return_url,
        "locale": _LOCALES.get(request.locale, "auto"),
        "metadata": sent,
    }
    if request.amount is None or not request.amount.minor:
        if not request.currency:
            raise Invalid(fields={"currency": "Choose a currency."})
        return parameters | {"mode": "setup", "currency": request.currency.lower(), "setup_intent_data": {"metadata": sent}}
    if is_too_small(request.amount):
        raise Invalid(fields={"amount": N_("This amount is too small for the payment processor.")})
    price = {
        "currency": request.amount.currency.lower(),
        "unit_amount": to_stripe(request.amount),
        "product_data": {"name": request.description},
    }
    return parameters | {
        "mode": "payment",
        "line_items": [{"quantity": 1, "price_data": price}],
        "payment_intent_data": {"setup_future_usage": "off_session", "metadata": sent, "description": request.description},
    }


def retrieve(api: StripeApi, reference: str) -> StripeObject:
    return api.call(api.v1.checkout.sessions.retrieve, reference, {"expand": EXPAND}).object


def find(api: StripeApi, trace: Trace) -> StripeObject | None:
    """Return the session of an operation, which can be known by its own id or by the id of its PaymentIntent or SetupIntent."""
    reference = trace.reference or ""
    if reference.startswith("cs_"):
        return retrieve(api, reference)
    if not trace.customer_reference and not reference:
        return None
    among: dict[str, Any] = {"payment_intent": reference} if reference.startswith("pi_") else {"customer": trace.customer_reference}
    for session in api.every(api.v1.checkout.sessions.list, among):
        if metadata.read(session) == trace.key:
            return retrieve(api, session["id"])
    return None


def look_up(api: StripeApi, trace: Trace) -> ChargeOutcome:
    session = find(api, trace)
    if session is not None:
        return outcome_of(api, session, trace.key)
    return ChargeOutcome("cancelled" if intents.is_used_up(api, trace) else "not_found", trace.key)


def cancel(api: StripeApi, trace: Trace) -> ChargeOutcome:
    """Expire an open session."""
    session = find(api, trace)
    if session is None:
        closed = intents.use_up_key(api, trace)
        session = find(api, trace)
        if session is None:
            return intents.outcome_of(api, closed, trace.key)
    if session["status"] == "open":
        try:
            session = api.call(api.v1.checkout.sessions.expire, session["id"], {"expand": EXPAND}).object
        except Refusal:  # it was completed meanwhile
            session = retrieve(api, session["id"])
    return outcome_of(api, session, trace.key)


def outcome_of(api: StripeApi, session: StripeObject, key: str) -> ChargeOutcome:
    status, intent, setup = session["status"], session.get("payment_intent"), session.get("setup_intent")
    if status == "open":
        # after a decline the page stays open for another method
        challenged = bool(intent and intent["status"] == "requires_action") or bool(setup and setup["status"] == "requires_action")
        return ChargeOutcome("requires_action", key, session["id"], redirect_url=session["url"], challenged=challenged)
    if status == "complete" and intent is not None:
        outcome = intents.outcome_of(api, intent, key)
        return outcome if outcome.state != "not_found" else ChargeOutcome("unknown", key, session["id"])
    if status == "complete" and setup is not None:
        return _outcome_of_setup(api, session["id"], setup, key)
    if status == "expired":
        return ChargeOutcome("cancelled", key, session["id"])
    raise Unanswered(f"a Checkout Session in the state {status}")


def _outcome_of_setup(api: StripeApi, reference: str, setup: StripeObject, key: str) -> ChargeOutcome:
    """Return the state of a page that only saves a method. Some bank debits are confirmed days later."""
    method, failed = setup.get("payment_method"), setup.get("last_setup_error")
    if setup["status"] == "succeeded":
        other = generated_method((setup.get("latest_attempt") or {}).get("payment_method_details"))
        if other:  # iDEAL and others leave a SEPA debit
            method = api.call(api.v1.payment_methods.retrieve, other).object
        saved = with_mandate(api, details_of(method, setup.get("mandate"))) if method else None
        return ChargeOutcome("succeeded", key, reference, method=saved)
    if setup["status"] == "processing":
        return ChargeOutcome("processing", key, reference, working_days=WORKING_DAYS.get((method or {}).get("type", "")))
    if setup["status"] == "canceled":
        return ChargeOutcome("cancelled", key, reference)
    if failed:
        return intents.declined(key, code_of(failed.get("decline_code"), failed.get("code")), reference)
    link = intents.action_link(setup)
    return ChargeOutcome("requires_action" if link else "unknown", key, reference, redirect_url=link, challenged=bool(link))
