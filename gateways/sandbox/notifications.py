"""Signed notifications that a key has settled. They are delivered at least once; test controls can delay or reorder them.

sandbox-account     id of the payment account, whose secret signs
sandbox-id          `ntf_…`, the same for every delivery of one notification
sandbox-timestamp   Unix seconds of this delivery
sandbox-signature   `v1=` and the hex HMAC-SHA256 of "<id>.<timestamp>." and the body
body                {"id", "key", "kind", "created_at", "reference"} as JSON. For disputes, and for refunds made on the sandbox's own
                    page, `key` is null and `reference` names the object
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from billing.charging.processor_reports import Notification
from core.errors import Unauthorized
from core.ids import new_id
from gateways.sandbox import ownership, test_controls
from gateways.sandbox.store import stamp

ACCOUNT = "sandbox-account"
TOLERANCE_SECONDS = 300
BACK_OFF_SECONDS = (5, 30, 120, 600, 3600)
"""Wait after each failed delivery. The last value repeats without end, so that a portal that was down for a week misses nothing."""


@dataclass(frozen=True)
class NotificationDelivery:
    number: int
    key: str
    headers: dict[str, str]
    body: bytes


def enqueue(c: sqlite3.Connection, key: str, kind: str, reference: str = "") -> None:
    """Store a notification about an operation. `reference`: of the object, if the portal does not know a key for it."""
    at = stamp()
    c.execute(
        "INSERT INTO notifications (id, key, kind, due_at, remaining, created, reference) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (new_id("ntf"), key, kind, at + float(test_controls.get(c, "delay")), int(test_controls.get(c, "repeat")), at, reference),
    )


def any_due(c: sqlite3.Connection) -> bool:
    return c.execute("SELECT 1 FROM notifications WHERE remaining > 0 AND due_at <= ?", (stamp(),)).fetchone() is not None


def claim(c: sqlite3.Connection, base_secret: str) -> NotificationDelivery | None:
    """Return the next due notification, signed. Its next attempt is scheduled first, so that a crash during delivery loses nothing."""
    order = "n.number DESC" if test_controls.get(c, "reorder") == "yes" else "n.due_at, n.number"
    at = stamp()
    row = c.execute(
        f"SELECT n.*, o.account, o.business_id FROM notifications n JOIN operations o ON o.key = n.key"  # noqa: S608
        f" WHERE n.remaining > 0 AND n.due_at <= ? ORDER BY {order} LIMIT 1",
        (at,),
    ).fetchone()
    if row is None:
        return None
    wait = BACK_OFF_SECONDS[min(row["attempts"], len(BACK_OFF_SECONDS) - 1)]
    c.execute("UPDATE notifications SET attempts = attempts + 1, due_at = ? WHERE number = ?", (at + wait, row["number"]))
    reference = row["reference"]
    told = {"id": row["id"], "key": None if reference else row["key"], "kind": row["kind"], "created_at": row["created"]}
    body = json.dumps(told | ({"reference": reference} if reference else {})).encode()
    account = ownership.account_of(row)
    headers = sign(ownership.signing_secret(base_secret, account), row["id"], int(at), body)
    return NotificationDelivery(row["number"], row["key"], {ACCOUNT: account, **headers}, body)


def delivered(c: sqlite3.Connection, number: int) -> None:
    c.execute(
        "UPDATE notifications SET remaining = remaining - 1, deliveries = deliveries + 1, attempts = 0, due_at = ? WHERE number = ?",
        (stamp(), number),
    )


def sign(secret: str, identity: str, timestamp: int, body: bytes) -> dict[str, str]:
    mac = hmac.new(secret.encode(), f"{identity}.{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"sandbox-id": identity, "sandbox-timestamp": str(timestamp), "sandbox-signature": f"v1={mac}"}


def read(secret: str, headers: Mapping[str, str], body: bytes) -> Notification:
    """Verify and parse a notification. Raises Unauthorized, without the reason, if signature, time or format is wrong."""
    lowered = {name.lower(): value for name, value in headers.items()}
    identity, timestamp = lowered.get("sandbox-id", ""), lowered.get("sandbox-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(stamp() - int(timestamp)) > TOLERANCE_SECONDS:
        raise _refused()
    expected = sign(secret, identity, int(timestamp), body)["sandbox-signature"]
    if not hmac.compare_digest(expected.encode(), lowered.get("sandbox-signature", "").encode()):
        raise _refused()
    raw = json.loads(body)
    if raw.get("id") != identity or raw.get("kind") not in ("charge", "refund", "collect", "dispute"):
        raise _refused()
    return Notification(id=raw["id"], noun=raw["kind"], reference=raw.get("reference"), key=raw["key"], raw=raw)


def _refused() -> Unauthorized:
    return Unauthorized("WEBHOOK_SIGNATURE_INVALID", "This notification is not from the payment provider.")
