"""Lines of payments that another system took: they add up, and all have the payment's one rate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from billing.catalogue import Product
from billing.commands.loading.papers import lines_for, rate
from billing.pricing import tax_rows, total


def goods(prices: list[int]) -> list[tuple[Product, int]]:
    return [(Product(id=f"pdt_{n}", name=f"Item {n}", price_minor=price), 1) for n, price in enumerate(prices)]


def test_eight_products_at_399_have_one_rate_and_the_tax_that_was_paid() -> None:
    rows = tax_rows(lines_for(goods([399] * 8), 3192 + 606, 606))
    assert [(row.bps, row.net_minor, row.tax_minor) for row in rows] == [(1900, 3192, 606)]


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=8), st.integers(0, 10**8), st.integers(0, 2500))
def test_loaded_lines_add_up(prices: list[int], net: int, bps: int) -> None:
    tax = net * bps // 10_000
    lines = lines_for(goods(prices), net + tax, tax)
    assert (total(lines), sum(one.tax_minor for one in lines)) == (net + tax, tax)
    assert {one.tax_bps for one in lines} == {rate(net, tax)}


def test_nothing_that_was_bought_is_no_line() -> None:
    assert lines_for([], 100, 10) == []
