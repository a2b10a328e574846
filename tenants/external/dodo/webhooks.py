"""Webhooks of Dodo Payments, signed as Standard Webhooks say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

from billing.model import bounds
from core.errors import BadRequest, Unauthorized
from core.json_input import read_json
from tenants.external.system import REFERENCE, Hint

MESSAGE_ID = re.compile(r"[\x21-\x7e]{1,200}")
OF = {
    "Subscription": ("subscription", "subscription_id"),
    "Payment": ("payment", "payment_id"),
    "Refund": ("refund", "refund_id"),
    "LicenseKey": ("license_key", "id"),
}
BY_TYPE = {"subscription": "Subscription", "payment": "Payment", "refund": "Refund", "license_key": "LicenseKey"}


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> Hint:
    message_id = headers.get("webhook-id", "")
    try:
        Webhook(secret).verify(body, dict(headers))
    except (WebhookVerificationError, EmptyWebhookSecretError):  # the account may have set an invalid secret
        raise Unauthorized(sentence="The signature is not valid.") from None
    except (ValueError, RecursionError):  # signed but not JSON: the library parses it after checking the signature
        raise BadRequest(sentence="This is not a valid event.") from None
    try:
        event = read_json(body)
        if not isinstance(event, dict) or not MESSAGE_ID.fullmatch(message_id):
            raise ValueError("not an event")
        type_ = event.get("type")
        bounds.text(type_ if isinstance(type_, str) else "")
        return Hint(message_id, type_[:100] if isinstance(type_, str) else "", *_object_of(event))
    except (ValueError, RecursionError):  # not JSON, nested too deeply, text that cannot be stored, an invalid id
        raise BadRequest(sentence="This is not a valid event.") from None


def _object_of(event: dict[str, Any]) -> tuple[str, str]:
    """Return the kind and id of the event's object; empty for types that are not stored. Raises ValueError."""
    data = event.get("data")
    if not isinstance(data, dict):
        return "", ""
    name = data.get("payload_type") or BY_TYPE.get(str(event.get("type")).partition(".")[0], "")
    kind, field = OF.get(name, ("", "")) if isinstance(name, str) else ("", "")
    if not kind:
        return "", ""
    noun = data.get(field)
    if not isinstance(noun, str) or not REFERENCE.fullmatch(noun):
        raise ValueError("not a valid id")
    return kind, noun
