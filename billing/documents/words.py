"""The words printed on documents, by language. A language is complete or absent: half-translated documents look forged.

To add one, add an entry with the same keys and placeholders (the test compares them). The language of a document is
the entry that was found, so its figures and dates are written the same way as its words.
"""

from __future__ import annotations

from core.format import locale_of

_EN = {
    "language": "en",
    "invoice": "Invoice", "refund": "Refund",
    "issued": "Issued", "period": "For the time", "span": "{first} to {last}",
    "corrects": "Corrects", "credits": "Refunds invoice", "currency": "Currency", "reason": "Reason",
    "from": "From", "to": "To", "tax_id": "Tax no. {id}",
    "what": "What", "quantity": "Qty", "each": "Each", "rate": "Tax", "amount": "Amount",
    "subtotal": "Subtotal", "tax": "Tax {rate} on {net}", "total": "Total", "credit": "Credit used",
    "due": "To pay", "paid": "Paid", "refunded": "Refunded", "void": "Not to be paid",
    "state_paid": "Paid", "state_open": "Not paid yet", "state_void": "Void",
    "refund_paid": "Refunded", "refund_open": "On its way", "refund_void": "Not taken",
    "card": "{brand} ending {last4}",
    "said_paid": "{amount} was paid on {day} with {method}.", "said_paid_day": "{amount} was paid on {day}.",
    "said_open": "{amount} is to be paid.", "said_void": "This invoice is void: nothing is to be paid.",
    "said_refund_paid": "{amount} was sent back on {day} to {method}.", "said_refund_paid_day": "{amount} was sent back on {day}.",
    "said_refund_open": "{amount} is on its way back.", "said_refund_void": "This refund was not made.",
    "settled": "Nothing is to be paid: credit covers it.",
    "questions": "Questions about this document: {email}",
    "fixed": "This document cannot change; a correction is a new one beside it.",
    "page": "Page {page} of {pages}", "test": "Test mode: no real money",
}
_DE = {
    "language": "de",
    "invoice": "Rechnung", "refund": "Erstattung",
    "issued": "Ausgestellt", "period": "Für die Zeit", "span": "{first} bis {last}",
    "corrects": "Berichtigt", "credits": "Erstattet Rechnung", "currency": "Währung", "reason": "Grund",
    "from": "Von", "to": "An", "tax_id": "Steuernr. {id}",
    "what": "Leistung", "quantity": "Menge", "each": "Einzeln", "rate": "Steuer", "amount": "Betrag",
    "subtotal": "Zwischensumme", "tax": "Steuer {rate} auf {net}", "total": "Gesamt", "credit": "Guthaben verrechnet",
    "due": "Zu zahlen", "paid": "Bezahlt", "refunded": "Erstattet", "void": "Nicht zu zahlen",
    "state_paid": "Bezahlt", "state_open": "Noch nicht bezahlt", "state_void": "Ungültig",
    "refund_paid": "Erstattet", "refund_open": "Unterwegs", "refund_void": "Nicht erfolgt",
    "card": "{brand} mit Endziffern {last4}",
    "said_paid": "{amount} wurden am {day} mit {method} bezahlt.", "said_paid_day": "{amount} wurden am {day} bezahlt.",
    "said_open": "{amount} sind zu zahlen.", "said_void": "Diese Rechnung ist ungültig: Es ist nichts zu zahlen.",
    "said_refund_paid": "{amount} wurden am {day} auf {method} zurückgezahlt.",
    "said_refund_paid_day": "{amount} wurden am {day} zurückgezahlt.",
    "said_refund_open": "{amount} sind auf dem Weg zurück.", "said_refund_void": "Diese Erstattung ist nicht erfolgt.",
    "settled": "Es ist nichts zu zahlen: Das Guthaben deckt den Betrag.",
    "questions": "Fragen zu diesem Dokument: {email}",
    "fixed": "Dieses Dokument ändert sich nicht; eine Berichtigung ist ein neues daneben.",
    "page": "Seite {page} von {pages}", "test": "Testmodus: kein echtes Geld",
}
WORDS: dict[str, dict[str, str]] = {"en": _EN, "de": _DE}


def words(locale: str) -> dict[str, str]:
    """The words of a CLDR locale: its own entry, else its language's, else English."""
    found = locale_of(locale or "en")
    return WORDS.get(str(found)) or WORDS.get(found.language) or _EN
