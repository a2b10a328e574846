"""Calculates the unit price of a line before tax and discounts (Directive 2006/112/EC art. 226(8); EN 16931 BT-148).

Quantity × unit price, rounded to the minor unit, is the line's amount before discounts. If necessary, the unit price has more decimals
than the currency, which EN 16931 allows: 3 at a price of 9.99 with 19 % tax are 3 × 8.39496 = 25.18.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from core.money import major, round_half_up

if TYPE_CHECKING:
    from billing.pricing.prices import PriceLine

MORE = 4
"""Maximum number of additional decimals for a unit price that is the selling price without its tax."""


def list_net(line: PriceLine) -> int:
    """Return the amount of a line in minor units, before tax and discounts."""
    price = line.quantity * line.unit_minor
    if not line.inclusive and price >= line.net_minor:
        return price
    off = sum(minor for _, minor in line.off)
    return line.net_minor + round_half_up(off * Fraction(10_000, 10_000 + line.tax_bps))


def unit_net(line: PriceLine, currency: str) -> str:
    """Return the unit price in major units, such as `8.39496`, with at least the decimals of the currency."""
    amount = list_net(line)
    count = line.quantity or 1
    sold = Fraction(line.unit_minor * 10_000, 10_000 + line.tax_bps) if line.inclusive else Fraction(line.unit_minor)
    for exact, most in ((sold, MORE), (Fraction(amount, count), 12)):
        for more in range(most + 1):
            unit = round_half_up(exact * 10**more)
            if round_half_up(Fraction(unit * count, 10**more)) == amount:
                return major(unit, currency, more)
    raise AssertionError("twelve more decimals are enough for any quantity")  # pragma: no cover
