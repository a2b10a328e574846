"""Decline codes of the compatible contract (§1.5) and their messages."""

from __future__ import annotations


def N_(text: str) -> str:
    """Mark a sentence for translation. Pages translate it when they show it."""
    return text


REASONS: dict[str, str] = {
    "GENERIC_DECLINE": N_("The bank declined this card and gave no reason. You were not charged."),
    "INSUFFICIENT_FUNDS": N_("The bank declined this card: insufficient funds. You were not charged."),
    "CARD_DECLINED": N_("The bank declined this card. You were not charged."),
    "EXPIRED_CARD": N_("The bank declined this card: it has expired. You were not charged."),
    "INCORRECT_CVC": N_("The bank declined this card: the security code is wrong. You were not charged."),
    "AUTHENTICATION_REQUIRED": N_("The bank asked for a confirmation and did not receive it. You were not charged."),
    "MANDATE_INVALID": N_("This saved card cannot be used for this customer. You were not charged."),
    "PROCESSING_ERROR": N_("The bank could not process this. No money was moved."),
}


def reason(code: str | None) -> str | None:
    """Return the English message of a code; None without a code."""
    return REASONS.get(code, REASONS["GENERIC_DECLINE"]) if code else None
