"""Format money, rates and dates in the reader's language, for pages, emails and documents.

Results are cached, because the rows of a page repeat a few locales, currencies and days.
Locales are CLDR names with `_` or `-` ("de", "pt_BR", "pt-BR"); a name that Babel does not know means English.
"""

from __future__ import annotations

import copy
import datetime as dt
import re
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton, format_time
from babel.numbers import NumberPattern

from core import clock
from core.money import exponent

# CLDR's pattern for weekday and day abbreviates the weekday in German and Swedish and adds commas in English. Our own
# languages therefore have explicit patterns; others use the nearest CLDR skeleton (see _SKELETONS).
_PATTERNS: dict[str, dict[str, str]] = {
    "en": {
        "sentence": "EEEE d MMMM",
        "sentence+year": "EEEE d MMMM y",
        "line": "EEE d MMM",
        "line+year": "EEE d MMM y",
        "table": "d MMM y",
        "document": "d MMMM y",
        "day": "d MMMM",
        "month": "MMMM y",
    },
    "de": {
        "sentence": "EEEE, d. MMMM",
        "sentence+year": "EEEE, d. MMMM y",
        "line": "EEE d. MMM",
        "line+year": "EEE d. MMM y",
        "table": "d. MMM y",
        "document": "d. MMMM y",
        "day": "d. MMMM",
        "month": "MMMM y",
    },
    "it": {
        "sentence": "EEEE d MMMM",
        "sentence+year": "EEEE d MMMM y",
        "line": "EEE d MMM",
        "line+year": "EEE d MMM y",
        "table": "d MMM y",
        "document": "d MMMM y",
        "day": "d MMMM",
        "month": "MMMM y",
    },
    "pt": {
        "sentence": "EEEE, d 'de' MMMM",
        "sentence+year": "EEEE, d 'de' MMMM 'de' y",
        "line": "EEE d MMM",
        "line+year": "EEE d MMM y",
        "table": "d MMM y",
        "document": "d 'de' MMMM 'de' y",
        "day": "d 'de' MMMM",
        "month": "MMMM 'de' y",
    },
    "sv": {
        "sentence": "EEEE d MMMM",
        "sentence+year": "EEEE d MMMM y",
        "line": "EEE d MMM",
        "line+year": "EEE d MMM y",
        "table": "d MMM y",
        "document": "d MMMM y",
        "day": "d MMMM",
        "month": "MMMM y",
    },
    "ja": {
        "sentence": "M月d日EEEE",
        "sentence+year": "y年M月d日EEEE",
        "line": "M月d日(EEE)",
        "line+year": "y年M月d日(EEE)",
        "table": "y年M月d日",
        "document": "y年M月d日",
        "day": "M月d日",
        "month": "y年M月",
    },
    "ar": {
        "sentence": "EEEE، d MMMM",
        "sentence+year": "EEEE، d MMMM y",
        "line": "EEE، d MMM",
        "line+year": "EEE، d MMM y",
        "table": "d MMM y",
        "document": "d MMMM y",
        "day": "d MMMM",
        "month": "MMMM y",
    },
}
_SKELETONS = {
    "sentence": "MMMMEEEEd",
    "sentence+year": "yMMMMEEEEd",
    "line": "MMMEd",
    "line+year": "yMMMEd",
    "table": "yMMMd",
    "document": "yMMMMd",
    "day": "MMMMd",
    "month": "yMMMM",
}
_CODE = re.compile(r"(?<=[^\W\d_])(?=\d)")
_WITH_YEAR = {"sentence": "sentence+year", "line": "line+year", "day": "document"}  # for a day of another year
STYLES = frozenset({"sentence", "line", "table", "document", "day", "month", "moment"})


@lru_cache(maxsize=256)
def locale_of(name: str) -> Locale:
    """Return Babel's locale for a CLDR name; English if it is unknown."""
    try:
        return Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError, TypeError):
        return Locale.parse("en")


@lru_cache(maxsize=1024)
def _money_pattern(name: str, decimals: int) -> NumberPattern:
    """Return the locale's currency pattern with `decimals`, because Babel has other decimals for some currencies."""
    pattern: NumberPattern = copy.copy(locale_of(name).currency_formats["standard"])
    pattern.frac_prec = (decimals, decimals)
    return pattern


@lru_cache(maxsize=16384)
def money(minor: int, currency: str, locale: str = "en") -> str:
    """Format `minor` units of an ISO 4217 `currency`: money(2900, "EUR") → '€29.00'. Never rounds.

    Uses no-break spaces and the minus sign U+2212, so that an amount is not broken over two lines.
    """
    decimals = exponent(currency)
    digits = tuple(int(figure) for figure in str(abs(minor)))
    value = Decimal((int(minor < 0), digits, -decimals))
    text: str = _money_pattern(locale, decimals).apply(value, locale_of(locale), currency=currency, currency_digits=False)
    text = _CODE.sub("\u00a0", text)  # "CLP 500", not "CLP500"
    return text.replace("-", "\u2212") if minor < 0 else text


@lru_cache(maxsize=1024)
def unit_price(value: str, currency: str, locale: str = "en") -> str:
    """Format a price in major units with all its decimals, also more than the currency has: unit_price("8.395", "EUR") → '€8.395'."""
    number = Decimal(value)
    exact = number.as_tuple().exponent
    decimals = max(exponent(currency), -exact if isinstance(exact, int) else 0)
    text: str = _money_pattern(locale, decimals).apply(number, locale_of(locale), currency=currency, currency_digits=False)
    text = _CODE.sub("\u00a0", text)
    return text.replace("-", "\u2212") if number < 0 else text


@lru_cache(maxsize=1024)
def percent(basis_points: int, locale: str = "en", exact: str | None = None) -> str:
    """Format a rate in basis points: percent(2000) → '20%', percent(1950, "de") → '19,5 %'.

    `exact`: the percentage where it has more decimals than basis points: percent(888, exact="8.875") → '8.875%'.
    """
    pattern: NumberPattern = copy.copy(locale_of(locale).percent_formats[None])
    pattern.frac_prec = (0, 5 if exact else 2)
    text: str = pattern.apply(Decimal(exact).scaleb(-2) if exact else Decimal(basis_points).scaleb(-4), locale_of(locale))
    return text


@lru_cache(maxsize=1024)
def count(number: int, locale: str = "en") -> str:
    """Format a whole number with the locale's grouping: count(12000) → '12,000'."""
    text: str = locale_of(locale).decimal_formats[None].apply(number, locale_of(locale))
    return text


def local_date(moment: dt.datetime | dt.date, zone: str = "UTC") -> dt.date:
    """Return the calendar day of an instant in `zone` (IANA name). A date is returned unchanged. Raises ValueError if naive."""
    if not isinstance(moment, dt.datetime):
        return moment
    if moment.tzinfo is None:
        raise ValueError("an instant needs its time zone")
    return _in_zone(moment, zone).date()


def _in_zone(moment: dt.datetime, zone: str) -> dt.datetime:
    """Convert to `zone`. At the ends of the calendar the conversion overflows; then the instant is returned unchanged."""
    try:
        return moment.astimezone(ZoneInfo(zone))
    except OverflowError:
        return moment


def date_words(
    moment: dt.datetime | dt.date, locale: str = "en", zone: str = "UTC", style: str = "table", *, today: dt.date | None = None
) -> str:
    """Format a day. Instants are converted to `zone`; `today` (default: billing clock) decides whether the year is shown.

    sentence 'Thursday 26 November' · line 'Thu 26 Nov' · day '26 October' (these three with the year when it is not this one) ·
    table '26 Oct 2026' · document '26 October 2026' · month 'October 2026' · moment '26 Oct 2026, 14:10'.
    Raises ValueError for another style, a naive datetime, or 'moment' with a date; ZoneInfoNotFoundError for the zone.
    """
    if style not in STYLES:
        raise ValueError(f"no such style of date: {style!r}")
    day = local_date(moment, zone)
    if style == "moment":
        if not isinstance(moment, dt.datetime):
            raise ValueError("a moment has a time of day")
        local = _in_zone(moment, zone)
        return f"{_day_words(day, locale, 'table')}, {_time_words(local.hour, local.minute, locale)}"
    if style in _WITH_YEAR and day.year != (today or local_date(clock.now(), zone)).year:
        return _day_words(day, locale, _WITH_YEAR[style])
    return _day_words(day, locale, style)


def instant_words(moment: dt.datetime, locale: str, zone: str) -> str:
    """Format an instant to the second with its zone, for receipts: '22 November 2026, 14:12:08 CET'."""
    local = _in_zone(moment, zone)
    return f"{date_words(moment, locale, zone, 'document')}, {format_time(local.time(), 'medium', locale=_dated(locale))} {local.tzname()}"


def _dated(locale: str) -> Locale:
    """Return the locale for dates: 'en' uses British order, day before month."""
    found = locale_of(locale)
    return Locale.parse("en_GB") if found.language == "en" else found


@lru_cache(maxsize=8192)
def _day_words(day: dt.date, locale: str, style: str) -> str:
    found = _dated(locale)
    if known := _PATTERNS.get(found.language):
        return str(format_date(day, known[style], locale=found))
    return str(format_skeleton(_SKELETONS[style], day, locale=found))


@lru_cache(maxsize=4096)
def _time_words(hour: int, minute: int, locale: str) -> str:
    return str(format_time(dt.time(hour, minute), "short", locale=_dated(locale)))
