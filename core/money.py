"""Money as an integer number of minor units with a currency. No floats, no sums across currencies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

# ISO 4217 exponents other than 2, for API, gateway and display (safety 4.10).
_EXPONENTS: dict[str, int] = dict.fromkeys(
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0
) | dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3)

# Sources disagree on these (ISO says 2, the contract says 0, or Babel prints another): refused.
DISPUTED: frozenset[str] = frozenset({"MGA", "MRU", "IQD", "UYW", "CLF"})

# The largest price, in major units: 20 million where a unit is worth about a dollar, more where it is worth about a cent or less.
_LARGEST: dict[str, int] = dict.fromkeys(
    "AFN ALL AMD AOA ARS BDT BTN CRC CZK DJF DOP DZD EGP ETB GYD HTG HUF INR ISK JMD JPY KES KGS KMF KZT LKR LRD MKD MUR MZN NPR PHP PKR"
    " RSD RUB SDG SSP THB TRY TWD UAH VUV XAF XOF XPF YER".split(),
    2_000_000_000,
) | dict.fromkeys(
    "BIF CDF CLP COP GNF IDR IRR KHR KRW LAK LBP MMK MNT MWK NGN PYG RWF SLE SLL SOS STN SYP TZS UGX UZS VES VND ZWG ZWL".split(),
    200_000_000_000,
)
_USUAL_LARGEST = 20_000_000
LARGEST_ANYWHERE = 200_000_000_000 * 100
"""The largest price of all currencies, in minor units."""


def largest(currency: str) -> int:
    """Return the largest price in a currency, in minor units."""
    return int(_LARGEST.get(currency, _USUAL_LARGEST) * 10 ** exponent(currency))


def exponent(currency: str) -> int:
    """Return the number of decimals of a currency (ISO 4217)."""
    return _EXPONENTS.get(currency, 2)


@dataclass(frozen=True, slots=True)
class Money:
    """`minor` units (cents, yen, fils) of `currency` (ISO 4217 code)."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if not isinstance(self.minor, int) or isinstance(self.minor, bool):
            raise TypeError(f"minor units are an int, not {self.minor!r}")

    def __add__(self, other: Money) -> Money:
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.minor - self._same(other), self.currency)

    def __mul__(self, count: int) -> Money:
        return Money(self.minor * count, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.minor < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.minor <= self._same(other)

    def __bool__(self) -> bool:
        return self.minor != 0

    def _same(self, other: Money) -> int:
        if other.currency != self.currency:
            raise ValueError(f"cannot combine {self.currency} with {other.currency}")
        return other.minor

    def split(self, parts: int) -> list[Money]:
        """Return equal parts with the same sum; the first ones get the remainder."""
        quotient, rest = divmod(self.minor, parts)
        return [Money(quotient + (1 if i < rest else 0), self.currency) for i in range(parts)]


def round_half_up(value: Fraction) -> int:
    """Round to the nearest integer, halves away from zero."""
    sign = -1 if value < 0 else 1
    return sign * int(abs(value) + Fraction(1, 2))


def tax_on(net: int, basis_points: int) -> int:
    """Return the tax on a net amount; `basis_points` 2000 = 20 %."""
    return round_half_up(Fraction(net * basis_points, 10_000))


def tax_within(gross: int, basis_points: int) -> int:
    """Return the tax contained in a gross (tax-inclusive) amount."""
    return gross - round_half_up(Fraction(gross * 10_000, 10_000 + basis_points))


def largest_remainder(exact: Sequence[Fraction], total: int) -> list[int]:
    """Round the `exact` shares so that they add up to `total`: the largest remainders are rounded up.

    Each share is its floor or ceiling if `total` differs from the sum of `exact` by less than one.
    """
    shares = [value.numerator // value.denominator for value in exact]
    order = sorted(range(len(exact)), key=lambda n: (shares[n] - exact[n], n))
    for place in range(total - sum(shares)):
        shares[order[place % len(order)]] += 1
    return shares


def major(minor: int, currency: str, more: int = 0) -> str:
    """Return minor units as a decimal number of major units: major(1999, "EUR") → "19.99". `more`: additional decimals."""
    return format(Decimal(minor).scaleb(-exponent(currency) - more), "f")
