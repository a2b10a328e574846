"""Maps our events to the event types of the contract (reference §2.9)."""

from __future__ import annotations

KNOWN: tuple[str, ...] = tuple(
    """
    payment.succeeded payment.failed payment.processing payment.cancelled refund.succeeded refund.failed dispute.opened
    dispute.expired dispute.accepted dispute.cancelled dispute.challenged dispute.won dispute.lost subscription.active
    subscription.renewed subscription.on_hold subscription.past_due subscription.paused subscription.unpaused
    subscription.cancelled subscription.failed subscription.expired subscription.plan_changed subscription.updated
    subscription.update_payment_method license_key.created payout.created payout.on_hold payout.in_progress payout.failed
    payout.success credit.added credit.deducted credit.expired credit.rolled_over credit.rollover_forfeited
    credit.overage_charged credit.overage_reset credit.manual_adjustment credit.balance_low abandoned_checkout.detected
    abandoned_checkout.recovered dunning.started dunning.recovered entitlement_grant.created entitlement_grant.delivered
    entitlement_grant.failed entitlement_grant.revoked
""".split()
)
"""Every type that an endpoint may subscribe to. The contract has more types than we send. Written out, since importing the SDK
takes a tenth of the start of every process."""

SAME = frozenset(
    """
    payment.succeeded payment.failed payment.processing payment.cancelled refund.succeeded refund.failed
    dispute.opened dispute.expired dispute.accepted dispute.cancelled dispute.challenged dispute.won dispute.lost
    subscription.active subscription.renewed subscription.on_hold subscription.past_due subscription.paused subscription.unpaused
    subscription.cancelled subscription.failed subscription.expired subscription.plan_changed subscription.update_payment_method
    license_key.created dunning.started dunning.recovered
""".split()
)
"""Events that have the same name here and in the contract."""

NO_CHANGE = frozenset(
    {
        "subscription.created",
        "subscription.renewal_reminder",
        "subscription.price_change_announced",
        "subscription.price_change_accepted",
        "subscription.price_change_refused",
        "subscription.price_change_stopped",
        "subscription.price_kept",
    }
)
PATTERNS = ("payment.*", "refund.*", "dispute.*", "subscription.*", "license_key.created", "dunning.*")
SENT = tuple(item for item in KNOWN if item in SAME or item == "subscription.updated")
"""The types that we send, in the order of the contract."""

PAYLOADS = {
    "payment": "Payment", "refund": "Refund", "dispute": "Dispute",
    "subscription": "Subscription", "license_key": "LicenseKey", "dunning": "DunningAttempt",
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
