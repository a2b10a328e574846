"""Stripe's payment methods as the port describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from billing.charging.ports import MethodDetails

WORKING_DAYS: dict[str, int] = {
    "acss_debit": 5, "au_becs_debit": 3, "bacs_debit": 3, "customer_balance": 3, "nz_bank_account": 2, "sepa_debit": 5,
    "us_bank_account": 4,
}  # fmt: skip
"""Working days that a bank usually needs to confirm (https://docs.stripe.com/payments/bank-debits). Failures can come later."""

_REUSABLE = frozenset(
    {"acss_debit", "amazon_pay", "au_becs_debit", "bacs_debit", "card", "cashapp", "link", "nz_bank_account", "paypal", "revolut_pay",
     "sepa_debit", "us_bank_account"}
)  # fmt: skip
_DISPLAY = {"link": "email", "paypal": "payer_email", "cashapp": "cashtag", "ideal": "bank", "eps": "bank", "p24": "bank"}


def details_of(method: Mapping[str, Any], mandate: str | None = None) -> MethodDetails:
    kind = method["type"]
    facts: Mapping[str, Any] = method.get(kind) or {}
    wallet = facts.get("wallet") or {}
    return MethodDetails(
        reference=method["id"],
        kind=kind,
        brand=facts.get("brand") or facts.get("bank_name"),
        last4=facts.get("last4"),
        expiry_month=facts.get("exp_month"),
        expiry_year=facts.get("exp_year"),
        holder=(method.get("billing_details") or {}).get("name"),
        country=facts.get("country"),
        recurring=kind in _REUSABLE,
        wallet=wallet.get("type"),
        display=facts.get(_DISPLAY.get(kind, "")),
        bank_code=facts.get("bank_code") or None,
        mandate=mandate,
        fingerprint=facts.get("fingerprint"),
        customer_reference=_id(method.get("customer")),
    )


def generated_method(details: Mapping[str, Any] | None) -> str | None:
    """Return the id of the SEPA debit that a payment by iDEAL, Bancontact or Sofort left behind for later charges."""
    kind = (details or {}).get("type") or ""
    return _id((((details or {}).get(kind)) or {}).get("generated_sepa_debit"))


def mandate_of(details: Mapping[str, Any] | None) -> str | None:
    """Return the id of the debit mandate in the payment details of a charge."""
    kind = (details or {}).get("type") or ""
    facts = (details or {}).get(kind) or {}
    return _id(facts.get("mandate")) or _id(facts.get("generated_sepa_debit_mandate"))


def _id(value: Any) -> str | None:
    """Return the id of an object that may be expanded."""
    return value["id"] if isinstance(value, dict) else value or None
