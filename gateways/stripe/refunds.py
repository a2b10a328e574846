"""Refunds. Stripe makes them in one call, so a refund is never sent under a second key: it could then be made twice."""

from __future__ import annotations

from billing.charging.ports import ChargeOutcome, RefundRequest, Trace
from billing.charging.processor_reports import RefundReport, RefundState
from core.errors import Conflict
from gateways.stripe import checkout, intents, metadata
from gateways.stripe.amounts import from_stripe, to_stripe
from gateways.stripe.api import KeyReused, Refusal, StripeApi, StripeObject, Unanswered

_STATES: dict[str, RefundState] = {
    "succeeded": "succeeded",
    "pending": "processing",
    "requires_action": "processing",
    "failed": "declined",
    "canceled": "cancelled",
}


def refund(api: StripeApi, request: RefundRequest) -> ChargeOutcome:
    """Refund a charge. A charge that Stripe does not know, or of another currency, is refused."""
    intent = _intent_of(api, request.charge)
    if intent is None or from_stripe(0, intent["currency"]).currency != request.amount.currency:
        return _refused(request.key)
    sent = metadata.of_request(request)
    parameters = {"payment_intent": intent["id"], "amount": to_stripe(request.amount), "metadata": sent}
    try:
        made = api.call(api.v1.refunds.create, parameters, key=request.key)
    except KeyReused:
        return _reused(api, request, sent)
    except Refusal:
        return _refused(request.key)
    except Unanswered as lost:
        found = find(api, Trace(request.key, "refund", charge=request.charge)) if lost.server_error else None
        if found is None:
            raise
        return outcome_of(found, request.key)
    return outcome_of(_retrieve(api, made.object["id"]) if made.repeated else made.object, request.key)


def _reused(api: StripeApi, request: RefundRequest, sent: dict[str, str]) -> ChargeOutcome:
    """Answer for a key that was used with other parameters: cancelled before the request arrived, or another request."""
    trace = Trace(request.key, "refund", customer_reference=request.charge.customer_reference, charge=request.charge)
    found = find(api, trace)
    if found is not None and metadata.is_same_request(found, sent):
        return outcome_of(found, request.key)
    if found is None and _closed(api, trace):
        return ChargeOutcome("cancelled", request.key)
    raise Conflict("IDEMPOTENCY_KEY_REUSED", "This key was already used for a different request.")


def look_up(api: StripeApi, trace: Trace) -> ChargeOutcome:
    found = find(api, trace)
    if found is not None:
        return outcome_of(found, trace.key)
    return ChargeOutcome("cancelled" if _closed(api, trace) else "not_found", trace.key)


def cancel(api: StripeApi, trace: Trace) -> ChargeOutcome:
    """Make sure that a refund that was not found never happens. One that Stripe has is on its way and only ends by itself."""
    found = find(api, trace)
    if found is None:
        intents.use_up_key(api, _with_customer(trace))
        found = find(api, trace)
    return outcome_of(found, trace.key) if found is not None else ChargeOutcome("cancelled", trace.key)


def find(api: StripeApi, trace: Trace) -> StripeObject | None:
    if trace.reference:
        return _retrieve(api, trace.reference)
    intent = _intent_of(api, trace.charge) if trace.charge else None
    if intent is None:
        return None
    every = api.every(api.v1.refunds.list, {"payment_intent": intent["id"]})
    return next((item for item in every if metadata.read(item) == trace.key), None)


def outcome_of(found: StripeObject, key: str) -> ChargeOutcome:
    """Return the state of a refund. A refund that failed, perhaps days after it succeeded, is declined."""
    state = _STATES[found["status"]]
    if state == "declined":
        return _refused(key, found["id"])
    amount = from_stripe(found["amount"], found["currency"]) if state == "succeeded" else None
    return ChargeOutcome(state, key, found["id"], amount)


def report(api: StripeApi, reference: str) -> RefundReport | None:
    """Return a refund with its charge, or None if the account has none of this id."""
    try:
        found = api.call(api.v1.refunds.retrieve, reference, {"expand": ["payment_intent"]}).object
    except Refusal as refused:
        if refused.status == 404:
            return None
        raise
    intent = found.get("payment_intent") or {}
    amount = from_stripe(found["amount"], found["currency"])
    return RefundReport(found["id"], _STATES[found["status"]], amount, metadata.read(found), metadata.read(intent), intent.get("id"))


def _retrieve(api: StripeApi, reference: str) -> StripeObject:
    return api.call(api.v1.refunds.retrieve, reference).object


def _refused(key: str, reference: str | None = None) -> ChargeOutcome:
    return intents.declined(key, "PROCESSING_ERROR", reference)


def _intent_of(api: StripeApi, charge: Trace) -> StripeObject | None:
    """Return the PaymentIntent of a charge, also if it was paid on a hosted page."""
    if (charge.reference or "").startswith("cs_") or (charge.kind == "collect" and not charge.reference):
        session = checkout.find(api, charge)
        return session.get("payment_intent") if session else None
    return intents.find(api, charge)


def _closed(api: StripeApi, trace: Trace) -> bool:
    return intents.is_used_up(api, _with_customer(trace))


def _with_customer(trace: Trace) -> Trace:
    """Return the trace for intents, with the customer of the charge if it names none itself."""
    customer = trace.customer_reference or (trace.charge.customer_reference if trace.charge else "")
    return Trace(trace.key, "charge", customer_reference=customer, sent_at=trace.sent_at)
