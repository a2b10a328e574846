"""Operations: the request of a key and its outcome. Every function works inside the caller's transaction.

States are those of the gateway port; `lost` is stored as succeeded. `requires_action` means an open page or challenge.
`processing` is a slow charge that settles at `due_at`. Final states never change.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3

from billing.charging.ports import FINAL, ChargeOutcome, ChargeRequest, CollectRequest, RefundRequest
from core.errors import Conflict
from core.ids import new_id
from core.money import Money
from gateways.sandbox import journal, methods, notifications, ownership, test_controls
from gateways.sandbox.declines import reason
from gateways.sandbox.store import stamp


def find(c: sqlite3.Connection, key: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = c.execute("SELECT * FROM operations WHERE key = ?", (key,)).fetchone()
    return row


def find_reference(c: sqlite3.Connection, reference: str | None) -> sqlite3.Row | None:
    """Return an operation that was made on the sandbox's own page, by its reference."""
    row: sqlite3.Row | None = c.execute("SELECT * FROM operations WHERE reference = ?", (reference,)).fetchone() if reference else None
    return row


# Kept with each operation, so that a class may be renamed without an old key meaning something else.
KINDS: dict[type, str] = {CollectRequest: "Collect", ChargeRequest: "Charge", RefundRequest: "Refund"}


def need(c: sqlite3.Connection, key: str) -> sqlite3.Row:
    row = find(c, key)
    if row is None:
        raise LookupError(f"no operation under {key!r}")
    return row


def fingerprint(request: CollectRequest | ChargeRequest | RefundRequest) -> str:
    """Return a hash of the fields that affect money. Descriptions and addresses may differ between two tries of one request."""
    amount = request.amount
    fields = [KINDS[type(request)], request.business_id, amount and amount.minor, amount and amount.currency]
    if isinstance(request, RefundRequest):
        fields += [request.charge.key]
    else:
        fields += [request.customer_id]
    if isinstance(request, ChargeRequest):
        fields += [request.method_reference, request.off_session]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


def arrive(
    c: sqlite3.Connection, request: CollectRequest | ChargeRequest | RefundRequest, state: str, account: str
) -> tuple[sqlite3.Row, bool]:
    """Return the operation of the request's key and whether it is new. A new operation starts in `state`.

    A key cancelled before its request arrived stays cancelled. Raises Conflict if the key belongs to a different request.
    """
    known, parameters = find(c, request.key), fingerprint(request)
    if known is not None and (known["parameters"] not in ("", parameters) or not ownership.has(account, known)):
        raise Conflict("IDEMPOTENCY_KEY_REUSED", "This key was already used for a different request.")
    if known is not None and known["parameters"]:
        return known, False
    kind = KINDS[type(request)].lower()
    customer_id = None if isinstance(request, RefundRequest) else request.customer_id
    charge_key = request.charge.key if isinstance(request, RefundRequest) else None
    amount = request.amount
    c.execute(
        "INSERT INTO operations (key, reference, kind, parameters, business_id, customer_id, amount, currency, state, charge_key,"
        " description, return_url, created, account) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
        " kind = excluded.kind, parameters = excluded.parameters, business_id = excluded.business_id,"
        " customer_id = excluded.customer_id, amount = excluded.amount, currency = excluded.currency, charge_key = excluded.charge_key,"
        " description = excluded.description, return_url = excluded.return_url",
        (request.key, new_id("sbx"), kind, parameters, request.business_id, customer_id, amount and amount.minor,
         amount and amount.currency, state, charge_key, getattr(request, "description", None),
         getattr(request, "return_url", None), stamp(), account),
    )  # fmt: skip
    row = need(c, request.key)
    if known is not None:
        journal.write(c, kind, row, "cancelled")
    return row, known is None


def move(
    c: sqlite3.Connection, key: str, state: str, *, verb: str, error_code: str | None = None, method: str | None = None
) -> sqlite3.Row:
    """Move an open operation to `state`, journal it, and notify the portal if the state is final. Final operations do not change."""
    row = need(c, key)
    if row["state"] in FINAL:
        return row
    due_at = stamp() + float(test_controls.get(c, "settle_after")) if state == "processing" else None
    c.execute(
        "UPDATE operations SET state = ?, error_code = ?, method = coalesce(?, method), due_at = ?, settled_at = ? WHERE key = ?",
        (state, error_code, method, due_at, stamp() if state in FINAL else None, key),
    )
    row = need(c, key)
    journal.write(c, verb, row, state, error_code=error_code, card=methods.label_of(c, row["method"]))
    if state in FINAL and row["kind"]:
        notifications.enqueue(c, key, row["kind"])
    return row


def settle_due(c: sqlite3.Connection) -> None:
    """Settle slow charges that are due as succeeded."""
    for row in c.execute("SELECT key FROM operations WHERE state = 'processing' AND due_at <= ?", (stamp(),)).fetchall():
        move(c, row["key"], "succeeded", verb="settle")


def has_due(c: sqlite3.Connection) -> bool:
    return c.execute("SELECT 1 FROM operations WHERE state = 'processing' AND due_at <= ?", (stamp(),)).fetchone() is not None


def cancel(c: sqlite3.Connection, key: str, account: str) -> sqlite3.Row:
    """Cancel `key`. An unknown key is stored as cancelled, so that a request still on its way has no effect.

    Raises Conflict for a key of another account.
    """
    known = find(c, key)
    if known is not None and not ownership.has(account, known):
        raise Conflict("IDEMPOTENCY_KEY_REUSED", "This key belongs to another account.")
    unseen = c.execute(
        "INSERT INTO operations (key, reference, kind, parameters, state, created, settled_at, account)"
        " VALUES (?, ?, '', '', 'cancelled', ?, ?, ?)"
        " ON CONFLICT (key) DO NOTHING",
        (key, new_id("sbx"), stamp(), stamp(), account),
    )
    if unseen.rowcount:
        journal.write(c, "cancel", need(c, key), "cancelled")
    row = move(c, key, "cancelled", verb="cancel")
    c.execute("UPDATE pages SET state = 'closed' WHERE key = ? AND state <> 'done'", (key,))
    return row


def outcome(c: sqlite3.Connection, row: sqlite3.Row, base_url: str) -> ChargeOutcome:
    """Return the outcome of an operation as the gateway port defines it."""
    open_page = c.execute("SELECT reference FROM pages WHERE key = ? AND state = 'open'", (row["key"],)).fetchone()
    path = f"pages/{open_page['reference']}" if open_page else f"challenge/{row['reference']}"
    moved = row["state"] == "succeeded" and row["amount"] is not None
    return ChargeOutcome(
        state=row["state"],
        key=row["key"],
        reference=row["reference"],
        amount=Money(row["amount"], row["currency"]) if moved else None,
        error_code=row["error_code"],
        error_message=reason(row["error_code"]),
        redirect_url=f"{base_url}/sandbox/{path}" if row["state"] == "requires_action" else None,
        method=methods.details(c, row["method"]),
        challenged=bool(row["challenged"]),
        working_days=int(test_controls.get(c, "working_days") or 0) or None if row["state"] == "processing" else None,
    )
