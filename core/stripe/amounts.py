"""Amounts as Stripe counts them. Source: https://docs.stripe.com/currencies (zero-decimal, special cases, minimum amounts).

Stripe differs from ISO 4217: ISK and UGX have no decimals but are written as if they had two, and the last digit of a currency with three
decimals must be 0. MGA has none at Stripe; the portal refuses it anyway.
"""

from __future__ import annotations

from core.errors import N_, Invalid
from core.money import Money, exponent

_WITHOUT_DECIMALS = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split())
_WITH_THREE = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})

# In Stripe's own units. Other currencies have no fixed minimum: Stripe compares them with the account's own currency.
MINIMUM: dict[str, int] = {
    "USD": 50, "AED": 200, "AUD": 50, "BRL": 50, "CAD": 50, "CHF": 50, "CZK": 1500, "DKK": 250, "EUR": 50, "GBP": 30, "HKD": 400,
    "HUF": 17500, "INR": 50, "JPY": 50, "MXN": 1000, "MYR": 200, "NOK": 300, "NZD": 50, "PLN": 200, "RON": 200, "SEK": 300, "SGD": 50,
    "THB": 1000,
}  # fmt: skip


def _decimals(currency: str) -> int:
    return 0 if currency in _WITHOUT_DECIMALS else 3 if currency in _WITH_THREE else 2


def to_stripe(amount: Money) -> int:
    """Return the amount in Stripe's unit. Raises Invalid (fields: amount) for an amount that Stripe cannot express."""
    shift = _decimals(amount.currency) - exponent(amount.currency)
    if shift >= 0:
        number = amount.minor * int(10**shift)
    else:
        number, rest = divmod(amount.minor, 10**-shift)
        if rest:
            raise Invalid(fields={"amount": N_("The payment processor cannot charge this amount in this currency.")})
    if amount.currency in _WITH_THREE and number % 10:
        raise Invalid(fields={"amount": N_("The payment processor cannot charge this amount in this currency.")})
    return number


def from_stripe(number: int, currency: str) -> Money:
    """Return Stripe's amount as money. Raises ValueError if it has a part that the portal's unit cannot express."""
    code = currency.upper()
    shift = exponent(code) - _decimals(code)
    if shift >= 0:
        return Money(number * 10**shift, code)
    minor, rest = divmod(number, 10**-shift)
    if rest:
        raise ValueError(f"{number} is no whole amount of {code}")
    return Money(minor, code)


def is_too_small(amount: Money) -> bool:
    return to_stripe(amount) < MINIMUM.get(amount.currency, 1)
