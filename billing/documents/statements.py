"""Typesets a statement as a PDF: what was declared, when, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from billing.documents.printable_text import plain
from billing.documents.statement_words import WORDS
from billing.documents.typst_process import typeset
from billing.documents.view_model import US_PAPER_COUNTRIES, accent, readable
from billing.documents.words import labels_for
from core import formatting as show


@dataclass(frozen=True, kw_only=True)
class StatementDocument:
    """The values of a statement. `outcome`: paragraphs that say what follows; empty on the copy for somebody whose contract is not known.

    `seller` and `country`: of the business. `sha256`: of the declared values. Times are shown in `zone`.
    """

    number: str
    language: str
    zone: str
    received_at: datetime
    declared: str
    name: str
    email: str
    contract: str
    is_for_cause: bool
    reason: str
    wanted_at: datetime | None
    sha256: str
    seller: str
    country: str | None = None
    accent: str | None = None
    is_test: bool = False
    outcome: tuple[str, ...] = field(default=())
    kind: str = "cancel"


def render_statement(document: StatementDocument) -> bytes:
    """Return the statement as PDF/A-3a and PDF/UA-1. The same values give the same bytes. Raises Unprintable."""
    words = WORDS[labels_for(document.language)["language"]]
    labels = labels_for(document.language)
    language, _, region = labels["language"].partition("_")
    color = accent(document.accent)
    received = show.instant_words(document.received_at, labels["language"], document.zone)
    facts = [
        (words["received"], received),
        (words["from"], plain(document.name)),
        (words["email"], plain(document.email)),
        (words["contract"], plain(document.contract)),
    ]
    if document.kind == "cancel":
        facts += [
            (words["type"], words["for_cause" if document.is_for_cause else "ordinary"]),
            (words["reason"], plain(document.reason)),
            (words["ends"], _wanted(document, labels["language"], words)),
        ]
    data = {
        "lang": language,
        "region": region or None,
        "paper": "us-letter" if document.country in US_PAPER_COUNTRIES else "a4",
        "accent": color,
        "accent_ink": readable(color),
        "seller_name": plain(document.seller),
        "kind": words["withdrawal" if document.kind == "withdraw" else "title"],
        "number": plain(document.number),
        "test": labels["test"] if document.is_test else "",
        "declared_label": words["declared"],
        "declared": plain(document.declared),
        "facts": [[name, value] for name, value in facts if value],
        "sections": [[words["outcome"], [plain(text) for text in document.outcome]]] if document.outcome else [],
        "fingerprint_label": words["fingerprint"],
        "fingerprint": document.sha256,
        "page": labels["page"],
    }
    return typeset(data, int(document.received_at.timestamp()), template="statement")


def _wanted(document: StatementDocument, language: str, words: dict[str, str]) -> str:
    if document.wanted_at is None:
        return words["earliest"]
    return words["not_before"].format(day=show.date_words(document.wanted_at, language, document.zone, "document"))
