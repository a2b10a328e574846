"""Amounts that people type, in the currency's major unit, and back: `12.50`, in German `12,50`, in yen `1250`.

Separators mean what the locale says they mean, and nothing is guessed: `1.500` is one thousand five hundred in German and
no amount at all in English, where euros have two decimals.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from babel.numbers import get_currency_symbol, get_decimal_symbol, get_group_symbol

from core.format import locale_of
from core.money import exponent, largest

_SPACES = re.compile(r"[\s\u00a0\u202f\u2009]+")
_APOSTROPHES = "'\u2019"


def read_amount(text: str, currency: str, locale: str = "en") -> int:
    """What somebody typed → minor units of `currency`, 0 to `core.money.largest`.

    Raises ValueError for anything that is not plainly an amount.
    """
    typed = _SPACES.sub(" ", unicodedata.normalize("NFKC", text or "").strip())
    for sign in (currency, _SPACES.sub(" ", get_currency_symbol(currency, locale_of(locale)))):  # "F CFA" has a space of its own
        typed = typed.removeprefix(sign).removesuffix(sign).strip() if sign else typed
    typed = "".join(str(unicodedata.decimal(one)) if one.isdecimal() else one for one in typed)
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
    """Minor units as they stand in a form's field: the locale's decimal sign, no groups, no currency. `read_amount` reads it back."""
    decimals = exponent(currency)
    digits = str(abs(minor)).rjust(decimals + 1, "0")
    sign = "-" if minor < 0 else ""
    return sign + (digits[:-decimals] + get_decimal_symbol(locale_of(locale)) + digits[-decimals:] if decimals else digits)


@lru_cache(maxsize=64)
def _shape(locale: str) -> re.Pattern[str]:
    """Digits, or digits in the locale's groups; then the locale's decimal sign and digits, if any. Groups of two are India's."""
    point, group = get_decimal_symbol(locale_of(locale)), get_group_symbol(locale_of(locale))
    groups = " " if _SPACES.fullmatch(group) else "|".join(map(re.escape, _APOSTROPHES)) if group in _APOSTROPHES else re.escape(group)
    whole = rf"\d{{1,3}}(?:(?:{groups})\d{{2,3}})*(?:{groups})\d{{3}}|\d+"
    return re.compile(rf"(?P<whole>{whole})(?:{re.escape(point)}(?P<part>\d+))?", re.ASCII)
