"""Discount amounts: never more than the line, and exact to the minor unit."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.model.discounts import cycles_left, discount_amounts, discount_label, is_on
from billing.model.parties import Business
from billing.pricing import prices
from billing.pricing.proration import prorate
from billing.pricing.terms import ProductTerms


def held(**more: Any) -> dict[str, Any]:
    plain = {"code": "C", "type": "percentage", "amount": 1000, "most": None, "least": 0, "restricted_to": [], "cycles": None, "since": 1}
    return plain | more


SHARES = st.builds(lambda amount: held(amount=amount), st.integers(1, 10_000))
AMOUNTS = st.builds(lambda amount: held(type="flat", amount=amount), st.integers(1, 10_000))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 1_000_000), min_size=1, max_size=8), st.lists(st.one_of(SHARES, AMOUNTS), max_size=5))
def test_a_discounted_line_is_never_negative(amounts: list[int], codes: list[dict[str, Any]]) -> None:
    off = discount_amounts(amounts, ["p"] * len(amounts), codes)
    assert all(0 <= less <= amount for less, amount in zip(off, amounts, strict=True))
    left = sum(amounts)
    for code in codes:  # the sum is what the codes say of the sum, in their order, whatever the lines
        took = (2 * left * code["amount"] + 10_000) // 20_000 if code["type"] == "percentage" else min(code["amount"], left)
        left -= took
    assert sum(amounts) - sum(off) == left


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1_000_000), st.lists(st.one_of(SHARES, AMOUNTS), max_size=5), st.integers(0, 3000), st.booleans(), st.fractions(0, 1))
def test_discounts_add_up_to_the_full_price(price: int, codes: list[dict[str, Any]], bps: int, with_tax: bool, part: Fraction) -> None:
    tax, plan = Business(tax_rates={"*": bps}), ProductTerms("p", "Team")
    plain, less = (
        prices.for_plan(tax, plan, billing=None, quantity=1, unit_minor=price, addons=[], inclusive=with_tax, discounts=some)
        for some in ([], codes)
    )
    for whole, line in ((plain, less), (prorate(plain, part), prorate(less, part))):
        assert line[0].gross_minor + sum(off for _, off in line[0].off) == whole[0].gross_minor
        assert all(off >= 0 for _, off in line[0].off)


def test_products_limits_and_minimums_of_a_discount_hold() -> None:
    assert discount_amounts([100, 100], ["a", "b"], [held(amount=5000, restricted_to=["b"])]) == [0, 50]
    assert discount_amounts([1000], ["a"], [held(amount=5000, most=120)]) == [120]
    assert discount_amounts([1000], ["a"], [held(amount=5000, least=1001)]) == [0]


def test_a_discount_lasts_for_its_periods() -> None:
    two = held(cycles=2, since=3)
    assert [is_on(two, n) for n in (2, 3, 4, 5)] == [False, True, True, False]
    assert [cycles_left(two, paid) for paid in (2, 3, 4, 5)] == [2, 1, 0, 0] and cycles_left(held(), 9) is None


def test_descriptions_of_discounts() -> None:
    assert [discount_label(held(amount=amount)) for amount in (2000, 540, 1)] == ["C −20 %", "C −5.4 %", "C −0.01 %"]
    assert discount_label(held(type="flat", amount=500)) == "C"
