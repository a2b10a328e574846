"""Saved cards: brand, last four digits, expiry, holder, country and the name of a behavior."""

from __future__ import annotations

import sqlite3

from billing.charging.ports import MethodDetails
from core.ids import new_id
from gateways.sandbox import cards, ownership
from gateways.sandbox.store import stamp


def keep(c: sqlite3.Connection, customer_id: str, card: cards.CheckedCard, *, saved: bool, account: str = "") -> str:
    """Store a card and return its reference. With `saved` False it is pending the bank's confirmation."""
    reference = new_id("sbm")
    c.execute(
        "INSERT INTO methods (reference, customer_id, brand, last4, expiry_month, expiry_year, holder, country, behaviour, saved, created,"
        " account) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (reference, customer_id, card.brand, card.last4, card.expiry_month, card.expiry_year, card.holder, card.country,
         card.behaviour, saved, stamp(), account),
    )  # fmt: skip
    return reference


def confirm(c: sqlite3.Connection, reference: str | None) -> None:
    c.execute("UPDATE methods SET saved = 1 WHERE reference = ?", (reference,))


def find(c: sqlite3.Connection, reference: str | None) -> sqlite3.Row | None:
    """Return the row of a saved card; None if it does not exist or was never confirmed."""
    row: sqlite3.Row | None = c.execute("SELECT * FROM methods WHERE reference = ? AND saved = 1", (reference,)).fetchone()
    return row


def forget(c: sqlite3.Connection, reference: str, account: str) -> None:
    """Make a saved card of this account unusable. Its row is kept, because past charges show the card."""
    row = find(c, reference)
    if row is not None and ownership.has_card(account, row):
        c.execute("UPDATE methods SET forgotten = 1 WHERE reference = ?", (reference,))


def details(c: sqlite3.Connection, reference: str | None) -> MethodDetails | None:
    row = find(c, reference)
    if row is None:
        return None
    return MethodDetails(
        reference=row["reference"],
        brand=row["brand"],
        last4=row["last4"],
        expiry_month=row["expiry_month"],
        expiry_year=row["expiry_year"],
        holder=row["holder"],
        country=row["country"],
        customer_reference=row["customer_id"],
    )


def describe(c: sqlite3.Connection, reference: str, account: str) -> MethodDetails | None:
    """Return a card of this account that can be charged, None otherwise."""
    row = find(c, reference)
    return details(c, reference) if row is not None and not row["forgotten"] and ownership.has_card(account, row) else None


def label_of(c: sqlite3.Connection, reference: str | None) -> str | None:
    """Return the label of a card for the journal, such as `Visa 4242`."""
    row = c.execute("SELECT brand, last4 FROM methods WHERE reference = ?", (reference,)).fetchone()
    return cards.label(row["brand"], row["last4"]) if row else None
