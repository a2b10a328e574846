"""Customers and payment methods."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from tests.harness.stripe_standin import tax_ids
from tests.harness.stripe_standin.cards import BY_TOKEN, TestCard, is_decline
from tests.harness.stripe_standin.world import Account, Object, Problem


def create_customer(account: Account, values: dict[str, Any]) -> Object:
    made = account.make("customer", email=values.get("email"), name=values.get("name"), metadata=values.get("metadata", {}),
                        description=values.get("description"))  # fmt: skip
    account.emit("customer.created", made)
    return made


def update_customer(account: Account, values: dict[str, Any], customer: str) -> Object:
    found = account.get(customer, "customer")
    for name in ("email", "description"):
        if name in values:
            found[name] = values[name] or None
    tax_ids.change_details(found, values)
    found["metadata"] |= values.get("metadata", {})
    account.emit("customer.updated", found)
    return found


def from_card(
    account: Account, card: TestCard, *, name: str | None = None, country: str | None = None, month: int = 12, year: int = 2034
) -> Object:
    made = account.make(
        "payment_method",
        type="card",
        billing_details=_billing(name, country),
        customer=None,
        metadata={},
        card={
            "brand": card.brand, "last4": card.number[-4:], "exp_month": month, "exp_year": year, "funding": "credit",
            "country": card.country, "fingerprint": hashlib.sha256(f"{account.id}{card.number}".encode()).hexdigest()[:16],
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"}, "wallet": None,
            "networks": {"available": [card.brand], "preferred": None}, "three_d_secure_usage": {"supported": True},
            "display_brand": card.brand, "generated_from": None, "regulated_status": "unregulated",
        },
    )  # fmt: skip
    account.private[made["id"]] |= {"behavior": card.behavior, "authenticated": False, "used": False}
    return made


def from_iban(account: Account, iban: str, name: str | None = None) -> Object:
    made = account.make(
        "payment_method", type="sepa_debit", billing_details=_billing(name, None), customer=None, metadata={},
        sepa_debit={"bank_code": iban[4:9], "branch_code": "", "country": iban[:2], "last4": iban[-4:],
                    "fingerprint": hashlib.sha256(f"{account.id}{iban}".encode()).hexdigest()[:16], "generated_from": None},
    )  # fmt: skip
    account.private[made["id"]] |= {"behavior": "delayed", "authenticated": False, "used": False}
    return made


def _billing(name: str | None, country: str | None) -> Object:
    address = {"city": None, "country": country, "line1": None, "line2": None, "postal_code": None, "state": None}
    return {"address": address, "email": None, "name": name, "phone": None, "tax_id": None}


def create(account: Account, values: dict[str, Any]) -> Object:
    """Make a method from a published token such as `tok_visa`. Card numbers are refused, as Stripe does by default."""
    card = BY_TOKEN.get((values.get("card") or {}).get("token", ""))
    if card is None:
        raise Problem(402, "Sending credit card numbers directly to the Stripe API is generally unsafe.", code="invalid_request")
    return from_card(account, card)


def find(account: Account, reference: str, param: str = "payment_method") -> Object:
    return account.get(reference, "payment_method", param)


def check_usable(account: Account, method: Object, customer: str | None) -> None:
    if method["customer"] is not None and method["customer"] != customer:
        raise Problem(400, f"The customer does not have a payment method with the ID {method['id']}. The payment method must be attached to"
                           " the customer.", param="payment_method")  # fmt: skip
    if account.private[method["id"]].get("detached"):
        raise Problem(400, "The provided PaymentMethod was detached from a Customer. It may not be used again.", param="payment_method",
                      code="payment_method_unexpected_state")  # fmt: skip


def attach(account: Account, values: dict[str, Any], method: str) -> Object:
    customer = account.get(values["customer"], "customer", "customer")
    found = find(account, method)
    if is_decline(account.private[found["id"]]["behavior"]):
        raise decline(account.private[found["id"]]["behavior"])
    check_usable(account, found, customer["id"])
    return keep(account, found, customer["id"])


def keep(account: Account, method: Object, customer: str) -> Object:
    method["customer"] = customer
    account.emit("payment_method.attached", method)
    return method


def detach(account: Account, values: dict[str, Any], method: str) -> Object:
    found = account.get(method, "payment_method")
    if found["customer"] is None:
        raise Problem(
            400, "The payment method you provided is not attached to a customer so detachment is impossible.", param="payment_method"
        )
    found["customer"] = None
    account.private[found["id"]]["detached"] = True
    account.emit("payment_method.detached", found)
    return found


def mandate(account: Account, values: dict[str, Any], reference: str) -> Object:
    method = account.get(f"pm_{reference.removeprefix('mandate_')}", "payment_method")
    facts = {"reference": f"ACORN{method['sepa_debit']['last4']}", "url": f"{account.base_url}/mandates/{reference}"}
    return {
        "id": reference, "object": "mandate", "livemode": account.live, "payment_method": method["id"], "status": "active",
        "type": "multi_use", "multi_use": {}, "payment_method_details": {"type": "sepa_debit", "sepa_debit": facts},
        "customer_acceptance": {"type": "online", "accepted_at": method["created"],
                                "online": {"ip_address": "192.0.2.1", "user_agent": "a browser"}},
    }  # fmt: skip


def renew(account: Account, method: str, month: int, year: int) -> Object:
    """The network tells of a new expiry of a saved card."""
    found = account.get(method, "payment_method")
    found["card"] |= {"exp_month": month, "exp_year": year}
    account.emit("payment_method.automatically_updated", found)
    return found


def decline(behavior: str, **more: Any) -> Problem:
    from tests.harness.stripe_standin.cards import OWN_CODE

    code = behavior if behavior in (*OWN_CODE, "authentication_required") else "card_declined"
    return Problem(402, f"Your card was declined ({behavior}).", "card_error", code=code, decline_code=behavior, **more)


def is_expired(method: Object) -> bool:
    card = method.get("card")
    now = time.gmtime()
    return bool(card) and (card["exp_year"], card["exp_month"]) < (now.tm_year, now.tm_mon)
