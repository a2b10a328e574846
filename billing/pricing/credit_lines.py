"""Adds credit to documents as negative lines, at the tax rates at which it was paid, so that total, tax and amount due agree.

A part is {tax_code, tax_bps, tax_reason, minor}: an amount, tax included, and the tax treatment of the sale that it was paid for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from billing.pricing.prices import CREDIT, ITEM, UNUSED, PriceLine
from billing.pricing.tax_rounding import share_tax
from core.money import largest_remainder, tax_within

Part = dict[str, Any]


@dataclass(frozen=True)
class Settled:
    """The lines of a document including its credit lines, and the parts of the remaining credit."""

    lines: list[PriceLine]
    left: list[Part]

    @property
    def tax(self) -> int:
        return sum(line.tax_minor for line in self.lines)


def parts_of(lines: Iterable[Any]) -> list[Part]:
    """Return the amounts of the items among these lines (of a document or an invoice) by tax treatment, tax included."""
    out: dict[tuple[Any, ...], int] = {}
    for line in lines:
        gross = line.net_minor + line.tax_minor
        if line.kind == ITEM and gross > 0:
            key = (line.tax_code or ("S" if line.tax_bps else "O"), line.tax_bps, line.tax_reason)
            out[key] = out.get(key, 0) + gross
    return [{"tax_code": code, "tax_bps": bps, "tax_reason": reason, "minor": minor} for (code, bps, reason), minor in out.items()]


def scaled(parts: Sequence[Part], minor: int) -> list[Part]:
    """Return the parts in the same proportions with the sum `minor`. An amount without parts is treated as not taxed."""
    if minor <= 0:
        return []
    whole = sum(part["minor"] for part in parts)
    if not whole:
        return [{"tax_code": "O", "tax_bps": 0, "tax_reason": None, "minor": minor}]
    shares = largest_remainder([Fraction(part["minor"] * minor, whole) for part in parts], minor)
    return [{**part, "minor": share} for part, share in zip(parts, shares, strict=True) if share]


def less_credit(
    items: Sequence[PriceLine],
    *,
    unused: int = 0,
    unused_parts: Sequence[Part] = (),
    name: str = "",
    balance: int = 0,
    balance_parts: Sequence[Part] = (),
) -> Settled:
    """Return the items, then credit lines up to the price of the items.

    The credit is the `unused` time of the plan `name`, then the `balance` from earlier.
    """
    room = sum(line.gross_minor for line in items)
    of_plan = min(unused, room)
    of_balance = min(max(balance, 0), room - of_plan)
    lines = [
        *items,
        *(_line(UNUSED, name, part) for part in scaled(unused_parts, of_plan)),
        *(_line(CREDIT, "", part) for part in scaled(balance_parts, of_balance)),
    ]
    left = [*scaled(unused_parts, unused - of_plan), *scaled(balance_parts, max(balance, 0) - of_balance)]
    return Settled(share_tax(lines), left)


def _line(kind: str, name: str, part: Part) -> PriceLine:
    """Return a credit line with quantity -1 and a positive price, because EN 16931 has no negative prices (BR-27)."""
    tax = tax_within(part["minor"], part["tax_bps"])
    return PriceLine(
        name,
        -1,
        part["minor"],
        tax - part["minor"],
        -tax,
        part["tax_bps"],
        inclusive=True,
        tax_code=part["tax_code"],
        tax_reason=part["tax_reason"],
        kind=kind,
    )
