"""Charges of saved cards and refunds: money that moves without a page. Inside the caller's transaction.

Each answers the operation, whether its answer gets lost on the way, and the knob that was used. A knob is read before
anything is written, so that `crash_before` leaves nothing behind.
"""

from __future__ import annotations

import sqlite3

from billing.ports import Charge, Refund
from gateways.sandbox import cards, knobs, methods, operations


def charge(c: sqlite3.Connection, request: Charge) -> tuple[sqlite3.Row, bool, str]:
    knob = knobs.take(c, "next_charge") if operations.find(c, request.key) is None else ""
    operation, new = operations.arrive(c, request, "processing")
    if not new:
        return operation, False, knob
    method = methods.find(c, request.method_reference)
    if method is None or method["customer_id"] != request.customer_id:
        return operations.move(c, request.key, "declined", verb="charge", error_code="MANDATE_INVALID"), False, knob
    state, code = cards.verdict(
        method["behaviour"], present=not request.off_session, month=method["expiry_month"], year=method["expiry_year"]
    )
    if knob == "slow" and state == "succeeded":
        state = "processing"
    if state == "requires_action":
        c.execute("UPDATE operations SET challenged = 1 WHERE key = ?", (request.key,))
    stored = "succeeded" if state == "lost" else state
    row = operations.move(c, request.key, stored, verb="charge", error_code=code, method=request.method_reference)
    return row, state == "lost" or knob == "lost", knob


def refund(c: sqlite3.Connection, request: Refund) -> tuple[sqlite3.Row, bool, str]:
    knob = knobs.take(c, "next_refund") if operations.find(c, request.key) is None else ""
    operation, new = operations.arrive(c, request, "processing")
    if not new:
        return operation, False, knob
    if refundable(c, request):
        row = operations.move(c, request.key, "succeeded", verb="refund")
    else:
        row = operations.move(c, request.key, "declined", verb="refund", error_code="PROCESSING_ERROR")
    return row, knob == "lost", knob


def refundable(c: sqlite3.Connection, request: Refund) -> bool:
    """Whether the charge succeeded, for that business and currency, and enough of it is left."""
    paid = operations.find(c, request.charge_key)
    if paid is None or paid["state"] != "succeeded" or paid["kind"] not in ("charge", "collect"):
        return False
    if paid["business_id"] != request.business_id or paid["currency"] != request.amount.currency:
        return False
    (given,) = c.execute(
        "SELECT coalesce(sum(amount), 0) FROM operations WHERE charge_key = ? AND state = 'succeeded'", (request.charge_key,)
    ).fetchone()
    return bool(given + request.amount.minor <= paid["amount"])
