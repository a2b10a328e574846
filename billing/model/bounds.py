"""Checks the bounds of values from the API, imported files and mirrored accounts.

Each function returns the value or raises ValueError with a sentence, so that pydantic can use it as a validator.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from core.currencies import CURRENCIES
from core.money import DISPUTED, LARGEST_ANYWHERE, largest

FIRST_YEAR, LAST_YEAR = 1970, 2200
SUM_OF = 100
"""A payment, a refund or a total is at most this many times the largest price of its currency."""
MOST_MINOR = LARGEST_ANYWHERE * SUM_OF
YEARS = 100  # the longest period or term
_PER_YEAR = {"Day": 366, "Week": 53, "Month": 12, "Year": 1}
JSON_DEPTH, JSON_SIZE = 8, 20_000  # levels; total size in characters, a number counts as 8


def instant(value: datetime) -> datetime:
    """Check that calendars, both databases and every time zone can represent the instant."""
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"a date must be between the years {FIRST_YEAR} and {LAST_YEAR}")
    return value


_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_NOT_IN_HTML = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")


def text(value: str) -> str:
    """Check that a text can be stored and shown.

    PostgreSQL cannot store NUL, and half of a surrogate pair cannot be encoded. HTML allows no control characters and noncharacters except
    tabs and line breaks (living standard section 13.1.4).
    """
    if _UNSTORABLE.search(value):
        raise ValueError("NUL and incomplete characters are not allowed")
    if _NOT_IN_HTML.search(value):
        raise ValueError("control characters are not allowed")
    return value


def currency(code: str) -> str:
    if code not in CURRENCIES or code in DISPUTED:
        raise ValueError(f"{code[:3]} is not a supported currency.")
    return code


def price(minor: int, code: str) -> int:
    """Check a price in minor units of its currency."""
    if not 0 <= minor <= largest(code):
        raise ValueError(f"a price must be between 0 and {largest(code)} {code}, in minor units")
    return minor


def amount(minor: int, code: str) -> int:
    """Check the amount of a payment in minor units of its currency."""
    if not 0 <= minor <= largest(code) * SUM_OF:
        raise ValueError(f"an amount must be between 0 and {largest(code) * SUM_OF} {code}, in minor units")
    return minor


def period(interval: str | None, count: int | None) -> None:
    """Raise ValueError for a period or a term of more than `YEARS` years."""
    if interval and count and count > YEARS * _PER_YEAR[interval]:
        raise ValueError(f"a period must be at most {YEARS} years")


def json_value(value: Any) -> Any:
    """Check that JSON can be stored and shown: its texts, depth and size, and that its numbers are finite."""
    size_left = JSON_SIZE
    rest: list[tuple[Any, int]] = [(value, 0)]
    while rest:
        item, depth = rest.pop()
        if depth > JSON_DEPTH:
            raise ValueError(f"the value is nested more than {JSON_DEPTH} levels deep")
        size_left -= len(item) + 1 if isinstance(item, str) else 8
        if size_left < 0:
            raise ValueError("the value is too long")
        if isinstance(item, str):
            text(item)
        elif isinstance(item, dict):
            rest += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list):
            rest += [(part, depth + 1) for part in item]
        elif isinstance(item, float) and not abs(item) < float("inf"):
            raise ValueError("numbers must be finite")
        elif isinstance(item, int) and abs(item) > 2**63 - 1:
            raise ValueError("the number is too large")
    return value
