"""Hosted pages and bank challenges: submitting a card, answering the challenge, and leaving the page.

A decline leaves the page open for another card. The key settles on success, when the customer leaves, or by `cancel`.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from billing.charging.ports import CollectRequest
from core.errors import NotFound
from core.ids import new_id
from core.money import Money
from gateways.sandbox import cards, journal, methods, operations, returns, test_controls
from gateways.sandbox.store import stamp


@dataclass(frozen=True)
class HostedSession:
    """A hosted page, or the challenge of a saved card (then `reference` is None). `state` is the operation's."""

    reference: str | None
    challenge: str
    key: str
    state: str
    challenged: bool
    error_code: str | None
    amount: Money | None
    description: str
    business_id: str
    return_url: str | None
    cancel_url: str | None
    locale: str
    prefill: str | None
    lost: bool = False

    @property
    def open(self) -> bool:
        return self.state == "requires_action"

    @property
    def status(self) -> str:
        """The status sent to the return address. A lost answer is reported as `processing`: only `look_up` returns the result."""
        if self.state == "declined":
            return "cancelled" if self.reference else "failed"
        return "processing" if self.lost else self.state


def open_page(c: sqlite3.Connection, request: CollectRequest, account: str) -> str:
    """Return the reference of the page of the request's key. Create the page if the key has none."""
    operation, _ = operations.arrive(c, request, "requires_action", account)
    known = c.execute("SELECT reference FROM pages WHERE key = ?", (request.key,)).fetchone()
    if known:
        return str(known["reference"])
    reference = new_id("page")
    amount = request.amount
    c.execute(
        "INSERT INTO pages (reference, key, state, kind, amount, currency, business_id, customer_id, description, return_url, cancel_url,"
        " locale, prefill, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (reference, request.key, "open" if operation["state"] == "requires_action" else "closed", "pay" if amount else "save",
         operation["amount"], operation["currency"], request.business_id, request.customer_id, request.description,
         request.return_url, request.cancel_url, request.locale, request.prefill_name, stamp()),
    )  # fmt: skip
    if operation["state"] == "requires_action":
        journal.write(c, "collect", operation, "requires_action")
    return reference


def read(c: sqlite3.Connection, *, page: str | None = None, challenge: str | None = None, lost: bool = False) -> HostedSession:
    """Return the session of a page reference or of an operation reference. Raises NotFound."""
    row = c.execute(
        "SELECT p.reference, o.reference AS challenge, o.key, o.state, p.state AS page_state, o.challenged, o.error_code, o.amount,"
        " o.currency, o.description, o.business_id, coalesce(p.return_url, o.return_url) AS return_url, p.cancel_url, p.locale, p.prefill"
        " FROM operations o LEFT JOIN pages p ON p.key = o.key WHERE p.reference = ? OR o.reference = ?",
        (page, challenge),
    ).fetchone()
    if row is None or row["business_id"] is None:
        raise NotFound()
    return HostedSession(
        row["reference"], row["challenge"], row["key"], row["state"],
        row["state"] == "requires_action" and row["page_state"] != "open", row["error_code"],
        Money(row["amount"], row["currency"]) if row["amount"] is not None else None, row["description"] or "",
        row["business_id"], row["return_url"], row["cancel_url"], row["locale"] or "en", row["prefill"], lost,
    )  # fmt: skip


def submit(c: sqlite3.Connection, reference: str, card: cards.CheckedCard) -> tuple[HostedSession, str]:
    """Try a card on an open page. Return the page afterwards and the test control that was used."""
    page = read(c, page=reference)
    if not page.open or page.challenged:
        return page, ""
    knob = test_controls.take(c, "next_charge") if page.amount else ""
    state, code = cards.verdict(card.behaviour, present=True, month=card.expiry_month, year=card.expiry_year)
    if knob == "slow" and state == "succeeded":
        state = "processing"
    if not page.amount and state in ("processing", "lost"):
        state = "succeeded"  # saving a card moves no money, so there is no outcome to wait for or to lose
    if state == "declined":
        operation = operations.need(c, page.key)
        journal.write(c, "try", operation, "declined", error_code=code, card=cards.label(card.brand, card.last4))
        c.execute("UPDATE operations SET error_code = ? WHERE key = ?", (code, page.key))
        return read(c, page=reference), knob
    operation = operations.need(c, page.key)
    method = methods.keep(c, operation["customer_id"], card, saved=state != "requires_action", account=operation["account"])
    if state == "requires_action":
        c.execute("UPDATE operations SET challenged = 1 WHERE key = ?", (page.key,))
    returns.follow_card(c, operations.move(c, page.key, "succeeded" if state == "lost" else state, verb="try", method=method))
    c.execute("UPDATE pages SET state = ? WHERE key = ?", ("challenge" if state == "requires_action" else "done", page.key))
    lost = state == "lost" or knob == "lost"
    return read(c, page=reference, lost=lost), knob


def answer(c: sqlite3.Connection, challenge: str, approved: bool) -> HostedSession:
    """Record the answer to the bank's challenge. After a failed challenge on a hosted page, another card can be tried."""
    page = read(c, challenge=challenge)
    if not page.challenged:
        return page
    if approved:
        methods.confirm(c, operations.need(c, page.key)["method"])
        operations.move(c, page.key, "succeeded", verb="challenge")
        c.execute("UPDATE pages SET state = 'done' WHERE key = ?", (page.key,))
    elif page.reference:
        operations.move(c, page.key, "requires_action", verb="challenge", error_code="AUTHENTICATION_REQUIRED")
        c.execute("UPDATE operations SET method = NULL WHERE key = ?", (page.key,))
        c.execute("UPDATE pages SET state = 'open' WHERE key = ?", (page.key,))
    else:
        operations.move(c, page.key, "declined", verb="challenge", error_code="AUTHENTICATION_REQUIRED")
    return read(c, challenge=challenge)


def leave(c: sqlite3.Connection, reference: str) -> HostedSession:
    """Close the page. It settles as declined if the last card was declined, otherwise as cancelled."""
    page = read(c, page=reference)
    if page.open:
        declined = page.amount is not None and page.error_code is not None and not page.challenged
        operations.move(
            c, page.key, "declined" if declined else "cancelled", verb="leave", error_code=page.error_code if declined else None
        )
        c.execute("UPDATE pages SET state = 'closed' WHERE key = ?", (page.key,))
    return read(c, page=reference)
