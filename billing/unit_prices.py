"""The price of one of a line, before tax and before discounts (Directive 2006/112/EC art. 226(8); EN 16931 BT-148).

Quantity × this price, rounded to the minor unit, is the line's amount before discounts. It has more decimals than the currency where
that needs them, which EN 16931 allows: 3 at a price of 9.99 with 19 % tax are 3 × 8.39496 = 25.18.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from core.money import major, round_half_up

if TYPE_CHECKING:
    from billing.pricing import Line

MORE = 4
"""Decimals beyond the currency's with which the price as it is sold, less its tax, is tried."""


def list_net(line: Line) -> int:
    """Minor units before tax, before discounts."""
    price = line.quantity * line.unit_minor
    if not line.inclusive and price >= line.net_minor:
        return price
    off = sum(minor for _, minor in line.off)
    return line.net_minor + round_half_up(off * Fraction(10_000, 10_000 + line.tax_bps))


def unit_net(line: Line, currency: str) -> str:
    """A decimal number of major units, such as `8.39496`, with the currency's decimals at least."""
    amount = list_net(line)
    count = line.quantity or 1
    sold = Fraction(line.unit_minor * 10_000, 10_000 + line.tax_bps) if line.inclusive else Fraction(line.unit_minor)
    for exact, most in ((sold, MORE), (Fraction(amount, count), 12)):
        for more in range(most + 1):
            unit = round_half_up(exact * 10**more)
            if round_half_up(Fraction(unit * count, 10**more)) == amount:
                return major(unit, currency, more)
    raise AssertionError("twelve more decimals are enough for any quantity")  # pragma: no cover
