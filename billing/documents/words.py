"""Finds the labels printed on documents in a language.

A language is complete or absent, so that no document mixes languages. To add one, add a module to `languages` with the same keys and
placeholders (a test compares them), and an entry to `LABELS`. Amounts and dates are formatted in the language of the labels found.
"""

from __future__ import annotations

from billing.documents.languages import de, en, it, pt_br, sv
from core.formatting import locale_of

LABELS: dict[str, dict[str, str]] = {"en": en.LABELS, "de": de.LABELS, "it": it.LABELS, "pt_BR": pt_br.LABELS, "sv": sv.LABELS}
_BY_LANGUAGE = {name.partition("_")[0]: entry for name, entry in LABELS.items()}


def labels_for(locale: str) -> dict[str, str]:
    """Return the labels of a CLDR locale: its own, else those of its language ("pt-PT" gets "pt_BR"), else English."""
    found = locale_of(locale or "en")
    return LABELS.get(str(found)) or _BY_LANGUAGE.get(found.language) or en.LABELS
