"""Rounds tax once per rate and document (EN 16931 BR-CO-17; Japan's qualified invoice). The tax of a line is a share, for display only.

A price before tax is an exact net amount. A price with tax is an exact gross amount in minor units, whose exact net amount is a fraction.
The base of a rate is the sum of both, and its tax is base × rate, rounded. For every rate:

    tax = round(base × rate)    total = Σ net + Σ tax    Σ (net + tax) of lines with tax included = the promised amounts
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from billing.pricing.taxes import CALCULATED
from core.money import largest_remainder, round_half_up

if TYPE_CHECKING:
    from billing.pricing.prices import PriceLine


def share_tax(lines: Sequence[PriceLine]) -> list[PriceLine]:
    """Return the lines of one document with the tax of each rate distributed over them. The shares add up to the tax exactly.

    Lines that a hosted calculator taxed keep their tax.
    """
    taxes: dict[int, int] = {n: line.tax_minor for n, line in enumerate(lines) if _is_settled(line)}
    for key in {_key(line) for line in lines if not _is_settled(line)}:
        places = [n for n, line in enumerate(lines) if _key(line) == key and not _is_settled(line)]
        taxes |= zip(places, _shares([lines[n] for n in places], _rate(key)), strict=True)
    out = []
    for n, line in enumerate(lines):
        net = line.gross_minor - taxes[n] if line.inclusive else line.net_minor
        out.append(replace(line, net_minor=net, tax_minor=taxes[n]))
    return out


def _is_settled(line: PriceLine) -> bool:
    return line.tax_case == CALCULATED


def _key(line: PriceLine) -> tuple[str, int, str, str]:
    return line.tax_code or "", line.tax_bps, line.tax_reason or "", line.tax_rate or ""


def _rate(key: tuple[str, int, str, str]) -> Fraction:
    return Fraction(key[3]) / 100 if key[3] else Fraction(key[1], 10_000)


def _shares(lines: Sequence[PriceLine], rate: Fraction) -> list[int]:
    """Return the tax of each of these lines, which all have the same rate."""
    exact = [line.gross_minor * rate / (1 + rate) if line.inclusive else line.net_minor * rate for line in lines]
    on_top = [n for n, line in enumerate(lines) if not line.inclusive]
    within = [n for n, line in enumerate(lines) if line.inclusive]
    added = round_half_up(sum((exact[n] for n in on_top), Fraction(0)))
    whole = round_half_up(sum(exact, Fraction(0)))
    out = dict(zip(on_top, largest_remainder([exact[n] for n in on_top], added if within else whole), strict=True))
    out |= zip(within, largest_remainder([exact[n] for n in within], whole - added if on_top else whole), strict=True)
    return [out[n] for n in range(len(lines))]
