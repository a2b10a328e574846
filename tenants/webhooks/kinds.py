"""Event types: the contract's (reference §2.9), and which of them an event of ours becomes. What cannot happen here is never sent."""

from __future__ import annotations

from typing import get_args

from dodopayments.types import WebhookEventType

KNOWN: tuple[str, ...] = get_args(WebhookEventType)
"""Every type an endpoint may ask for; the rest of the contract's world may send more of them than we do."""

SAME = frozenset("""
    payment.succeeded payment.failed payment.processing payment.cancelled refund.succeeded refund.failed
    subscription.active subscription.renewed subscription.on_hold subscription.past_due subscription.paused subscription.unpaused
    subscription.cancelled subscription.failed subscription.expired subscription.plan_changed subscription.update_payment_method
    license_key.created dunning.started dunning.recovered
""".split())
"""Events that are called here as they are in the contract."""

NO_CHANGE = frozenset({"subscription.created", "subscription.renewal_reminder"})
PATTERNS = ("payment.*", "refund.*", "subscription.*", "license_key.created", "dunning.*")
SENT = tuple(one for one in KNOWN if one in SAME or one == "subscription.updated")
"""What an endpoint can really get from us, in the contract's order."""

PAYLOADS = {
    "payment": "Payment", "refund": "Refund", "subscription": "Subscription", "license_key": "LicenseKey", "dunning": "DunningAttempt",
}  # fmt: skip
"""A type's first word → `data.payload_type`."""


def types_of(event: str) -> list[str]:
    """The types an event of ours is sent as: its own, and `subscription.updated` where a subscription changed."""
    found = [event] if event in SAME else []
    if event.startswith("subscription.") and event not in NO_CHANGE:
        found.append("subscription.updated")
    return found


def noun_of(type: str) -> str:
    return type.split(".")[0]
