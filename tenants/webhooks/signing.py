"""Signs messages (Standard Webhooks), with one signature per valid secret."""

from __future__ import annotations

from datetime import datetime

from standardwebhooks import Webhook


def signed(secrets: list[str], message_id: str, at: datetime, body: str) -> dict[str, str]:
    """Return the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`. Receivers refuse an `at` older than five minutes."""
    signatures = [Webhook(secret).sign(message_id, at, body) for secret in secrets]
    return {"webhook-id": message_id, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": " ".join(signatures)}
