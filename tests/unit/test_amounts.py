"""Typed amounts are parsed with the locale's separators and never guessed. Formatted amounts parse to the same value."""

from __future__ import annotations

import pytest

from core.amount_input import read_amount, write_amount


@pytest.mark.parametrize(
    ("text", "currency", "locale", "minor"),
    [
        ("29", "EUR", "en", 2900),
        ("29.5", "EUR", "en", 2950),
        ("29.50", "EUR", "en", 2950),
        (" €29.50 ", "EUR", "en", 2950),
        ("29.50 EUR", "EUR", "en", 2950),
        ("1,234.50", "EUR", "en", 123450),
        ("12,34,567", "INR", "hi", 123456700),
        ("29,50", "EUR", "de", 2950),
        ("1.234,50", "EUR", "de", 123450),
        ("1.500", "EUR", "de", 150000),
        ("1500", "JPY", "en", 1500),
        ("1,500", "JPY", "en", 1500),
        ("1.234", "KWD", "en", 1234),
        ("1\u202f234,50", "EUR", "fr", 123450),
        ("1 234,50", "EUR", "sv", 123450),
        ("1\u2019234.50", "CHF", "de_CH", 123450),
        ("1'234.50", "CHF", "de_CH", 123450),
        ("٢٩", "EUR", "en", 2900),
        ("0", "EUR", "en", 0),
        ("20000000.00", "EUR", "en", 2_000_000_000),
        ("25000000", "IDR", "en", 2_500_000_000),
        ("200,000,000,000.00", "IDR", "en", 20_000_000_000_000),
        ("2000000000", "JPY", "en", 2_000_000_000),
        ("20000000.000", "KWD", "en", 20_000_000_000),
    ],
)
def test_unambiguous_amounts_are_read(text: str, currency: str, locale: str, minor: int) -> None:
    assert read_amount(text, currency, locale) == minor


@pytest.mark.parametrize(
    ("text", "currency", "locale"),
    [
        ("", "EUR", "en"),
        ("free", "EUR", "en"),
        ("29,50", "EUR", "en"),
        ("29.50", "EUR", "de"),
        ("1.500", "EUR", "en"),
        ("-5", "EUR", "en"),
        ("1e3", "EUR", "en"),
        ("29.5", "JPY", "en"),
        ("1,23,4", "EUR", "en"),
        ("29.", "EUR", "en"),
        (".5", "EUR", "en"),
        ("0x10", "EUR", "en"),
        ("29.50 USD", "EUR", "en"),
        ("1 2", "EUR", "en"),
        ("20000000.01", "EUR", "en"),
        ("200000000000.01", "IDR", "en"),
        ("2000000001", "JPY", "en"),
        ("9" * 4000, "EUR", "en"),
    ],
)
def test_ambiguous_amounts_are_refused(text: str, currency: str, locale: str) -> None:
    with pytest.raises(ValueError):
        read_amount(text, currency, locale)


@pytest.mark.parametrize("locale", ["en", "de", "de_CH", "fr", "sv", "ja", "ar", "pt", "it", "hi"])
def test_formatted_amounts_are_read_back(locale: str) -> None:
    for currency in ("EUR", "JPY", "KWD"):
        for minor in (0, 5, 50, 99, 100, 2950, 123456789):
            assert read_amount(write_amount(minor, currency, locale), currency, locale) == minor
