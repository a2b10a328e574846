"""CSV (RFC 4180) that a spreadsheet reads as data: every field quoted, no cell that it would take for a formula.

Formulas begin with = + - @ or their full-width forms, at the start of a field or after a separator within it: a program
that splits at another separator than ours makes a field of its own there (OWASP, "CSV Injection").
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from decimal import Decimal

_FORMULA = re.compile(r"(^|[,;|\t\r\n])([\s\u200b\u2060\ufeff\"']*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20\u2212])")


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n", quoting=csv.QUOTE_ALL).writerows([csv_cell(cell) for cell in row] for row in rows)
    return out.getvalue()


def csv_cell(cell: object) -> str:
    """Numbers stay numbers, negative ones too. In text, an apostrophe in front of what would be a formula keeps it text."""
    text = "" if cell is None else str(cell)
    if isinstance(cell, int | float | Decimal):
        return text
    text = _FORMULA.sub(r"\1\2'", text)
    return f"'{text}" if text[:1] in ("\t", "\r", "\n") else text
