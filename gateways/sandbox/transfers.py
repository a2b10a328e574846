"""Charges of saved cards, and refunds. Both need no hosted page and work inside the caller's transaction.

Each returns the operation, whether its answer is lost, and the test control that was used. The control is read before
anything is written, so that `crash_before` leaves nothing behind.
"""

from __future__ import annotations

import sqlite3

from billing.charging.ports import ChargeRequest, RefundRequest
from gateways.sandbox import cards, methods, operations, ownership, returns, test_controls


def charge(c: sqlite3.Connection, request: ChargeRequest, account: str) -> tuple[sqlite3.Row, bool, str]:
    knob = test_controls.take(c, "next_charge") if operations.find(c, request.key) is None else ""
    operation, new = operations.arrive(c, request, "processing", account)
    if not new:
        return operation, False, knob
    method = methods.find(c, request.method_reference)
    if method is None or method["forgotten"] or method["customer_id"] != request.customer_id or not ownership.has_card(account, method):
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
    returns.follow_card(c, row)
    return row, state == "lost" or knob == "lost", knob


def refund(c: sqlite3.Connection, request: RefundRequest, account: str) -> tuple[sqlite3.Row, bool, str]:
    knob = test_controls.take(c, "next_refund") if operations.find(c, request.key) is None else ""
    operation, new = operations.arrive(c, request, "processing", account)
    if not new:
        return operation, False, knob
    if refundable(c, request, account):
        row = operations.move(c, request.key, "succeeded", verb="refund")
    else:
        row = operations.move(c, request.key, "declined", verb="refund", error_code="PROCESSING_ERROR")
    return row, knob == "lost", knob


def refundable(c: sqlite3.Connection, request: RefundRequest, account: str) -> bool:
    """Return whether the charge succeeded at this account, for this business and currency, and enough of it is left."""
    paid = operations.find(c, request.charge.key)
    if paid is None or not ownership.has(account, paid) or paid["state"] != "succeeded" or paid["kind"] not in ("charge", "collect"):
        return False
    if paid["business_id"] != request.business_id or paid["currency"] != request.amount.currency:
        return False
    return request.amount.minor <= returns.left_of(c, paid, without=request.key)
