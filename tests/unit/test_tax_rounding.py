"""Tax is rounded once per rate and document, lines add up, unit prices multiply out, and promised totals are kept."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.pricing.credit_lines import less_credit, parts_of, scaled
from billing.pricing.prices import CREDIT, UNUSED, PriceLine, line, tax_rows, total
from billing.pricing.tax_rounding import share_tax
from billing.pricing.unit_prices import list_net, unit_net
from core.money import exponent, largest_remainder, round_half_up
from tests.unit.random_carts import carts, held, lines_of_cart


def amounts(rows: list[tuple[int, int, int, bool]], *codes: dict[str, Any]) -> tuple[int, int, int]:
    lines = lines_of_cart(rows, list(codes))
    return sum(line.net_minor for line in lines), sum(line.tax_minor for line in lines), total(lines)


@pytest.mark.parametrize(
    ("rows", "net", "tax"),
    [
        ([(1, 105, 1000, False)] * 12, 1260, 126),  # JPY 12 × 105: 1386, not 1392
        ([(12, 105, 1000, False)], 1260, 126),
        ([(1, 399, 1900, False)] * 8, 3192, 606),  # EUR 8 × 3.99: 6.06, not 6.08
        ([(1, 399, 1900, False)] * 4 + [(1, 399, 700, False)] * 4, 3192, 303 + 112),
        ([(1, 1190, 1900, True)] * 3, 3000, 570),
        ([(1, 999, 2000, True)], 832, 167),
        ([(1, 3, 2000, True)], 2, 1),
        ([(1, 100, 2000, True), (1, 1, 1900, False)], 84, 17),
    ],
)
def test_tax_is_rounded_once_per_rate_and_document(rows: list[tuple[int, int, int, bool]], net: int, tax: int) -> None:
    assert amounts(rows) == (net, tax, net + tax)


def test_the_shares_of_the_lines_differ_by_one_at_most_and_add_up() -> None:
    lines = lines_of_cart([(1, 105, 1000, False)] * 12, [])
    assert sorted({line.tax_minor for line in lines}) == [10, 11] and sum(line.tax_minor for line in lines) == 126


@settings(max_examples=400, deadline=None)
@given(carts)
def test_a_document_adds_up(cart: tuple[str, list[tuple[int, int, int, bool]], list[dict[str, Any]]]) -> None:
    _, rows, codes = cart
    lines = lines_of_cart(rows, codes)
    by_rate: dict[int, Fraction] = {}
    for row in lines:
        exact = Fraction(row.gross_minor * 10_000, 10_000 + row.tax_bps) if row.inclusive else Fraction(row.net_minor)
        by_rate[row.tax_bps] = by_rate.get(row.tax_bps, Fraction(0)) + exact
    taxes = {bps: round_half_up(base * bps / 10_000) for bps, base in by_rate.items()}
    assert {row.bps: row.tax_minor for row in tax_rows(lines)} == taxes
    assert total(lines) == sum(line.net_minor for line in lines) + sum(taxes.values())
    for bps, base in by_rate.items():  # the net that is printed is the base, to the minor unit
        assert abs(sum(line.net_minor for line in lines if line.tax_bps == bps) - base) <= 1
    for row in lines:
        assert 0 <= row.tax_minor <= max(row.gross_minor, 0)


@settings(max_examples=300, deadline=None)
@given(carts)
def test_inclusive_totals_equal_the_shown_price(cart: tuple[str, list[tuple[int, int, int, bool]], list[dict[str, Any]]]) -> None:
    _, rows, _ = cart
    lines = lines_of_cart(rows, [])
    for item, (quantity, unit, _rate, inclusive) in zip(lines, rows, strict=True):
        if inclusive:
            assert item.gross_minor == quantity * unit
    inclusive_rows = [(quantity, unit, rate, True) for quantity, unit, rate, _ in rows]
    assert amounts(inclusive_rows)[2] == sum(quantity * unit for quantity, unit, _, _ in rows)


@settings(max_examples=300, deadline=None)
@given(carts)
def test_the_printed_base_is_exact_where_possible(cart: tuple[str, list[tuple[int, int, int, bool]], list[dict[str, Any]]]) -> None:
    """EN 16931 BR-CO-17: the printed net is chosen so that net + round(net × rate) is the total, which most totals allow."""
    _, rows, _ = cart
    for row in tax_rows(lines_of_cart([(quantity, unit, rate, True) for quantity, unit, rate, _ in rows], [])):
        gross = row.net_minor + row.tax_minor
        reachable = [net for net in range(max(row.net_minor - 3, 0), row.net_minor + 4) if net + _tax(net, row.bps) == gross]
        assert not reachable or _tax(row.net_minor, row.bps) == row.tax_minor


def _tax(net: int, bps: int) -> int:
    return round_half_up(Fraction(net * bps, 10_000))


@settings(max_examples=300, deadline=None)
@given(carts)
def test_quantity_times_the_unit_price_before_tax_is_the_amount(
    cart: tuple[str, list[tuple[int, int, int, bool]], list[dict[str, Any]]],
) -> None:
    currency, rows, codes = cart
    cent = Decimal(1).scaleb(-exponent(currency))
    for item in lines_of_cart(rows, codes):
        printed = Decimal(unit_net(item, currency))
        assert (printed * item.quantity).quantize(cent, ROUND_HALF_UP) == Decimal(list_net(item)) * cent
        assert list_net(item) >= item.net_minor
        if not codes:
            assert list_net(item) == item.net_minor
        if not item.inclusive:
            assert printed == Decimal(item.unit_minor) * cent


@pytest.mark.parametrize(
    ("quantity", "unit", "bps", "each"),
    [
        (3, 1190, 1900, "10.00"),
        (3, 999, 1900, "8.39496"),
        (1, 999, 1900, "8.39"),
        (1, 999, 2000, "8.32"),
        (6, 999, 2000, "8.325"),
        (7, 999, 2000, "8.324"),
    ],
)
def test_unit_prices_have_the_decimals_they_need(quantity: int, unit: int, bps: int, each: str) -> None:
    assert unit_net(share_tax([line("Team", quantity, unit, bps, True)])[0], "EUR") == each


@given(st.lists(st.fractions(-1000, 1000, max_denominator=50), min_size=1, max_size=12), st.sampled_from([0, 1]))
def test_largest_remainder_rounds_each_share_and_loses_nothing(exact: list[Fraction], up: int) -> None:
    whole = sum(exact, Fraction(0))
    wanted = whole // 1 + (up if whole.denominator > 1 else 0)
    shares = largest_remainder(exact, wanted)
    assert sum(shares) == wanted and all(value // 1 <= share <= -(-value // 1) for value, share in zip(exact, shares, strict=True))


class TestCredit:
    """Credit lines carry the tax they were paid with."""

    new = staticmethod(lambda: [line("Max", 1, 5900, 2000, False)])
    paid = staticmethod(lambda: parts_of([line("Team", 1, 2417, 2000, False)]))

    def test_an_upgrade(self) -> None:
        bill = less_credit(self.new(), unused=456, unused_parts=self.paid(), name="Team")
        assert [(line.kind, line.net_minor, line.tax_minor) for line in bill.lines] == [("item", 5900, 1180), (UNUSED, -380, -76)]
        assert (bill.tax, total(bill.lines), bill.left) == (1104, 6624, [])

    def test_prices_of_credit_lines_are_not_negative(self) -> None:
        """EN 16931 BR-27: the quantity is negative instead."""
        credit = less_credit(self.new(), unused=456, unused_parts=self.paid(), name="Team").lines[1]
        assert (credit.quantity, unit_net(credit, "EUR"), list_net(credit)) == (-1, "3.80", -380)

    def test_credit_is_limited_to_the_amount_and_the_rest_keeps_its_tax(self) -> None:
        bill = less_credit([line("Lite", 1, 1000, 2000, False)], unused=2900, unused_parts=self.paid(), name="Team", balance=600,
                           balance_parts=[{"tax_code": "S", "tax_bps": 700, "tax_reason": None, "minor": 5}])  # fmt: skip
        assert (total(bill.lines), bill.tax) == (0, 0)
        assert [(part["tax_bps"], part["minor"]) for part in bill.left] == [(2000, 1700), (700, 600)]

    def test_credit_keeps_its_own_tax_rate(self) -> None:
        bill = less_credit([line("Max", 1, 5900, 0, False)], balance=456, balance_parts=self.paid())
        assert [(item.kind, item.net_minor, item.tax_minor, item.tax_bps) for item in bill.lines][1] == (CREDIT, -380, -76, 2000)
        assert total(bill.lines) == 5900 - 456 and bill.tax == -76

    @settings(max_examples=200, deadline=None)
    @given(carts, carts, st.integers(0, 10**7), st.integers(-50, 10**6))
    def test_no_unit_of_credit_is_lost(self, cart: Any, earlier: Any, unused: int, balance: int) -> None:
        items, parts = lines_of_cart(cart[1], cart[2]), parts_of(lines_of_cart(earlier[1], []))
        bill = less_credit(items, unused=unused, unused_parts=parts, name="Team", balance=balance, balance_parts=parts)
        credit = sum(line.gross_minor for line in bill.lines if line.kind != "item")
        assert -credit == min(total(items), unused + max(balance, 0))
        assert total(bill.lines) == total(items) + credit >= 0
        assert sum(part["minor"] for part in bill.left) == unused + max(balance, 0) + credit
        assert sum(tax_row.net_minor + tax_row.tax_minor for tax_row in tax_rows(bill.lines)) == total(bill.lines)

    @given(st.lists(st.integers(1, 10**9), max_size=5), st.integers(0, 10**9))
    def test_parts_scale_without_loss(self, minors: list[int], minor: int) -> None:
        parts = [{"tax_code": "S", "tax_bps": n * 100 + 100, "tax_reason": None, "minor": value} for n, value in enumerate(minors)]
        assert sum(part["minor"] for part in scaled(parts, minor)) == minor


def test_a_discount_is_applied_before_tax() -> None:
    lines: list[PriceLine] = lines_of_cart([(3, 1000, 2000, False)], [held("WELCOME", "percentage", 2000)])
    assert [(list_net(line), line.net_minor, line.tax_minor, unit_net(line, "EUR")) for line in lines] == [(3000, 2400, 480, "10.00")]
