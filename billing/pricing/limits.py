"""Checks amounts against the largest supported price, and currencies against the supported ones."""

from __future__ import annotations

from core.currencies import CURRENCIES
from core.errors import N_, Invalid
from core.formatting import money
from core.money import DISPUTED, largest

ORDER = 100
"""An order is at most this many times the largest price of its currency."""


def check_amount(minor: int, currency: str, field: str = "price", times: int = 1) -> None:
    """Raise Invalid if the amount exceeds `times` the largest price of the currency."""
    most = largest(currency) * times
    if minor > most:
        sentence = f"At most {money(most, currency)}."
        raise Invalid(sentence=f"{field}: {sentence}", fields={field: sentence})


def check_currency(currency: str) -> None:
    """Raise Invalid UNSUPPORTED_CURRENCY for an unsupported currency."""
    if currency not in CURRENCIES or currency in DISPUTED:
        raise Invalid(
            "UNSUPPORTED_CURRENCY",
            f"{currency[:3]} is not a supported currency.",
            fields={"currency": N_("This currency is not supported.")},
        )
