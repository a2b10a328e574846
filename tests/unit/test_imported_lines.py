"""Imported records: lines of payments add up and have one rate, and tax categories are known ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.imports.invoices import lines_for, rate
from billing.model.catalogue import Product
from billing.pricing.prices import tax_rows, total
from core.errors import Invalid
from tenants.imports.shapes import record


def goods(prices: list[int]) -> list[tuple[Product, int]]:
    return [(Product(id=f"pdt_{n}", name=f"Item {n}", price_minor=price), 1) for n, price in enumerate(prices)]


def test_eight_products_at_399_have_one_rate_and_the_tax_that_was_paid() -> None:
    rows = tax_rows(lines_for(goods([399] * 8), 3192 + 606, 606))
    assert [(row.bps, row.net_minor, row.tax_minor) for row in rows] == [(1900, 3192, 606)]


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=8), st.integers(0, 10**8), st.integers(0, 2500))
def test_loaded_lines_add_up(prices: list[int], net: int, bps: int) -> None:
    tax = net * bps // 10_000
    lines = lines_for(goods(prices), net + tax, tax)
    assert (total(lines), sum(line.tax_minor for line in lines)) == (net + tax, tax)
    assert {line.tax_bps for line in lines} == {rate(net, tax)}


def test_an_empty_purchase_has_no_lines() -> None:
    assert lines_for([], 100, 10) == []


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("product", {"product_id": "p", "name": "P", "price": {"type": "one_time_price", "currency": "EUR", "price": 100}}),
        ("addon", {"id": "a", "name": "A", "price": 100, "currency": "EUR"}),
    ],
)
def test_a_tax_category_is_one_of_the_contract(kind: str, data: dict[str, Any]) -> None:
    """The API lists products with one of five categories. An unknown one would break the list."""
    assert record(kind, data | {"tax_category": "saas"}).values["tax_category"] == "saas"
    with pytest.raises(Invalid) as refusal:
        record(kind, data | {"tax_category": "2026-11-29"})
    assert list(refusal.value.fields) == ["tax_category"]
