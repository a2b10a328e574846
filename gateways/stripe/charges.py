"""Charges of saved methods in two calls: create a PaymentIntent under the key, then confirm it.

Creating moves no money. Only one intent can be confirmed under `<key>/confirm`, and an intent that was cancelled cannot be confirmed. So a
key moves money at most once, and what was cancelled first never happens. Stripe repeats a stored error 500 for as long as it knows the key:
then the same intent is confirmed under the next suffix.
"""

from __future__ import annotations

from billing.charging.ports import ChargeOutcome, ChargeRequest, Trace
from core.errors import Conflict
from gateways.stripe import intents, metadata
from gateways.stripe.amounts import is_too_small, to_stripe
from gateways.stripe.api import KeyReused, Refusal, StripeApi, StripeObject, Unanswered
from gateways.stripe.declines import CODES, code_of


def charge(api: StripeApi, request: ChargeRequest) -> ChargeOutcome:
    if is_too_small(request.amount):
        return intents.declined(request.key, "PROCESSING_ERROR")
    try:
        intent = _create(api, request)
    except Refusal as refused:  # nothing was created
        return intents.declined(request.key, _code(refused))
    if intent["status"] in intents.UNCONFIRMED and not intent.get("last_payment_error"):
        intent = _confirm(api, request, intent)
    return intents.outcome_of(api, intent, request.key)


def _create(api: StripeApi, request: ChargeRequest) -> StripeObject:
    """Return the intent of this request. Raises Conflict if the key belongs to another one."""
    sent = metadata.of_request(request)
    parameters = {
        "amount": to_stripe(request.amount),
        "currency": request.amount.currency.lower(),
        "customer": request.customer_reference,
        "payment_method": request.method_reference,
        # without a page to return to, methods that leave the page cannot be used
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "always" if _returns(request) else "never"},
        "description": request.description,
        "metadata": sent,
    }
    trace = Trace(request.key, customer_reference=request.customer_reference)
    for n in range(1, intents.TRIES + 1):
        try:
            made = api.call(api.v1.payment_intents.create, parameters, key=intents.numbered(request.key, n))
            return intents.retrieve(api, made.object["id"]) if made.repeated else made.object
        except KeyReused:  # other words, or another request
            found = intents.find(api, trace)
            if found is None or not metadata.is_same_request(found, sent):
                raise Conflict("IDEMPOTENCY_KEY_REUSED", "This key was already used for a different request.") from None
            return found
        except Unanswered as lost:
            if not lost.server_error:
                raise
            found = intents.find(api, trace)
            if found is not None:
                return found
            if not lost.stored:
                raise
    raise Unanswered("Stripe stored an error for every key")


def _confirm(api: StripeApi, request: ChargeRequest, intent: StripeObject) -> StripeObject:
    """Confirm the intent and return it as it is then."""
    parameters: StripeObject = {"expand": intents.EXPAND}
    if request.off_session:
        parameters["off_session"] = True
    if _returns(request):
        parameters["return_url"] = request.return_url
    for n in range(1, intents.TRIES + 1):
        try:
            answer = api.call(api.v1.payment_intents.confirm, intent["id"], parameters, key=intents.numbered(f"{request.key}/confirm", n))
            return intents.retrieve(api, intent["id"]) if answer.repeated else answer.object
        except Refusal as refused:
            now = intents.retrieve(api, intent["id"])
            if now["status"] in intents.UNCONFIRMED and not now.get("last_payment_error"):
                return intents.refuse(api, now, _code(refused))
            return now
        except KeyReused:  # this intent was confirmed before with another address to return to, or another intent was
            if not _is_alone(api, request, intent):
                raise Unanswered("two PaymentIntents of one charge") from None
            stored = True
        except Unanswered as lost:
            if not lost.server_error:
                raise
            stored = lost.stored
        now = intents.retrieve(api, intent["id"])
        if now["status"] not in intents.UNCONFIRMED or now.get("last_payment_error"):
            return now
        if not stored:
            raise Unanswered("Stripe could not confirm")
    raise Unanswered("Stripe stored an error for every key")


def _is_alone(api: StripeApi, request: ChargeRequest, intent: StripeObject) -> bool:
    """Return whether no other intent of this charge can have moved money, or can still move it."""
    trace = Trace(request.key, customer_reference=request.customer_reference)
    return all(item["id"] == intent["id"] or item["status"] == "canceled" for item in intents.matches(api, trace))


def _returns(request: ChargeRequest) -> bool:
    return not request.off_session and request.return_url is not None


def _code(refused: Refusal) -> str:
    if refused.status == 402 or refused.code in CODES:
        return code_of(refused.decline_code, refused.code)
    return "MANDATE_INVALID" if refused.param in ("payment_method", "customer") else "PROCESSING_ERROR"


def cancel(api: StripeApi, trace: Trace) -> ChargeOutcome:
    """Cancel every intent of the key. If there is none, use up the key, so that a late request has no effect."""
    if trace.reference:
        found = [intents.retrieve(api, trace.reference)]
    else:
        found = intents.matches(api, trace) or [intents.use_up_key(api, trace)]
    closed = [intents.close(api, intents.retrieve(api, item["id"])) for item in found]
    return intents.outcome_of(api, closed[0], trace.key)
