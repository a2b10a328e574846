"""A signed message (Standard Webhooks): `webhook-id`, `webhook-timestamp`, `webhook-signature`, one signature per secret in force."""

from __future__ import annotations

from datetime import datetime

from standardwebhooks import Webhook


def signed(secrets: list[str], message_id: str, at: datetime, body: str) -> dict[str, str]:
    """The three headers. `at`: aware, now; receivers refuse what is older than five minutes."""
    signatures = [Webhook(secret).sign(message_id, at, body) for secret in secrets]
    return {"webhook-id": message_id, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": " ".join(signatures)}
