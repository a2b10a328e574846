"""Credit as lines of a document: negative, at the rates it was paid with, so that total, tax and what is due agree.

A part is {tax_code, tax_bps, tax_reason, minor}: an amount, tax included, and the treatment of the sale that it was paid for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from billing.pricing import CREDIT, ITEM, UNUSED, Line
from billing.tax_rounding import share_tax
from core.money import largest_remainder, tax_within

Part = dict[str, Any]


@dataclass(frozen=True)
class Settled:
    """A document less its credit: all of its lines, and the parts that the credit left over was paid with."""

    lines: list[Line]
    left: list[Part]

    @property
    def tax(self) -> int:
        return sum(line.tax_minor for line in self.lines)


def parts_of(lines: Iterable[Any]) -> list[Part]:
    """The treatments of the items among these lines (of a document or an invoice) with what was paid under each, tax included."""
    out: dict[tuple[Any, ...], int] = {}
    for line in lines:
        gross = line.net_minor + line.tax_minor
        if line.kind == ITEM and gross > 0:
            key = (line.tax_code or ("S" if line.tax_bps else "O"), line.tax_bps, line.tax_reason)
            out[key] = out.get(key, 0) + gross
    return [{"tax_code": code, "tax_bps": bps, "tax_reason": reason, "minor": minor} for (code, bps, reason), minor in out.items()]


def scaled(parts: Sequence[Part], minor: int) -> list[Part]:
    """The parts in the same proportions, `minor` together. Nothing is known of the tax of an amount without parts: it has none."""
    if minor <= 0:
        return []
    whole = sum(part["minor"] for part in parts)
    if not whole:
        return [{"tax_code": "O", "tax_bps": 0, "tax_reason": None, "minor": minor}]
    shares = largest_remainder([Fraction(part["minor"] * minor, whole) for part in parts], minor)
    return [{**part, "minor": share} for part, share in zip(parts, shares, strict=True) if share]


def less_credit(
    items: Sequence[Line], *, unused: int = 0, unused_parts: Sequence[Part] = (), name: str = "", balance: int = 0,
    balance_parts: Sequence[Part] = (),
) -> Settled:
    """The items, then as much of the credit as they cost: what of the plan `name` is `unused`, and the `balance` from earlier."""
    room = sum(line.gross_minor for line in items)
    of_plan = min(unused, room)
    of_balance = min(max(balance, 0), room - of_plan)
    lines = [*items, *(_line(UNUSED, name, part) for part in scaled(unused_parts, of_plan)),
             *(_line(CREDIT, "", part) for part in scaled(balance_parts, of_balance))]
    left = [*scaled(unused_parts, unused - of_plan), *scaled(balance_parts, max(balance, 0) - of_balance)]
    return Settled(share_tax(lines), left)


def _line(kind: str, name: str, part: Part) -> Line:
    """Minus one at a price: EN 16931 has no negative prices (BR-27)."""
    tax = tax_within(part["minor"], part["tax_bps"])
    return Line(name, -1, part["minor"], tax - part["minor"], -tax, part["tax_bps"], inclusive=True, tax_code=part["tax_code"],
                tax_reason=part["tax_reason"], kind=kind)
