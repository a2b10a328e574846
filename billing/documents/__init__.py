"""Issues, numbers, typesets and stores invoices, receipts, refund documents and corrections."""

from __future__ import annotations

import hashlib

from billing.documents.typst_process import Unprintable, typeset
from billing.documents.view_model import Snapshot, instant, notes, printed
from billing.documents.words import labels_for

__all__ = ["Snapshot", "Unprintable", "notes_of", "render_invoice", "render_refund", "sha256_of"]


def render_invoice(snapshot: Snapshot) -> bytes:
    """Return an issued invoice as PDF/A-3a and PDF/UA-1.

    The same snapshot gives the same bytes, so the stored hash can be checked against a new rendering. The time comes from `issued_at`
    and the fonts from this package; the clock, the system and the database are not read.
    Raises ValueError for a snapshot of another kind, KeyError for a missing part, Unprintable.
    """
    return _render(snapshot, "invoice")


def render_refund(snapshot: Snapshot) -> bytes:
    """Return a refund as PDF/A-3a and PDF/UA-1. Its amounts are positive. Raises the same errors as render_invoice."""
    return _render(snapshot, "refund")


def notes_of(snapshot: Snapshot) -> list[str]:
    """Return the notes that the document prints below its totals, in its language."""
    return notes(snapshot, labels_for(snapshot.get("locale") or "en"))


def sha256_of(pdf: bytes) -> str:
    """Return the hexadecimal SHA-256 of a document, which is stored with it."""
    return hashlib.sha256(pdf).hexdigest()


def _render(snapshot: Snapshot, kind: str) -> bytes:
    if snapshot["kind"] != kind:
        raise ValueError(f"expected a snapshot of kind {kind!r}, got {snapshot['kind']!r}")
    return typeset(printed(snapshot), int(instant(snapshot["issued_at"]).timestamp()))
