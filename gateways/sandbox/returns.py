"""Money that goes back without a request of the portal: refunds made on the sandbox's own page, refunds that fail later, and disputes.

Every function works inside the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from billing.charging.processor_reports import DISPUTE_REASONS, DisputeReport, DisputeStatus, RefundReport
from core.errors import N_, Conflict, Invalid, NotFound
from core.ids import new_id
from core.money import Money
from gateways.sandbox import journal, notifications, operations, ownership
from gateways.sandbox.store import stamp

DAYS_TO_ANSWER = 7
OWN = "sandbox-page/"
"""Begins the keys of refunds that were made on the sandbox's own page."""
DECISIONS: tuple[DisputeStatus, ...] = ("dispute_challenged", "dispute_won", "dispute_lost", "dispute_accepted", "dispute_cancelled")
OPEN = ("dispute_opened", "dispute_challenged")


@dataclass(frozen=True)
class SandboxPayment:
    """A payment as the sandbox's own page shows it. `refunds`: (reference, amount, state). `left`: what can be refunded or disputed."""

    reference: str
    key: str
    state: str
    amount: Money
    left: Money
    refunds: list[tuple[str, Money, str]]
    disputes: list[DisputeReport]


def read(c: sqlite3.Connection, reference: str) -> SandboxPayment:
    """Return a payment. Raises NotFound."""
    paid = _charge(c, reference)
    refunds = c.execute("SELECT * FROM operations WHERE charge_key = ? ORDER BY created", (paid["key"],)).fetchall()
    disputes = c.execute("SELECT * FROM disputes WHERE charge_key = ? ORDER BY created", (paid["key"],)).fetchall()
    return SandboxPayment(
        reference=paid["reference"],
        key=paid["key"],
        state=paid["state"],
        amount=Money(paid["amount"], paid["currency"]),
        left=Money(left_of(c, paid), paid["currency"]),
        refunds=[(row["reference"], Money(row["amount"], row["currency"]), row["state"]) for row in refunds],
        disputes=[_report(row, paid, "") for row in disputes],
    )


def left_of(c: sqlite3.Connection, paid: sqlite3.Row, without: str = "") -> int:
    """Return what is left of a charge, without refunds (but for the one of the key `without`), and disputes that are open or lost."""
    (refunded,) = c.execute(
        "SELECT coalesce(sum(amount), 0) FROM operations WHERE charge_key = ? AND key <> ? AND state IN ('succeeded', 'processing')",
        (paid["key"], without),
    ).fetchone()
    (disputed,) = c.execute(
        "SELECT coalesce(sum(amount), 0) FROM disputes WHERE charge_key = ? AND status NOT IN ('dispute_won', 'dispute_cancelled')",
        (paid["key"],),
    ).fetchone()
    return max(int(paid["amount"]) - int(refunded) - int(disputed), 0) if paid["state"] == "succeeded" else 0


def refund(c: sqlite3.Connection, reference: str, minor: int) -> str:
    """Refund a part of a charge on the sandbox's own page. Returns the refund's reference. Raises NotFound, Invalid (amount)."""
    paid = _charge(c, reference)
    if not 0 < minor <= left_of(c, paid):
        raise Invalid(fields={"amount": N_("Enter an amount that is left of this payment.")})
    made = new_id("sbx")
    c.execute(
        "INSERT INTO operations (key, reference, kind, parameters, business_id, amount, currency, state, charge_key, created, settled_at,"
        " account) VALUES (?, ?, 'refund', 'page', ?, ?, ?, 'succeeded', ?, ?, ?, ?)",
        (OWN + made, made, paid["business_id"], minor, paid["currency"], paid["key"], stamp(), stamp(), paid["account"]),
    )
    row = operations.need(c, OWN + made)
    journal.write(c, "refund", row, "succeeded")
    notifications.enqueue(c, row["key"], "refund", made)
    return made


def fail_refund(c: sqlite3.Connection, reference: str) -> None:
    """The customer's bank returns a refund that had succeeded. Raises NotFound, Conflict (not succeeded)."""
    row = c.execute("SELECT * FROM operations WHERE reference = ? AND kind = 'refund'", (reference,)).fetchone()
    if row is None:
        raise NotFound()
    if row["state"] != "succeeded":
        raise Conflict("REFUND_NOT_SUCCEEDED", "Only a refund that succeeded can fail later.")
    c.execute("UPDATE operations SET state = 'declined', error_code = 'PROCESSING_ERROR' WHERE key = ?", (row["key"],))
    journal.write(c, "refund", row, "declined", error_code="PROCESSING_ERROR")
    notifications.enqueue(c, row["key"], "refund", row["reference"] if row["key"].startswith(OWN) else "")


def report_refund(c: sqlite3.Connection, reference: str, account: str) -> RefundReport | None:
    row = c.execute("SELECT * FROM operations WHERE reference = ? AND kind = 'refund'", (reference,)).fetchone()
    if row is None or not ownership.has(account, row):
        return None
    paid = operations.need(c, row["charge_key"])
    key = "" if row["key"].startswith(OWN) else row["key"]
    return RefundReport(row["reference"], row["state"], Money(row["amount"], row["currency"]), key, paid["key"], paid["reference"])


def open_dispute(c: sqlite3.Connection, reference: str, minor: int | None = None, reason: str = "fraudulent") -> str:
    """The customer's bank disputes a charge. Returns the dispute's reference. Raises NotFound, Invalid (amount, reason)."""
    paid = _charge(c, reference)
    minor = left_of(c, paid) if minor is None else minor
    if not 0 < minor <= paid["amount"] or paid["state"] != "succeeded":
        raise Invalid(fields={"amount": N_("Enter an amount that is left of this payment.")})
    if reason not in DISPUTE_REASONS:
        raise Invalid(fields={"reason": "Not a reason of a dispute."})
    made, at = new_id("sbx"), stamp()
    c.execute(
        "INSERT INTO disputes (reference, charge_key, amount, currency, status, reason, answer_by, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (made, paid["key"], minor, paid["currency"], "dispute_opened", reason, at + DAYS_TO_ANSWER * 86400, at),
    )
    _tell(c, paid, made, "dispute_opened")
    return made


def follow_card(c: sqlite3.Connection, charge: sqlite3.Row) -> None:
    """Dispute a charge that succeeded with the test card for disputes."""
    if charge["state"] != "succeeded" or not charge["amount"] or charge["method"] is None:
        return
    card = c.execute("SELECT behaviour FROM methods WHERE reference = ?", (charge["method"],)).fetchone()
    if card is not None and card["behaviour"] == "dispute":
        open_dispute(c, charge["reference"])


def decide_dispute(c: sqlite3.Connection, reference: str, status: str) -> None:
    """Decide a dispute. Raises NotFound, Invalid (status), Conflict (it is decided already)."""
    row = c.execute("SELECT * FROM disputes WHERE reference = ?", (reference,)).fetchone()
    if row is None:
        raise NotFound()
    if status not in DECISIONS:
        raise Invalid(fields={"status": "Not a decision about a dispute."})
    if row["status"] not in OPEN:
        raise Conflict("DISPUTE_CLOSED", "This dispute is decided.")
    c.execute("UPDATE disputes SET status = ? WHERE reference = ?", (status, reference))
    _tell(c, operations.need(c, row["charge_key"]), reference, status)


def report_dispute(c: sqlite3.Connection, reference: str, account: str, base_url: str) -> DisputeReport | None:
    row = c.execute("SELECT * FROM disputes WHERE reference = ?", (reference,)).fetchone()
    if row is None:
        return None
    paid = operations.need(c, row["charge_key"])
    return _report(row, paid, base_url) if ownership.has(account, paid) else None


def lost_disputes(c: sqlite3.Connection) -> list[sqlite3.Row]:
    """Return kind, key of the charge, amount and currency of the disputes that took money."""
    return c.execute(
        "SELECT 'dispute' AS kind, charge_key AS key, amount, currency FROM disputes"
        " WHERE status IN ('dispute_lost', 'dispute_accepted') ORDER BY created"
    ).fetchall()


def _report(row: sqlite3.Row, paid: sqlite3.Row, base_url: str) -> DisputeReport:
    is_returned = row["reason"] == "debit_returned"
    return DisputeReport(
        reference=row["reference"],
        status=row["status"],
        amount=Money(row["amount"], row["currency"]),
        charge_key=paid["key"],
        charge_reference=paid["reference"],
        reason=row["reason"],
        is_debit_return=is_returned,
        answer_by=None if is_returned else datetime.fromtimestamp(row["answer_by"], UTC),
        url=f"{base_url}/sandbox/payments/{paid['reference']}",
    )


def _tell(c: sqlite3.Connection, paid: sqlite3.Row, reference: str, result: str) -> None:
    journal.write(c, "dispute", paid, result)
    notifications.enqueue(c, paid["key"], "dispute", reference)


def _charge(c: sqlite3.Connection, reference: str) -> sqlite3.Row:
    row: sqlite3.Row | None = c.execute(
        "SELECT * FROM operations WHERE reference = ? AND kind IN ('charge', 'collect') AND amount IS NOT NULL", (reference,)
    ).fetchone()
    if row is None:
        raise NotFound()
    return row
