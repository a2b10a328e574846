"""Bounds on values from outside: the same for the API, an imported file and a mirrored account.

Each function returns the value or raises ValueError with a sentence; pydantic takes them as validators.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from core.currencies import CURRENCIES
from core.money import DISPUTED, LARGEST_ANYWHERE, largest

FIRST_YEAR, LAST_YEAR = 1970, 2200
SUM_OF = 100
"""A payment, a refund or a total is at most so many times the largest price of its currency."""
MOST_MINOR = LARGEST_ANYWHERE * SUM_OF
YEARS = 100  # how long a period or a term may be
_PER_YEAR = {"Day": 366, "Week": 53, "Month": 12, "Year": 1}
JSON_DEPTH, JSON_SIZE = 8, 20_000  # levels; characters and numbers in all


def instant(value: datetime) -> datetime:
    """A moment that calendars, both databases and every time zone can carry."""
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"a date is between the years {FIRST_YEAR} and {LAST_YEAR}")
    return value


_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_UNSHOWN = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")


def text(value: str) -> str:
    """No NUL (PostgreSQL stores none), no half of a surrogate pair (nothing can encode it), and no control character or noncharacter
    (HTML allows none, living standard section 13.1.4), tabs and line breaks aside."""
    if _UNSTORABLE.search(value):
        raise ValueError("a NUL or half of a character cannot be stored")
    if _UNSHOWN.search(value):
        raise ValueError("control characters cannot be shown")
    return value


def currency(code: str) -> str:
    if code not in CURRENCIES or code in DISPUTED:
        raise ValueError(f"{code[:3]} is not a currency we can carry.")
    return code


def price(minor: int, code: str) -> int:
    """Minor units of a currency, within what its prices can be."""
    if not 0 <= minor <= largest(code):
        raise ValueError(f"a price is between 0 and {largest(code)} {code}, in minor units")
    return minor


def amount(minor: int, code: str) -> int:
    """Minor units of a currency, within what its payments can be."""
    if not 0 <= minor <= largest(code) * SUM_OF:
        raise ValueError(f"an amount is between 0 and {largest(code) * SUM_OF} {code}, in minor units")
    return minor


def period(interval: str | None, count: int | None) -> None:
    """Raises ValueError for a period or a term that is longer than a life."""
    if interval and count and count > YEARS * _PER_YEAR[interval]:
        raise ValueError(f"a period is {YEARS} years at most")


def json_value(value: Any) -> Any:
    """JSON that can be stored and shown: its texts, its depth, its size, and numbers that are finite."""
    left = JSON_SIZE
    rest: list[tuple[Any, int]] = [(value, 0)]
    while rest:
        one, depth = rest.pop()
        if depth > JSON_DEPTH:
            raise ValueError(f"it is nested more than {JSON_DEPTH} levels deep")
        left -= len(one) + 1 if isinstance(one, str) else 8
        if left < 0:
            raise ValueError("it is too long")
        if isinstance(one, str):
            text(one)
        elif isinstance(one, dict):
            rest += [(part, depth + 1) for pair in one.items() for part in pair]
        elif isinstance(one, list):
            rest += [(part, depth + 1) for part in one]
        elif isinstance(one, float) and not abs(one) < float("inf"):
            raise ValueError("a number has to be finite")
        elif isinstance(one, int) and abs(one) > 2**63 - 1:
            raise ValueError("a number is too large")
    return value
