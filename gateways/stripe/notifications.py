"""Stripe's webhooks: verified with the account's own secret, and turned into hints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import stripe

from billing.charging.ports import AccountAccess
from billing.charging.processor_reports import Notification, Noun
from core.errors import Unauthorized
from gateways.stripe import metadata

TOLERANCE = 300  # seconds that a signature may be old

# The longest prefix decides. `charge.updated` and other types about charges say nothing that an intent's event does not.
_NOUNS: dict[str, Noun] = {
    "payment_intent.": "charge",
    "charge.refunded": "charge",
    "charge.refund.": "refund",
    "refund.": "refund",
    "charge.dispute.": "dispute",
    "checkout.session.": "collect",
    "setup_intent.": "collect",
    "payment_method.": "method",
    "customer.deleted": "account",
}


def read(access: AccountAccess, headers: Mapping[str, str], body: bytes) -> Notification:
    """Return the hint. Raises Unauthorized unless the account signed it within the last five minutes."""
    signature = next((value for name, value in headers.items() if name.lower() == "stripe-signature"), "")
    try:
        stripe.WebhookSignature.verify_header(body.decode("utf-8"), signature, access.webhook_secret, TOLERANCE)
        event: Any = json.loads(body)
        found: Mapping[str, Any] = event["data"]["object"]
        kind, identifier, is_live = str(event["type"]), str(event["id"]), bool(event["livemode"])
    except (stripe.SignatureVerificationError, ValueError, KeyError, TypeError):
        raise Unauthorized("WEBHOOK_SIGNATURE_INVALID", "This notification is not from the payment processor.") from None
    if is_live != access.live:
        raise Unauthorized("WEBHOOK_SIGNATURE_INVALID", "This notification is not from the payment processor.")
    noun = _noun(kind, found)
    key = metadata.read(found) or None
    return Notification(identifier, noun, _reference(kind, found), key if noun != "account" else None, event)


def _noun(kind: str, found: Mapping[str, Any]) -> Noun:
    prefix = next((item for item in sorted(_NOUNS, key=len, reverse=True) if kind.startswith(item)), "")
    noun = _NOUNS.get(prefix, "account")
    if noun == "charge" and metadata.read(found, metadata.KIND) == "collect":
        return "collect"
    return noun


def _reference(kind: str, found: Mapping[str, Any]) -> str | None:
    """Return the id of the object, or of the PaymentIntent of a charge."""
    if kind == "charge.refunded":
        return _text(found.get("payment_intent")) or _text(found.get("id"))
    return _text(found.get("id"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
