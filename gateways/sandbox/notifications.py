"""Notifications: signed hints that a key settled, delivered at least once, late or out of order when a knob says so.

    sandbox-id          `ntf_…`, the same for every delivery of one notification
    sandbox-timestamp   Unix seconds of this delivery
    sandbox-signature   `v1=` and the hex HMAC-SHA256 of "<id>.<timestamp>." and the body
    body                {"id", "key", "kind", "created_at"} as JSON
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from billing.ports import Notification
from core.errors import Unauthorized
from core.ids import new_id
from gateways.sandbox import knobs
from gateways.sandbox.store import stamp

TOLERANCE_SECONDS = 300
BACK_OFF_SECONDS = (5, 30, 120, 600, 3600)
"""After each failure, the last one for ever: a portal that was down for a week still hears of everything."""


@dataclass(frozen=True)
class Delivery:
    number: int
    key: str
    headers: dict[str, str]
    body: bytes


def enqueue(c: sqlite3.Connection, key: str, kind: str) -> None:
    at = stamp()
    c.execute(
        "INSERT INTO notifications (id, key, kind, due_at, remaining, created) VALUES (?, ?, ?, ?, ?, ?)",
        (new_id("ntf"), key, kind, at + float(knobs.get(c, "delay")), int(knobs.get(c, "repeat")), at),
    )


def any_due(c: sqlite3.Connection) -> bool:
    return c.execute("SELECT 1 FROM notifications WHERE remaining > 0 AND due_at <= ?", (stamp(),)).fetchone() is not None


def claim(c: sqlite3.Connection, secret: str) -> Delivery | None:
    """The next due one, signed. It is put off at once: whoever dies with it in hand is followed by the next try."""
    order = "number DESC" if knobs.get(c, "reorder") == "yes" else "due_at, number"
    at = stamp()
    row = c.execute(
        f"SELECT * FROM notifications WHERE remaining > 0 AND due_at <= ? ORDER BY {order} LIMIT 1", (at,)  # noqa: S608
    ).fetchone()
    if row is None:
        return None
    wait = BACK_OFF_SECONDS[min(row["attempts"], len(BACK_OFF_SECONDS) - 1)]
    c.execute("UPDATE notifications SET attempts = attempts + 1, due_at = ? WHERE number = ?", (at + wait, row["number"]))
    body = json.dumps({"id": row["id"], "key": row["key"], "kind": row["kind"], "created_at": row["created"]}).encode()
    return Delivery(row["number"], row["key"], sign(secret, row["id"], int(at), body), body)


def delivered(c: sqlite3.Connection, number: int) -> None:
    c.execute(
        "UPDATE notifications SET remaining = remaining - 1, deliveries = deliveries + 1, attempts = 0, due_at = ? WHERE number = ?",
        (stamp(), number),
    )


def sign(secret: str, identity: str, timestamp: int, body: bytes) -> dict[str, str]:
    mac = hmac.new(secret.encode(), f"{identity}.{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"sandbox-id": identity, "sandbox-timestamp": str(timestamp), "sandbox-signature": f"v1={mac}"}


def read(secret: str, headers: Mapping[str, str], body: bytes) -> Notification:
    """Raises Unauthorized when the signature, the time or the shape is not right; says no more than that."""
    given = {name.lower(): value for name, value in headers.items()}
    identity, timestamp = given.get("sandbox-id", ""), given.get("sandbox-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(stamp() - int(timestamp)) > TOLERANCE_SECONDS:
        raise _refused()
    expected = sign(secret, identity, int(timestamp), body)["sandbox-signature"]
    if not hmac.compare_digest(expected.encode(), given.get("sandbox-signature", "").encode()):
        raise _refused()
    raw = json.loads(body)
    if raw.get("id") != identity or raw.get("kind") not in ("charge", "refund", "collect"):
        raise _refused()
    return Notification(id=raw["id"], key=raw["key"], kind=raw["kind"], raw=raw)


def _refused() -> Unauthorized:
    return Unauthorized("WEBHOOK_SIGNATURE_INVALID", "This notification is not from the payment provider.")
