"""Plan changes to the minor unit: worked examples, and properties for all amounts, times and currencies."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing.prices import PriceLine, line, total
from billing.pricing.proration import MODES, Cost, Worth, cost, minimum, prorate, share

MONTH = timedelta(days=30)


def plan(minor: int, bps: int = 0, inclusive: bool = False) -> list[PriceLine]:
    return [line("Plan", 1, minor, bps, inclusive)]


def change(
    mode: str,
    old: list[PriceLine],
    new: list[PriceLine],
    left: timedelta,
    *,
    paid: int | None = None,
    length: timedelta = MONTH,
    balance: int = 0,
    least: int = 0,
) -> Cost:
    worth = Worth(total(old) if paid is None else paid, length, left)
    return cost(mode, lines=new, old_minor=total(old), worth=worth, balance=balance, fraction=share(left, MONTH), least=least)


@pytest.mark.parametrize(
    ("mode", "old", "new", "due", "credit"),
    [
        ("prorated_immediately_keep_cycle", 3000, 8000, 2500, 0),
        ("prorated_immediately", 3000, 8000, 6500, 0),
        ("difference_immediately", 3000, 8000, 5000, 0),
        ("full_immediately", 3000, 8000, 8000, 0),
        ("do_not_bill", 3000, 8000, 0, 0),
        ("prorated_immediately_keep_cycle", 8000, 2000, 0, 3000),
        ("prorated_immediately", 8000, 2000, 0, 2000),
    ],
)
def test_worked_examples(mode: str, old: int, new: int, due: int, credit: int) -> None:
    """A cycle of 30 days with half of it left (the start of day 16)."""
    made = change(mode, plan(old), plan(new), timedelta(days=15))
    assert (made.due, made.credit) == (due, credit)


def test_lengths_of_billing_cycles() -> None:
    assert [change(mode, plan(3000), plan(8000), timedelta(days=15)).restarts for mode in MODES] == [True, False, True, True, False]


def test_credit_includes_the_tax_it_was_paid_with() -> None:
    made = change("prorated_immediately", plan(8000, 2000), plan(2000, 2000), timedelta(days=15))
    assert made.unused == 4800 and made.total == 2400 and made.credit == 2400


def test_amounts_below_the_minimum_are_carried_over() -> None:
    made = change("prorated_immediately_keep_cycle", plan(3000), plan(3020), timedelta(days=15), least=minimum("USD"))
    assert (made.due, made.credit) == (0, -10)
    later = change("prorated_immediately_keep_cycle", plan(3020), plan(8000), timedelta(days=15), balance=made.credit, least=50)
    assert later.due == 2490 + 10


def test_a_downgrade_by_difference_gives_no_free_period() -> None:
    made = change("difference_immediately", plan(8000), plan(2000), timedelta(days=1))
    assert not made.restarts and made.due == 0 and made.credit <= 8000 // 30


prices = st.integers(0, 10**9)
rates = st.sampled_from([0, 500, 700, 1900, 2000, 2550])
lefts = st.timedeltas(timedelta(0), MONTH)
plans = st.lists(st.tuples(prices, rates, st.booleans()), min_size=1, max_size=4).map(lambda rows: [plan(*row)[0] for row in rows])


@given(st.sampled_from(MODES), plans, plans, lefts, st.integers(-49, 10**6), st.sampled_from(["JPY", "USD", "KWD"]))
def test_no_unit_is_lost(mode: str, old: list[PriceLine], new: list[PriceLine], left: timedelta, balance: int, currency: str) -> None:
    made = change(mode, old, new, left, balance=balance, least=minimum(currency))
    assert made.due + made.unused + made.balance == made.total + made.credit
    assert made.total == total(made.lines) and made.applied == made.total - made.due
    assert made.due == 0 or made.due >= minimum(currency)
    assert made.credit > -minimum(currency) and (made.credit <= 0 or made.due == 0)


@given(st.sampled_from(MODES), plans, plans, lefts, st.integers(0, 10**9))
def test_credit_is_never_above_what_was_paid(mode: str, old: list[PriceLine], new: list[PriceLine], left: timedelta, paid: int) -> None:
    made = change(mode, old, new, left, paid=paid)
    assert made.credit <= paid and made.unused <= paid
    assert made.value <= max(paid, 0) + made.due


@given(st.sampled_from(MODES), plans, plans, lefts, st.integers(0, 10**9), st.integers(-49, 10**6))
def test_no_plan_change_yields_a_profit(
    mode: str, old: list[PriceLine], new: list[PriceLine], left: timedelta, paid: int, balance: int
) -> None:
    """Credit and the value of the period grow by at most the charge, so no sequence of changes profits."""
    made = change(mode, old, new, left, paid=paid, balance=balance)
    assert made.credit + made.value <= Worth(paid, MONTH, left).unused + balance + made.due


FOR_CUSTOMERS = st.sampled_from([mode for mode in MODES if mode != "do_not_bill"])


@given(FOR_CUSTOMERS, FOR_CUSTOMERS, plans, plans, lefts)
def test_a_round_trip_never_profits(there: str, back: str, a: list[PriceLine], b: list[PriceLine], left: timedelta) -> None:
    """A → B → A at once: the final credit is at most the amount paid on the way."""
    first = change(there, a, b, left)
    rest = MONTH if first.restarts else left
    worth = Worth(first.value, rest, rest)
    second = cost(back, lines=a, old_minor=total(b), worth=worth, balance=first.credit, fraction=share(rest, MONTH), least=0)
    assert second.credit <= first.due + second.due


@given(plans, lefts)
def test_changing_back_at_once_costs_only_rounding(a: list[PriceLine], left: timedelta) -> None:
    mode = "prorated_immediately_keep_cycle"
    first = change(mode, a, plan(123457, 2000), left)
    second = cost(
        mode, lines=a, old_minor=0, worth=Worth(first.value, left, left), balance=first.credit, fraction=share(left, MONTH), least=0
    )
    lost = first.due + second.due - second.credit
    assert 0 <= lost <= len(a) + 1


@given(plans, st.fractions(Fraction(1, 10**6), 1))
def test_parts_keep_their_rate_and_never_round_down(lines: list[PriceLine], part: Fraction) -> None:
    made = prorate(lines, part)
    for was, now in zip(lines, made, strict=True):
        assert was.gross_minor * part <= now.gross_minor < was.gross_minor * part + 1
        assert 0 <= now.tax_minor <= now.gross_minor
