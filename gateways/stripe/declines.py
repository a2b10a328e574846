"""Stripe's decline and error codes in our words. Sources: https://docs.stripe.com/declines/codes and …/error-codes."""

from __future__ import annotations

from core.errors import N_

CODES: dict[str, str] = {
    "approve_with_id": "TRY_AGAIN_LATER",
    "authentication_not_handled": "AUTHENTICATION_REQUIRED",
    "authentication_required": "AUTHENTICATION_REQUIRED",
    "call_issuer": "DO_NOT_HONOR",
    "card_declined": "GENERIC_DECLINE",
    "card_decline_rate_limit_exceeded": "CARD_VELOCITY_EXCEEDED",
    "card_not_supported": "CARD_DECLINED",
    "card_velocity_exceeded": "CARD_VELOCITY_EXCEEDED",
    "charge_exceeds_source_limit": "CARD_VELOCITY_EXCEEDED",
    "charge_exceeds_transaction_limit": "CARD_VELOCITY_EXCEEDED",
    "charge_exceeds_weekly_limit": "CARD_VELOCITY_EXCEEDED",
    "currency_not_supported": "CARD_DECLINED",
    "debit_not_authorized": "MANDATE_INVALID",
    "do_not_honor": "DO_NOT_HONOR",
    "do_not_try_again": "CARD_DECLINED",
    "duplicate_transaction": "CARD_DECLINED",
    "expired_card": "EXPIRED_CARD",
    "fraudulent": "GENERIC_DECLINE",
    "generic_decline": "GENERIC_DECLINE",
    "incorrect_cvc": "INCORRECT_CVC",
    "incorrect_number": "CARD_DECLINED",
    "incorrect_pin": "CARD_DECLINED",
    "incorrect_zip": "CARD_DECLINED",
    "insufficient_funds": "INSUFFICIENT_FUNDS",
    "invalid_account": "CARD_DECLINED",
    "invalid_amount": "CARD_DECLINED",
    "invalid_cvc": "INCORRECT_CVC",
    "invalid_expiry_month": "EXPIRED_CARD",
    "invalid_expiry_year": "EXPIRED_CARD",
    "invalid_mandate": "MANDATE_INVALID",
    "issuer_not_available": "TRY_AGAIN_LATER",
    "lost_card": "LOST_CARD",
    "merchant_blacklist": "GENERIC_DECLINE",
    "mobile_device_authentication_required": "AUTHENTICATION_REQUIRED",
    "new_account_information_available": "CARD_DECLINED",
    "no_action_taken": "CARD_DECLINED",
    "not_permitted": "CARD_DECLINED",
    "offline_pin_required": "AUTHENTICATION_REQUIRED",
    "payment_intent_authentication_failure": "AUTHENTICATION_REQUIRED",
    "payment_intent_mandate_invalid": "MANDATE_INVALID",
    "payment_method_provider_timeout": "NETWORK_TIMEOUT",
    "pickup_card": "CARD_DECLINED",
    "pin_try_exceeded": "CARD_VELOCITY_EXCEEDED",
    "processing_error": "PROCESSING_ERROR",
    "reenter_transaction": "TRY_AGAIN_LATER",
    "restricted_card": "CARD_DECLINED",
    "revocation_of_all_authorizations": "CARD_DECLINED",
    "revocation_of_authorization": "CARD_DECLINED",
    "security_violation": "CARD_DECLINED",
    "service_not_allowed": "CARD_DECLINED",
    "setup_intent_authentication_failure": "AUTHENTICATION_REQUIRED",
    "stolen_card": "STOLEN_CARD",
    "stop_payment_order": "CARD_DECLINED",
    "testmode_decline": "CARD_DECLINED",
    "transaction_not_allowed": "CARD_DECLINED",
    "try_again_later": "TRY_AGAIN_LATER",
    "withdrawal_count_limit_exceeded": "CARD_VELOCITY_EXCEEDED",
    # of refused requests, and of bank debits
    "account_closed": "MANDATE_INVALID",
    "amount_too_small": "PROCESSING_ERROR",
    "bank_account_declined": "GENERIC_DECLINE",
    "bank_account_unusable": "MANDATE_INVALID",
    "no_account": "MANDATE_INVALID",
    "payment_method_customer_mismatch": "MANDATE_INVALID",
    "payment_method_unactivated": "MANDATE_INVALID",
    "payment_method_unexpected_state": "MANDATE_INVALID",
    "payment_intent_payment_attempt_expired": "AUTHENTICATION_REQUIRED",
    "payment_intent_payment_attempt_failed": "GENERIC_DECLINE",
}

# Stolen, lost and suspicious cards get the same sentence as others: the person who holds the card reads it.
_SENTENCES: dict[str, str] = {
    "INSUFFICIENT_FUNDS": N_("The bank declined this card: insufficient funds. You were not charged."),
    "EXPIRED_CARD": N_("The bank declined this card: it has expired. You were not charged."),
    "INCORRECT_CVC": N_("The bank declined this card: the security code is wrong. You were not charged."),
    "AUTHENTICATION_REQUIRED": N_("The bank asked for a confirmation and did not receive it. You were not charged."),
    "MANDATE_INVALID": N_("This saved card cannot be used for this customer. You were not charged."),
    "PROCESSING_ERROR": N_("The bank could not process this. No money was moved."),
    "CARD_DECLINED": N_("The bank declined this card. You were not charged."),
}
_USUAL = N_("The bank declined this card and gave no reason. You were not charged.")


def code_of(decline_code: str | None, code: str | None) -> str:
    """Return our decline code. Stripe's `decline_code` is more exact than its `code`."""
    return CODES.get(decline_code or "") or CODES.get(code or "") or "GENERIC_DECLINE"


def sentence_of(code: str) -> str:
    """Return the English sentence of one of our decline codes."""
    return _SENTENCES.get(code, _USUAL)
