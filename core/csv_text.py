"""Write CSV (RFC 4180) that spreadsheets read as data: every field is quoted, and no cell is taken for a formula.

Formulas begin with = + - @ or their full-width forms. They are escaped at the start of a field, and after a separator
within it, because a program may split fields at another separator (OWASP, "CSV Injection").
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
    """Return a number unchanged. In text, put an apostrophe before anything that would be a formula."""
    text = "" if cell is None else str(cell)
    if isinstance(cell, int | float | Decimal):
        return text
    text = _FORMULA.sub(r"\1\2'", text)
    return f"'{text}" if text[:1] in ("\t", "\r", "\n") else text
