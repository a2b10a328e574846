"""Stripe's published test cards and test bank accounts (https://docs.stripe.com/testing), and what they do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TestCard:
    """`behavior`: ok, attach_only (fails when charged), authenticate (always), authenticate_setup (until saved with authentication),
    dispute, refund_fails, refund_pending, or a decline code."""

    number: str
    token: str
    behavior: str = "ok"
    brand: str = "visa"
    country: str = "US"

    __test__ = False


CARDS = (
    TestCard("4242424242424242", "tok_visa"),
    TestCard("5555555555554444", "tok_mastercard", brand="mastercard"),
    TestCard("4000008260000000", "tok_gb", country="GB"),
    TestCard("4000000000000002", "tok_visa_chargeDeclined", "generic_decline"),
    TestCard("4000000000009995", "tok_visa_chargeDeclinedInsufficientFunds", "insufficient_funds"),
    TestCard("4000000000009987", "tok_visa_chargeDeclinedLostCard", "lost_card"),
    TestCard("4000000000009979", "tok_visa_chargeDeclinedStolenCard", "stolen_card"),
    TestCard("4000000000000069", "tok_chargeDeclinedExpiredCard", "expired_card"),
    TestCard("4000000000000127", "tok_chargeDeclinedIncorrectCvc", "incorrect_cvc"),
    TestCard("4000000000000119", "tok_chargeDeclinedProcessingError", "processing_error"),
    TestCard("4000000000006975", "tok_visa_chargeDeclinedVelocityLimitExceeded", "card_velocity_exceeded"),
    TestCard("4000000000000341", "tok_chargeCustomerFail", "attach_only"),
    TestCard("4000000000003220", "tok_threeDSecure2Required", "authenticate"),
    TestCard("4000002760003184", "tok_authenticationRequired", "authenticate"),
    TestCard("4000002500003155", "tok_authenticationRequiredOnSetup", "authenticate_setup"),
    TestCard("4000000000000259", "tok_createDispute", "dispute"),
    TestCard("4000000000005126", "tok_refundFail", "refund_fails"),
    TestCard("4000000000007726", "tok_pendingRefund", "refund_pending"),
)
BY_NUMBER = {card.number: card for card in CARDS}
BY_TOKEN = {card.token: card for card in CARDS}

OWN_CODE = {"expired_card", "incorrect_cvc", "processing_error"}
"""Declines that have a `code` of their own; the others have the code `card_declined`."""


CHARGED = {"ok", "attach_only", "authenticate", "authenticate_setup", "delayed", "dispute", "refund_fails", "refund_pending"} | {
    "absent_fails"  # no published card, but what banks do: they decline charges without the customer
}


def is_decline(behavior: str) -> bool:
    return behavior not in CHARGED
