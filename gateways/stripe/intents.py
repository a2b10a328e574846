"""PaymentIntents: finding, closing and reading them. Which operation they belong to is in their metadata."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from billing.charging.ports import ChargeOutcome, MethodDetails, Trace
from gateways.stripe import metadata
from gateways.stripe.amounts import MINIMUM, from_stripe
from gateways.stripe.api import AccessDenied, KeyReused, Refusal, StripeApi, StripeObject, Unanswered
from gateways.stripe.declines import code_of, sentence_of
from gateways.stripe.mandates import with_mandate
from gateways.stripe.methods import WORKING_DAYS, details_of, generated_method, mandate_of

EXPAND = ["payment_method", "latest_charge"]
UNCONFIRMED = ("requires_confirmation", "requires_payment_method")
OPEN = (*UNCONFIRMED, "requires_action", "processing", "requires_capture")
TRIES = 4
"""How many idempotency keys are tried for one call of which Stripe stored an error 500."""
_CLOCK_SKEW = timedelta(days=1)
_LINKS = ("redirect_to_url.url", "verify_with_microdeposits.hosted_verification_url", "boleto_display_details.hosted_voucher_url")


def retrieve(api: StripeApi, reference: str) -> StripeObject:
    return api.call(api.v1.payment_intents.retrieve, reference, {"expand": EXPAND}).object


def find(api: StripeApi, trace: Trace) -> StripeObject | None:
    """Return the intent of an operation. Lists are complete at once; Stripe's search lags behind and is not used."""
    if trace.reference:
        return retrieve(api, trace.reference)
    found = matches(api, trace)
    return retrieve(api, found[0]["id"]) if found else None


def matches(api: StripeApi, trace: Trace) -> list[StripeObject]:
    """Return the intents of an operation, the one that moved furthest first. More than one exist only after a stored error."""
    if not trace.customer_reference:
        return []
    among: dict[str, Any] = {"customer": trace.customer_reference}
    if trace.sent_at:
        among["created"] = {"gte": int((trace.sent_at - _CLOCK_SKEW).timestamp())}
    found = [item for item in api.every(api.v1.payment_intents.list, among) if metadata.read(item) == trace.key]
    return sorted(found, key=lambda item: (_progress(item), item["created"], item["id"]))


def _progress(intent: StripeObject) -> int:
    if intent["status"] in UNCONFIRMED:
        return 1 if intent.get("last_payment_error") else 2
    return 3 if intent["status"] == "canceled" else 0


def close(api: StripeApi, intent: StripeObject) -> StripeObject:
    """Cancel an open intent, so that nobody can confirm it. Returns it as it is then: it may have succeeded before."""
    if intent["status"] not in OPEN:
        return intent
    try:
        return api.call(api.v1.payment_intents.cancel, intent["id"], {"expand": EXPAND}).object
    except Refusal:
        return retrieve(api, intent["id"])


def refuse(api: StripeApi, intent: StripeObject, code: str) -> StripeObject:
    """Close an intent that Stripe will not confirm, and keep the reason with it."""
    api.call(api.v1.payment_intents.update, intent["id"], {"metadata": {metadata.REFUSAL: code}})
    return close(api, intent)


def use_up_key(api: StripeApi, trace: Trace) -> StripeObject:
    """Make an intent under the key of an operation that was not found, and cancel it. Return it, or what was found after all.

    Stripe answers a late request with this key with an error, at every endpoint, and `find` then finds the cancelled intent.
    """
    currency = _own_currency(api)
    parameters = {
        "amount": MINIMUM.get(currency, 1_000_000),
        "currency": currency.lower(),
        "payment_method_types": ["card"],
        "customer": trace.customer_reference,
        "description": "Cancelled before it was sent",
        "metadata": {metadata.KEY: trace.key, metadata.KIND: metadata.CLOSED},
    }
    for n in range(1, TRIES + 1):
        try:
            return close(api, api.call(api.v1.payment_intents.create, parameters, key=numbered(trace.key, n)).object)
        except KeyReused:  # the request arrived meanwhile, or Stripe stored an error for it
            found = find(api, trace)
            if found is not None:
                return found
    raise Unanswered("the key could not be used up")


def _own_currency(api: StripeApi) -> str:
    """Return the account's currency, which it can always charge."""
    try:
        return str(api.call(api.v1.accounts.retrieve_current).object.get("default_currency") or "usd").upper()
    except (AccessDenied, Refusal):  # the key may not read that
        return "USD"


def is_used_up(api: StripeApi, trace: Trace) -> bool:
    """Return whether `use_up_key` was called for this operation."""
    return any(metadata.read(item, metadata.KIND) == metadata.CLOSED for item in matches(api, trace))


def numbered(key: str, n: int) -> str:
    """Return the n-th idempotency key of a call. All but the first are for calls of which Stripe stored an error 500."""
    return key if n == 1 else f"{key}/{n}"


def outcome_of(api: StripeApi, intent: StripeObject, key: str) -> ChargeOutcome:
    """Return the state of a charge. A declined intent is cancelled first, because Stripe would let it be confirmed again."""
    status, failed = intent["status"], intent.get("last_payment_error")
    if status == "requires_payment_method" and failed:
        intent = close(api, intent)
        status, failed = intent["status"], intent.get("last_payment_error") or failed
    reference = intent["id"]
    if status == "succeeded":
        amount = from_stripe(intent["amount_received"], intent["currency"])
        return ChargeOutcome("succeeded", key, reference, amount, method=method_of(api, intent))
    if status == "canceled":
        refusal = metadata.read(intent, metadata.REFUSAL)
        if failed or refusal:
            failed = failed or {}
            return declined(key, refusal or code_of(failed.get("decline_code"), failed.get("code")), reference)
        return ChargeOutcome("cancelled", key, reference)
    if status == "processing":
        return ChargeOutcome("processing", key, reference, working_days=working_days(intent))
    if status == "requires_action":
        link = action_link(intent)
        if link is None:  # it can only be answered inside Stripe's own script
            return outcome_of(api, refuse(api, intent, "AUTHENTICATION_REQUIRED"), key)
        return ChargeOutcome("requires_action", key, reference, redirect_url=link, challenged=True)
    if status in UNCONFIRMED:
        return ChargeOutcome("not_found", key, reference)  # it was created, and never confirmed
    raise Unanswered(f"a PaymentIntent in the state {status}")


def declined(key: str, code: str, reference: str | None = None) -> ChargeOutcome:
    return ChargeOutcome("declined", key, reference, error_code=code, error_message=sentence_of(code))


def action_link(intent: StripeObject) -> str | None:
    action = intent.get("next_action") or {}
    for path in _LINKS:
        found: Any = action
        for name in path.split("."):
            found = (found or {}).get(name)
        if found:
            return str(found)
    return None


def working_days(intent: StripeObject) -> int | None:
    method = intent.get("payment_method")
    return WORKING_DAYS.get(method["type"]) if isinstance(method, dict) else None


def method_of(api: StripeApi, intent: StripeObject) -> MethodDetails | None:
    """Return the method that later charges can use. A payment by iDEAL leaves a SEPA debit for that."""
    charge = intent.get("latest_charge")
    details = charge.get("payment_method_details") if isinstance(charge, dict) else None
    method, other = intent.get("payment_method"), generated_method(details)
    if other:
        method = api.call(api.v1.payment_methods.retrieve, other).object
    return with_mandate(api, details_of(method, mandate_of(details))) if isinstance(method, dict) else None
