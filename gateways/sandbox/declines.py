"""Why a bank says no: the codes of the compatible contract (§1.5), each with a sentence for people."""

from __future__ import annotations


def N_(text: str) -> str:
    """Marks a sentence for the catalogue; pages translate it when they show it."""
    return text


REASONS: dict[str, str] = {
    "GENERIC_DECLINE": N_("The bank declined this card and gave no reason. Nothing was taken."),
    "INSUFFICIENT_FUNDS": N_("The bank declined this card: not enough money on it. Nothing was taken."),
    "CARD_DECLINED": N_("The bank declined this card. Nothing was taken."),
    "EXPIRED_CARD": N_("The bank declined this card: it has expired. Nothing was taken."),
    "INCORRECT_CVC": N_("The bank declined this card: its security code is not right. Nothing was taken."),
    "AUTHENTICATION_REQUIRED": N_("The bank asked for a confirmation and did not get it. Nothing was taken."),
    "MANDATE_INVALID": N_("This saved card cannot be used for this customer. Nothing was taken."),
    "PROCESSING_ERROR": N_("The bank could not do this. Nothing was moved."),
}


def reason(code: str | None) -> str | None:
    """The English sentence of a code; None when there is no code."""
    return REASONS.get(code, REASONS["GENERIC_DECLINE"]) if code else None
