"""Calculates the cost of a plan change with pure functions and exact fractions of seconds.

Credit rounds down and charges round up, so that a round trip A → B → A never gains a minor unit. Credit includes the tax that was paid, is
at most the value of the current period, and is never paid out: it stays on the subscription (safety 4.11).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction

from billing.pricing.prices import PriceLine, total
from billing.pricing.tax_rounding import share_tax
from core.money import exponent, tax_within

MODES = ("prorated_immediately", "prorated_immediately_keep_cycle", "difference_immediately", "full_immediately", "do_not_bill")
CHANGES_PER_PERIOD = 3


@dataclass(frozen=True)
class Worth:
    """The value of the current period: `minor` units (tax included, minus refunds) for `length`, of which `left` remains."""

    minor: int
    length: timedelta
    left: timedelta

    @property
    def unused(self) -> int:
        """The paid and unused value, rounded down."""
        return self.minor * share(self.left, self.length) // 1


@dataclass(frozen=True)
class Cost:
    """The cost of a plan change in minor units. due + unused + balance = total + credit."""

    lines: tuple[PriceLine, ...]
    total: int
    unused: int
    balance: int
    applied: int
    due: int
    credit: int
    value: int
    restarts: bool


def share(part: timedelta, whole: timedelta) -> Fraction:
    """Return `part` / `whole` in whole seconds, between 0 and 1. 0 if `whole` is 0."""
    second = timedelta(seconds=1)
    if whole < second or part < second:
        return Fraction(0)
    return min(Fraction(part // second, whole // second), Fraction(1))


def prorate(lines: Sequence[PriceLine], fraction: Fraction) -> list[PriceLine]:
    """Return the lines for a part of their period. Each gross amount rounds up. The tax they contain is rounded once per rate."""
    if fraction == 1:
        return list(lines)
    out = []
    for line in lines:
        gross = _part(line.gross_minor, fraction)
        tax = tax_within(gross, line.tax_bps)
        out.append(replace(line, net_minor=gross - tax, tax_minor=tax, off=_part_off(line, fraction), inclusive=True))
    return share_tax(out)


def _part(minor: int, fraction: Fraction) -> int:
    return -(-minor * fraction // 1)


def _part_off(price_line: PriceLine, fraction: Fraction) -> tuple[tuple[str, int], ...]:
    """Return the discounts for a part of the period. Together with the part they add up exactly to the part of the full price."""
    left = price_line.gross_minor + sum(minor for _, minor in price_line.off)
    out = []
    for label, minor in price_line.off:
        out.append((label, _part(left, fraction) - _part(left - minor, fraction)))
        left -= minor
    return tuple(out)


def minimum(currency: str) -> int:
    """Return the smallest charge in minor units. A smaller amount is carried forward to the next charge."""
    return 500 if exponent(currency) == 3 else 50


def cost(mode: str, *, lines: Sequence[PriceLine], old_minor: int, worth: Worth, balance: int, fraction: Fraction, least: int) -> Cost:
    """Return the cost of changing now to the plan whose full period is `lines`.

    `old_minor`: price of a full period of the current plan. `fraction`: the rest of the current period as a part of the new plan's period.
    `balance`: the subscription's credit. `least`: the smallest charge. Raises KeyError for an unknown mode.
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
            # the new period is paid with the difference and the unused value of the old period
            return _cost(lines, set_off, balance, least, value=min(new, new - set_off + worth.unused), restarts=True)
        # A new cycle would give a period for free, so the cycle stays and the credit is for the rest of it
        rest = prorate(lines, fraction)
        back = min(worth.unused - total(rest), old_minor - new)
        if back < 0:
            return _cost((), 0, balance, None, value=worth.unused, restarts=False)
        return _cost(rest, total(rest) + back, balance, least, value=total(rest), restarts=False)
    if mode == "do_not_bill":
        return _cost((), 0, balance, None, value=min(worth.unused, total(prorate(lines, fraction))), restarts=False)
    raise KeyError(mode)


def _cost(lines: Sequence[PriceLine], unused: int, balance: int, least: int | None, *, value: int, restarts: bool) -> Cost:
    """Return the cost. `least` None: nothing is charged now, even if something is owed."""
    amount, available = total(lines), unused + balance
    due = amount - available
    if least is not None and due >= max(least, 1):
        return Cost(tuple(lines), amount, unused, balance, available, due, 0, value, restarts)
    # nothing to charge, or too little: the difference becomes credit, or (negative) is carried to the next charge
    return Cost(tuple(lines), amount, unused, balance, amount, 0, available - amount, value, restarts)
