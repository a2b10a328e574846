"""What a plan change costs. Pure functions: exact fractions of seconds, credit rounds down, what is charged rounds up.

Rounding apart like that is why no round trip A → B → A profits by a unit. Credit includes the tax it was paid with, is
never above what was settled for the current period, and is never cash: it stays on the subscription (safety 4.11).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction

from billing.pricing import Line, total
from billing.tax_rounding import share_tax
from core.money import exponent, tax_within

MODES = ("prorated_immediately", "prorated_immediately_keep_cycle", "difference_immediately", "full_immediately", "do_not_bill")
CHANGES_PER_PERIOD = 3


@dataclass(frozen=True)
class Worth:
    """The current period: `minor` was settled for `length` of it (tax included, refunds taken off), `left` of it remains."""

    minor: int
    length: timedelta
    left: timedelta

    @property
    def unused(self) -> int:
        """What of it was paid and not used, rounded down."""
        return self.minor * share(self.left, self.length) // 1


@dataclass(frozen=True)
class Cost:
    """Minor units. due + unused + balance = total + credit."""

    lines: tuple[Line, ...]
    total: int
    unused: int
    balance: int
    applied: int
    due: int
    credit: int
    value: int
    restarts: bool


def share(part: timedelta, whole: timedelta) -> Fraction:
    """`part` of `whole` in whole seconds, between 0 and 1; 0 of nothing."""
    second = timedelta(seconds=1)
    if whole < second or part < second:
        return Fraction(0)
    return min(Fraction(part // second, whole // second), Fraction(1))


def prorate(lines: Sequence[Line], fraction: Fraction) -> list[Line]:
    """The lines for a part of their period. Each gross amount rounds up; tax is what those amounts contain, rounded once per rate."""
    if fraction == 1:
        return list(lines)
    out = []
    for one in lines:
        gross = _part(one.gross_minor, fraction)
        tax = tax_within(gross, one.tax_bps)
        out.append(replace(one, net_minor=gross - tax, tax_minor=tax, off=_part_off(one, fraction), inclusive=True))
    return share_tax(out)


def _part(minor: int, fraction: Fraction) -> int:
    return -(-minor * fraction // 1)


def _part_off(one: Line, fraction: Fraction) -> tuple[tuple[str, int], ...]:
    """What each discount took of the part: with the part it adds up to the part of the whole price, to the unit."""
    left = one.gross_minor + sum(minor for _, minor in one.off)
    out = []
    for words, minor in one.off:
        out.append((words, _part(left, fraction) - _part(left - minor, fraction)))
        left -= minor
    return tuple(out)


def minimum(currency: str) -> int:
    """The least that is charged, in minor units; below it an amount is carried forward to the next charge."""
    return 500 if exponent(currency) == 3 else 50


def cost(mode: str, *, lines: Sequence[Line], old_minor: int, worth: Worth, balance: int, fraction: Fraction, least: int) -> Cost:
    """The cost of changing now to the plan whose full period is `lines`.

    `old_minor`: a full period of the present plan; `fraction`: the rest of the current period as a part of the new plan's;
    `balance`: the subscription's credit. Raises KeyError for an unknown mode.
    """
    new = total(lines)
    if mode == "prorated_immediately":
        return _cost(lines, worth.unused, balance, least, value=new, restarts=True)
    if mode == "prorated_immediately_keep_cycle":
        rest = prorate(lines, fraction)
        return _cost(rest, worth.unused, balance, least, value=total(rest), restarts=False)
    if mode == "full_immediately":
        return _cost(lines, 0, balance, least, value=new, restarts=True)
    if mode == "difference_immediately":
        if new >= old_minor:
            set_off = min(old_minor, worth.minor)
            # what the new period was settled with: the difference, and what was unused of the old one
            return _cost(lines, set_off, balance, least, value=min(new, new - set_off + worth.unused), restarts=True)
        # A new cycle here would give a period away: the cycle stays, and the credit is for the rest of it
        rest = prorate(lines, fraction)
        back = min(worth.unused - total(rest), old_minor - new)
        if back < 0:
            return _cost((), 0, balance, None, value=worth.unused, restarts=False)
        return _cost(rest, total(rest) + back, balance, least, value=total(rest), restarts=False)
    if mode == "do_not_bill":
        return _cost((), 0, balance, None, value=min(worth.unused, total(prorate(lines, fraction))), restarts=False)
    raise KeyError(mode)


def _cost(lines: Sequence[Line], unused: int, balance: int, least: int | None, *, value: int, restarts: bool) -> Cost:
    """`least` None: nothing is charged now, whatever is owed."""
    amount, available = total(lines), unused + balance
    due = amount - available
    if least is not None and due >= max(least, 1):
        return Cost(tuple(lines), amount, unused, balance, available, due, 0, value, restarts)
    # nothing to pay, or too little to charge: the rest is credit, or (negative) is carried to the next charge
    return Cost(tuple(lines), amount, unused, balance, amount, 0, available - amount, value, restarts)
