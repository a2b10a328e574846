"""Documents a customer keeps: invoices and refunds as PDF, rendered from the snapshot that was issued.

Same snapshot, same bytes: the time comes from `issued_at`, the fonts from this package, and nothing is read from the
clock, the system or the database. So the kept hash can be checked against a fresh rendering.
"""

from __future__ import annotations

import hashlib

from billing.documents.figures import Snapshot, instant, notes, printed
from billing.documents.press import Unprintable, typeset
from billing.documents.words import words

__all__ = ["Snapshot", "Unprintable", "notes_of", "render_invoice", "render_refund", "sha256_of"]


def render_invoice(snapshot: Snapshot) -> bytes:
    """PDF/A-3a + PDF/UA-1 of an issued invoice. ValueError for another kind, KeyError for a missing part, Unprintable."""
    return _render(snapshot, "invoice")


def render_refund(snapshot: Snapshot) -> bytes:
    """PDF/A-3a + PDF/UA-1 of a refund (amounts positive: what went back). Errors as render_invoice."""
    return _render(snapshot, "refund")


def notes_of(snapshot: Snapshot) -> list[str]:
    """The notes that the document prints below its totals, in its language."""
    return notes(snapshot, words(snapshot.get("locale") or "en"))


def sha256_of(pdf: bytes) -> str:
    """Hex SHA-256 of a document, kept beside it."""
    return hashlib.sha256(pdf).hexdigest()


def _render(snapshot: Snapshot, kind: str) -> bytes:
    if snapshot["kind"] != kind:
        raise ValueError(f"a snapshot of kind {snapshot['kind']!r} is no {kind}")
    return typeset(printed(snapshot), int(instant(snapshot["issued_at"]).timestamp()))
