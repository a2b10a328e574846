"""PaymentIntents and SetupIntents with Stripe's states, and the charges that they make."""

from __future__ import annotations

from typing import Any

from tests.harness.stripe_standin import methods
from tests.harness.stripe_standin.world import Account, Object, Problem

MINIMUM = {"usd": 50, "eur": 50, "gbp": 30, "jpy": 50, "sek": 300}
CANCELABLE = ("requires_payment_method", "requires_confirmation", "requires_action", "requires_capture")


def create(account: Account, values: dict[str, Any]) -> Object:
    currency = values["currency"].lower()
    if values["amount"] < MINIMUM.get(currency, 1):
        raise Problem(400, "Amount must be at least the minimum.", code="amount_too_small", param="amount")
    customer = account.get(values["customer"], "customer", "customer")["id"] if values.get("customer") else None
    method = methods.find(account, values["payment_method"]) if values.get("payment_method") else None
    if method is not None:
        methods.check_usable(account, method, customer)
    automatic = values.get("automatic_payment_methods")
    if automatic:
        automatic = {"allow_redirects": "always", **automatic}
    made = account.make(
        "payment_intent", amount=values["amount"], currency=currency, customer=customer, payment_method=method and method["id"],
        status="requires_confirmation" if method else "requires_payment_method", amount_received=0, amount_capturable=0,
        automatic_payment_methods=automatic,
        payment_method_types=values.get("payment_method_types", ["card", "sepa_debit"]), metadata=values.get("metadata", {}),
        description=values.get("description"), last_payment_error=None, latest_charge=None, next_action=None, canceled_at=None,
        cancellation_reason=None, capture_method="automatic_async", confirmation_method="automatic",
        setup_future_usage=values.get("setup_future_usage"), client_secret="pi_secret",
    )  # fmt: skip
    account.emit("payment_intent.created", made)
    if values.get("confirm"):
        return confirm(account, values, made["id"])
    return made


def update(account: Account, values: dict[str, Any], intent: str) -> Object:
    found = account.get(intent, "payment_intent")
    found["metadata"] |= values.get("metadata", {})
    if "description" in values:
        found["description"] = values["description"]
    return found


def confirm(account: Account, values: dict[str, Any], intent: str) -> Object:
    found = account.get(intent, "payment_intent")
    if values.get("payment_method"):
        found["payment_method"] = methods.find(account, values["payment_method"])["id"]
    if found["status"] not in ("requires_confirmation", "requires_payment_method", "requires_action") or not found["payment_method"]:
        raise _unexpected(found, "confirm")
    automatic = found["automatic_payment_methods"]
    if automatic and automatic["allow_redirects"] == "always" and not values.get("return_url"):
        words = "Because some of these payment methods might redirect your customer off of your page, you must provide a `return_url`."
        raise Problem(400, words, param="return_url")
    method = account.get(found["payment_method"], "payment_method")
    methods.check_usable(account, method, found["customer"])
    account.private[intent]["return_url"] = values.get("return_url")
    return attempt(account, found, method, off_session=bool(values.get("off_session")))


def attempt(account: Account, intent: Object, method: Object, *, off_session: bool = False) -> Object:
    """Charge the method, as its test card says. Raises Problem for a decline; the intent then waits for another method."""
    facts = account.private[method["id"]]
    behavior = "expired_card" if methods.is_expired(method) else facts["behavior"]
    if behavior == "attach_only" or (behavior == "absent_fails" and off_session):
        behavior = "generic_decline"
    intent["payment_method"], intent["next_action"] = method["id"], None
    asks = behavior == "authenticate" or (behavior == "authenticate_setup" and not facts["authenticated"])
    if asks and off_session:
        raise fail(account, intent, "authentication_required")
    if asks:
        challenge(account, intent)
        account.emit("payment_intent.requires_action", intent)
        return intent
    if behavior == "delayed":
        intent["status"] = "processing"
        _charge(account, intent, method, "pending")
        account.emit("payment_intent.processing", intent)
        return intent
    if methods.is_decline(behavior):
        raise fail(account, intent, behavior)
    return succeed(account, intent, method)


def challenge(account: Account, intent: Object) -> None:
    back = account.private[intent["id"]].get("return_url")
    if back is None:
        intent["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
    else:
        url = f"{account.base_url}/3ds/{intent['id']}"
        intent["next_action"] = {"type": "redirect_to_url", "redirect_to_url": {"return_url": back, "url": url}}
    intent["status"] = "requires_action"


def fail(account: Account, intent: Object, behavior: str) -> Problem:
    """The last attempt failed. Returns the error of the answer, which holds the intent."""
    problem = methods.decline(behavior)
    method = account.objects.get(intent["payment_method"] or "")
    charge = _charge(account, intent, method, "failed") if method else None
    intent["last_payment_error"] = {**problem.error, "charge": charge and charge["id"], "payment_method": method}
    intent["status"], intent["payment_method"], intent["next_action"] = "requires_payment_method", None, None
    account.emit("payment_intent.payment_failed", intent)
    return Problem(402, problem.error["message"], "card_error", code=problem.error["code"], decline_code=behavior,
                   charge=charge and charge["id"], payment_intent=intent)  # fmt: skip


def succeed(account: Account, intent: Object, method: Object) -> Object:
    charge = account.objects.get(intent["latest_charge"] or "")
    if charge is None or charge["status"] != "pending":
        charge = _charge(account, intent, method, "succeeded")
    charge |= {"status": "succeeded", "paid": True, "captured": True, "amount_captured": intent["amount"]}
    intent |= {"status": "succeeded", "amount_received": intent["amount"], "next_action": None, "last_payment_error": None}
    account.private[method["id"]]["used"] = True
    account.move("charge", intent, intent["amount"], intent["currency"])
    if intent["setup_future_usage"] and method["customer"] is None and intent["customer"]:
        account.private[method["id"]]["authenticated"] = True
        methods.keep(account, method, intent["customer"])
    account.emit("charge.succeeded", charge)
    account.emit("payment_intent.succeeded", intent)
    return intent


def cancel(account: Account, values: dict[str, Any], intent: str) -> Object:
    found = account.get(intent, "payment_intent")
    if found["status"] not in CANCELABLE or account.private[intent].get("session_open"):
        raise _unexpected(found, "cancel")
    found |= {
        "status": "canceled",
        "canceled_at": found["created"],
        "next_action": None,
        "cancellation_reason": values.get("cancellation_reason"),
    }
    account.emit("payment_intent.canceled", found)
    return found


def _unexpected(intent: Object, verb: str) -> Problem:
    words = f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}."
    return Problem(400, words, code="payment_intent_unexpected_state", payment_intent=intent)


def _charge(account: Account, intent: Object, method: Object, status: str) -> Object:
    kind = method["type"]
    facts = {name: value for name, value in method[kind].items() if name in _FACTS[kind]}
    if kind == "card":
        facts |= {"checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"}}
    else:
        facts |= {"mandate": f"mandate_{method['id'][3:]}"}
    made = account.make(
        "charge", amount=intent["amount"], amount_captured=0, amount_refunded=0, captured=False, currency=intent["currency"],
        disputed=False,
        paid=False, refunded=False, status=status, payment_intent=intent["id"], payment_method=method["id"], customer=intent["customer"],
        billing_details=method["billing_details"], metadata=dict(intent["metadata"]), payment_method_details={"type": kind, kind: facts},
    )  # fmt: skip
    intent["latest_charge"] = made["id"]
    return made


_FACTS = {
    "card": ("brand", "last4", "exp_month", "exp_year", "country", "fingerprint", "funding", "wallet"),
    "sepa_debit": ("bank_code", "branch_code", "country", "last4", "fingerprint"),
}
