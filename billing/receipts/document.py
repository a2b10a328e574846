"""Typesets a receipt as a PDF from its content alone, so that it is the same at any later time."""

from __future__ import annotations

from typing import Any

from billing.documents.printable_text import plain
from billing.documents.typst_process import typeset
from billing.documents.view_model import US_PAPER_COUNTRIES, accent, instant, readable
from billing.documents.words import labels_for
from billing.model.receipts import Receipt
from billing.receipts.context import WORDS
from core import formatting as show


def received_words(content: dict[str, Any]) -> str:
    """Return when the action was received, to the second and with the zone, in the language of the receipt."""
    return show.instant_words(instant(content["received_at"]), content["language"], content["zone"])


def seller_lines(content: dict[str, Any]) -> list[str]:
    """Return the business as on an envelope: legal name, address lines, country."""
    seller = content["seller"]
    country = show.locale_of(content["language"]).territories.get(seller["country"] or "") if seller["country"] else ""
    return [line for line in (seller["legal_name"], *seller["lines"], country) if line]


def render_receipt(receipt: Receipt, *, is_test: bool) -> bytes:
    """Return the receipt as PDF/A-3a and PDF/UA-1. The same receipt gives the same bytes. Raises Unprintable."""
    content = receipt.content
    words, labels = WORDS[content["language"]], labels_for(content["language"])
    language, _, region = content["language"].partition("_")
    color, customer = accent(content["seller"]["accent"]), content["customer"]
    facts = [
        (words["received"], received_words(content)),
        (words["from"], ", ".join(filter(None, (customer["name"], customer["email"])))),
        (words["to"], ", ".join(seller_lines(content))),
        *content["facts"],
        *([content["total"]] if content["total"] else []),
    ]
    follows = [plain(text) for text in content["follows"]]
    data = {
        "lang": language,
        "region": region or None,
        "paper": "us-letter" if content["seller"]["country"] in US_PAPER_COUNTRIES else "a4",
        "accent": color,
        "accent_ink": readable(color),
        "seller_name": plain(content["seller"]["name"]),
        "kind": content["title"],
        "number": plain(content["number"]),
        "test": labels["test"] if is_test else "",
        "declared_label": words["done" if content["on_behalf"] or content["by"] != "customer" else "declared"],
        "declared": " ".join(filter(None, (plain(content["declared"]), plain(content["on_behalf"])))),
        "facts": [[plain(name), plain(value)] for name, value in facts if value],
        "sections": [[words["follows"], follows]] if follows else [],
        "fingerprint_label": words["fingerprint"],
        "fingerprint": receipt.sha256,
        "page": labels["page"],
    }
    return typeset(data, int(receipt.issued_at.timestamp()), template="statement")
