"""Formatting of money and dates."""

import datetime as dt
import re
from zoneinfo import ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.formatting import count, date_words, money, percent
from core.money import exponent

CURRENCIES = "USD EUR BRL SEK JPY KWD GBP INR BHD TND CLP KRW".split()
LATE = dt.datetime(2026, 11, 5, 23, 30, tzinfo=dt.UTC)
THIS_YEAR = dt.date(2026, 1, 1)


@given(st.integers(-(10**13), 10**13), st.sampled_from(CURRENCIES), st.sampled_from(["en", "de", "it", "pt_BR", "sv", "ja", "ar"]))
def test_every_digit_of_the_amount_is_printed_and_no_other(minor, currency, locale):
    text = money(minor, currency, locale)
    assert re.sub(r"\D", "", text) == str(abs(minor)).zfill(exponent(currency) + 1)
    assert ("\u2212" in text) == (minor < 0)
    assert " " not in text and "-" not in text


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((2900, "EUR"), "€29.00"), ((2900, "EUR", "de"), "29,00\xa0€"), ((2900, "JPY"), "¥2,900"), ((1234, "KWD"), "KWD\xa01.234"),
        ((-500, "CLP", "pt-BR"), "\u2212CLP\xa0500"), ((490000, "SEK", "sv"), "4\xa0900,00\xa0kr"), ((2900, "EUR", "no such"), "€29.00"),
    ],
)  # fmt: skip
def test_money_is_formatted_by_locale(args, text):
    assert money(*args) == text


@pytest.mark.parametrize(
    ("locale", "sentence", "line", "table", "document", "month"),
    [
        ("en", "Thursday 5 November", "Thu 5 Nov", "5 Nov 2026", "5 November 2026", "November 2026"),
        ("de", "Donnerstag, 5. November", "Do. 5. Nov.", "5. Nov. 2026", "5. November 2026", "November 2026"),
        ("it", "giovedì 5 novembre", "gio 5 nov", "5 nov 2026", "5 novembre 2026", "novembre 2026"),
        ("pt_BR", "quinta-feira, 5 de novembro", "qui. 5 nov.", "5 nov. 2026", "5 de novembro de 2026", "novembro de 2026"),
        ("sv", "torsdag 5 november", "tors 5 nov.", "5 nov. 2026", "5 november 2026", "november 2026"),
        ("ja", "11月5日木曜日", "11月5日(木)", "2026年11月5日", "2026年11月5日", "2026年11月"),
        ("ar", "الخميس، 5 نوفمبر", "الخميس، 5 نوفمبر", "5 نوفمبر 2026", "5 نوفمبر 2026", "نوفمبر 2026"),
    ],
)
def test_dates_in_every_language(locale, sentence, line, table, document, month):
    wanted = {"sentence": sentence, "line": line, "table": table, "document": document, "month": month}
    assert {style: date_words(LATE, locale, "UTC", style, today=THIS_YEAR) for style in wanted} == wanted


def test_dates_of_other_years_include_the_year():
    assert date_words(LATE, "en", "UTC", "sentence", today=dt.date(2027, 1, 1)) == "Thursday 5 November 2026"
    assert date_words(LATE, "en", "UTC", "line", today=dt.date(2025, 12, 31)) == "Thu 5 Nov 2026"
    assert date_words(LATE, "en", "UTC", "day", today=dt.date(2027, 1, 1)) == "5 November 2026"
    assert date_words(LATE, "de", "UTC", "day", today=dt.date(2027, 1, 1)) == "5. November 2026"


def test_the_zone_decides_the_day_and_the_time():
    assert date_words(LATE, "en", "Asia/Tokyo", "moment") == "6 Nov 2026, 08:30"
    assert date_words(LATE, "en", "America/New_York", "table") == "5 Nov 2026"
    assert date_words(dt.date(2026, 11, 5), "en", "Asia/Tokyo", "table") == "5 Nov 2026"


def test_unformattable_values_are_refused():
    with pytest.raises(ValueError, match="time zone"):
        date_words(dt.datetime(2026, 11, 5), "en")  # noqa: DTZ001
    with pytest.raises(ValueError, match="style"):
        date_words(LATE, "en", "UTC", "short")
    with pytest.raises(ValueError, match="time of day"):
        date_words(dt.date(2026, 11, 5), "en", "UTC", "moment")
    with pytest.raises(ZoneInfoNotFoundError):
        date_words(LATE, "en", "Nowhere/Here")


def test_rates_and_counts_are_formatted_by_locale():
    assert [percent(2000), percent(1950, "de"), percent(0), percent(1225, "en")] == ["20%", "19,5\xa0%", "0%", "12.25%"]
    assert count(12000, "de") == "12.000"
