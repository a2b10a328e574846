"""Maps our events to the event types of the contract (reference §2.9)."""

from __future__ import annotations

from typing import get_args

from dodopayments.types import WebhookEventType

KNOWN: tuple[str, ...] = get_args(WebhookEventType)
"""Every type that an endpoint may subscribe to. The contract has more types than we send."""

SAME = frozenset(
    """
    payment.succeeded payment.failed payment.processing payment.cancelled refund.succeeded refund.failed
    subscription.active subscription.renewed subscription.on_hold subscription.past_due subscription.paused subscription.unpaused
    subscription.cancelled subscription.failed subscription.expired subscription.plan_changed subscription.update_payment_method
    license_key.created dunning.started dunning.recovered
""".split()
)
"""Events that have the same name here and in the contract."""

NO_CHANGE = frozenset({"subscription.created", "subscription.renewal_reminder"})
PATTERNS = ("payment.*", "refund.*", "subscription.*", "license_key.created", "dunning.*")
SENT = tuple(item for item in KNOWN if item in SAME or item == "subscription.updated")
"""The types that we send, in the order of the contract."""

PAYLOADS = {
    "payment": "Payment", "refund": "Refund", "subscription": "Subscription", "license_key": "LicenseKey", "dunning": "DunningAttempt",
}  # fmt: skip
"""First part of the type → `data.payload_type`."""


def types_of(event: str) -> list[str]:
    """Return the types that an event is sent as: its own and, if a subscription changed, `subscription.updated`."""
    found = [event] if event in SAME else []
    if event.startswith("subscription.") and event not in NO_CHANGE:
        found.append("subscription.updated")
    return found


def noun_of(type: str) -> str:
    return type.split(".")[0]
