"""Parse and format amounts of form fields, in the currency's major unit: `12.50`, in German `12,50`, in yen `1250`.

Separators are those of the locale: `1.500` is one thousand five hundred in German. In English it is refused, because
euros have two decimals.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from babel.numbers import get_currency_symbol, get_decimal_symbol, get_group_symbol

from core.formatting import locale_of
from core.money import exponent, largest

_SPACES = re.compile(r"[\s\u00a0\u202f\u2009]+")
_APOSTROPHES = "'\u2019"


def read_amount(text: str, currency: str, locale: str = "en") -> int:
    """Return typed text as minor units of `currency`, from 0 to `core.money.largest`.

    Raises ValueError for text that is not clearly an amount.
    """
    typed = _SPACES.sub(" ", unicodedata.normalize("NFKC", text or "").strip())
    for sign in (currency, _SPACES.sub(" ", get_currency_symbol(currency, locale_of(locale)))):  # "F CFA" has a space of its own
        typed = typed.removeprefix(sign).removesuffix(sign).strip() if sign else typed
    typed = "".join(str(unicodedata.decimal(item)) if item.isdecimal() else item for item in typed)
    found = _shape(locale).fullmatch(typed)
    if found is None:
        raise ValueError("not an amount")
    whole, part = re.sub(r"\D", "", found["whole"]), found["part"] or ""
    decimals = exponent(currency)
    if len(part) > decimals:
        raise ValueError("more decimals than the currency has")
    minor = int(whole + part.ljust(decimals, "0"))
    if minor > largest(currency):
        raise ValueError("too much")
    return minor


def write_amount(minor: int, currency: str, locale: str = "en") -> str:
    """Return minor units as text for a form field: the locale's decimal sign, no groups, no currency. Inverse of `read_amount`."""
    decimals = exponent(currency)
    digits = str(abs(minor)).rjust(decimals + 1, "0")
    sign = "-" if minor < 0 else ""
    return sign + (digits[:-decimals] + get_decimal_symbol(locale_of(locale)) + digits[-decimals:] if decimals else digits)


@lru_cache(maxsize=64)
def _shape(locale: str) -> re.Pattern[str]:
    """Match digits, with or without the locale's groups, and optional decimals. Groups of two digits are used in India."""
    point, group = get_decimal_symbol(locale_of(locale)), get_group_symbol(locale_of(locale))
    groups = " " if _SPACES.fullmatch(group) else "|".join(map(re.escape, _APOSTROPHES)) if group in _APOSTROPHES else re.escape(group)
    whole = rf"\d{{1,3}}(?:(?:{groups})\d{{2,3}})*(?:{groups})\d{{3}}|\d+"
    return re.compile(rf"(?P<whole>{whole})(?:{re.escape(point)}(?P<part>\d+))?", re.ASCII)
