"""Checkout Sessions, what happens on their hosted page, and 3-D Secure."""

from __future__ import annotations

import time
from typing import Any

from tests.harness.stripe_standin import intents, methods
from tests.harness.stripe_standin.cards import BY_NUMBER, TestCard
from tests.harness.stripe_standin.world import DAY, Account, Object, Problem


def create(account: Account, values: dict[str, Any]) -> Object:
    mode, customer = values["mode"], account.get(values["customer"], "customer", "customer")["id"]
    total, currency = None, (values.get("currency") or "").lower() or None
    if mode == "payment":
        prices = [(item["price_data"], item.get("quantity", 1)) for item in values["line_items"]]
        total, currency = sum(price["unit_amount"] * many for price, many in prices), prices[0][0]["currency"].lower()
        if total < intents.MINIMUM.get(currency, 1):
            raise Problem(400, "The Checkout Session's total amount due must be at least the minimum.", code="amount_too_small")
    elif not currency:
        raise Problem(400, "Missing required param: currency.", param="currency", code="parameter_missing")
    now = int(time.time())
    made = account.make(
        "checkout.session", mode=mode, customer=customer, currency=currency, amount_total=total, amount_subtotal=total, status="open",
        payment_status="no_payment_required" if mode == "setup" else "unpaid", expires_at=values.get("expires_at", now + DAY),
        success_url=values.get("success_url"), cancel_url=values.get("cancel_url"), locale=values.get("locale"),
        metadata=values.get("metadata", {}), payment_intent=None, setup_intent=None, payment_method_types=["card", "sepa_debit"],
        automatic_tax={"enabled": False, "liability": None, "provider": None, "status": None}, custom_fields=[], shipping_options=[],
        custom_text={"after_submit": None, "shipping_address": None, "submit": None, "terms_of_service_acceptance": None}, url=None,
    )  # fmt: skip
    made["url"] = f"{account.base_url}/c/pay/{made['id']}"
    account.private[made["id"]]["values"] = values
    if mode == "setup":
        setup = account.make(
            "setup_intent", customer=customer, payment_method=None, payment_method_types=["card", "sepa_debit"], usage="off_session",
            status="requires_payment_method", last_setup_error=None, next_action=None, latest_attempt=None, mandate=None,
            metadata=values.get("setup_intent_data", {}).get("metadata", {}), client_secret="seti_secret", cancellation_reason=None,
        )  # fmt: skip
        made["setup_intent"] = setup["id"]
    return made


def expire(account: Account, values: dict[str, Any], session: str) -> Object:
    found = account.get(session, "checkout.session")
    if found["status"] != "open":
        raise Problem(400, 'Only Checkout Sessions with a status in ["open"] can be expired.')
    _close(account, found, "expired")
    intent = account.objects.get(found["payment_intent"] or "")
    if intent and intent["status"] in intents.CANCELABLE:
        intents.cancel(account, {}, intent["id"])
    account.emit("checkout.session.expired", found)
    return found


def expire_due(account: Account) -> None:
    for session in account.every("checkout.session", status="open"):
        if session["expires_at"] <= time.time():
            expire(account, {}, session["id"])


def submit(account: Account, session: str, form: dict[str, str]) -> Object:
    """The customer submits the page. A decline leaves it open; the error is in the intent."""
    found = account.get(session, "checkout.session")
    if found["status"] != "open":
        return found
    name, country = form.get("name") or None, form.get("country") or None
    if form.get("iban"):
        method = methods.from_iban(account, form["iban"].replace(" ", ""), name)
    else:
        number = form["number"].replace(" ", "")
        month, year = (int(part) for part in form["expiry"].split("/"))
        card = BY_NUMBER.get(number) or TestCard(number, "")
        method = methods.from_card(account, card, name=name, country=country, month=month, year=year % 100 + 2000)
    try:
        if found["mode"] == "setup":
            _set_up(account, found, method)
        else:
            _pay(account, found, method)
    except Problem:  # the page says so and stays open
        pass
    return found


def _pay(account: Account, session: Object, method: Object) -> None:
    values = account.private[session["id"]]["values"].get("payment_intent_data", {})
    intent = account.objects.get(session["payment_intent"] or "")
    if intent is None:
        total = {"amount": session["amount_total"], "currency": session["currency"], "customer": session["customer"]}
        intent = intents.create(account, total | values)
        session["payment_intent"] = intent["id"]
        account.private[intent["id"]] |= {"session": session["id"], "session_open": True, "return_url": session["success_url"]}
    intents.attempt(account, intent, method)
    after_payment(account, intent)


def after_payment(account: Account, intent: Object) -> None:
    """Complete the session of an intent that was paid or is being paid."""
    session = account.objects.get(account.private[intent["id"]].get("session", ""))
    if session is None or session["status"] != "open" or intent["status"] not in ("succeeded", "processing"):
        return
    session["payment_status"] = "paid" if intent["status"] == "succeeded" else "unpaid"
    method = account.objects[intent["payment_method"]]
    if method["customer"] is None:
        methods.keep(account, method, session["customer"])
    _close(account, session, "complete")
    account.emit("checkout.session.completed", session)


def _set_up(account: Account, session: Object, method: Object) -> None:
    setup = account.get(session["setup_intent"], "setup_intent")
    behavior = account.private[method["id"]]["behavior"]
    account.private[setup["id"]] |= {"session": session["id"], "return_url": session["success_url"]}
    if methods.is_decline(behavior) or methods.is_expired(method):
        problem = methods.decline("expired_card" if methods.is_expired(method) else behavior)
        setup["last_setup_error"] = {**problem.error, "payment_method": method}
        raise problem
    setup["payment_method"] = method["id"]
    if behavior.startswith("authenticate"):
        setup["status"] = "requires_action"
        url = f"{account.base_url}/3ds/{setup['id']}"
        setup["next_action"] = {"type": "redirect_to_url", "redirect_to_url": {"return_url": session["success_url"], "url": url}}
        return
    _finish_setup(account, setup, method)


def _finish_setup(account: Account, setup: Object, method: Object) -> None:
    session = account.get(account.private[setup["id"]]["session"], "checkout.session")
    setup |= {"status": "succeeded", "next_action": None, "last_setup_error": None}
    if method["type"] == "sepa_debit":
        setup["mandate"] = f"mandate_{method['id'][3:]}"
    account.private[method["id"]]["authenticated"] = True
    methods.keep(account, method, session["customer"])
    _close(account, session, "complete")
    account.emit("setup_intent.succeeded", setup)
    account.emit("checkout.session.completed", session)


def answer_bank(account: Account, reference: str, approved: bool) -> Object:
    """The customer answers the bank's question about a payment or a method to save. A second answer changes nothing."""
    found = account.objects[reference]
    if found["status"] != "requires_action":
        return found
    method = account.objects[found["payment_method"]]
    if found["object"] == "setup_intent":
        if approved:
            _finish_setup(account, found, method)
        else:
            error = {
                "type": "invalid_request_error",
                "code": "setup_intent_authentication_failure",
                "message": "We could not authenticate.",
            }
            found |= {"status": "requires_payment_method", "next_action": None, "last_setup_error": error}
        return found
    if approved:
        account.private[method["id"]]["authenticated"] = True
        intents.succeed(account, found, method)
        after_payment(account, found)
        return found
    problem = Problem(402, "We are unable to authenticate your payment method.", code="payment_intent_authentication_failure")
    found |= {"status": "requires_payment_method", "payment_method": None, "next_action": None,
              "last_payment_error": {**problem.error, "payment_method": method}}  # fmt: skip
    account.emit("payment_intent.payment_failed", found)
    return found


def _close(account: Account, session: Object, status: str) -> None:
    session |= {"status": status, "url": None}
    if session["payment_intent"]:
        account.private[session["payment_intent"]]["session_open"] = False
