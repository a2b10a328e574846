"""Minor units: splits lose nothing, inclusive tax is a part of the gross, currencies do not mix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.money import DISPUTED, Money, exponent, tax_on, tax_within

AMOUNTS = st.integers(-(10**12), 10**12)
RATES = st.integers(0, 10_000)


@given(AMOUNTS, st.integers(1, 60))
def test_a_split_loses_no_unit(minor: int, parts: int) -> None:
    shares = Money(minor, "EUR").split(parts)
    assert len(shares) == parts and sum(share.minor for share in shares) == minor
    assert max(share.minor for share in shares) - min(share.minor for share in shares) <= 1


@given(st.integers(0, 10**12), RATES)
def test_tax_on_a_net_amount_is_exact_to_half_a_unit(net: int, bps: int) -> None:
    assert abs(tax_on(net, bps) * 10_000 - net * bps) * 2 <= 10_000
    assert tax_on(-net, bps) == -tax_on(net, bps)


@given(st.integers(0, 10**12), RATES)
def test_inclusive_tax_is_a_part_of_the_gross(gross: int, bps: int) -> None:
    tax = tax_within(gross, bps)
    assert 0 <= tax <= gross
    assert abs(tax_on(gross - tax, bps) - tax) <= 1


def test_halves_are_rounded_away_from_zero() -> None:
    assert [tax_on(n, 1000) for n in (5, 15, 25, -5)] == [1, 2, 3, -1]


def test_currencies_do_not_mix() -> None:
    euro, dollar = Money(1, "EUR"), Money(1, "USD")
    for mixed in (lambda: euro + dollar, lambda: euro - dollar, lambda: euro < dollar, lambda: euro <= dollar):
        with pytest.raises(ValueError, match="cannot combine"):
            mixed()


@pytest.mark.parametrize("wrong", [1.0, "1", True, None])
def test_only_whole_minor_units_are_accepted(wrong: object) -> None:
    with pytest.raises(TypeError):
        Money(wrong, "EUR")  # type: ignore[arg-type]


def test_decimals_follow_iso_4217() -> None:
    assert {code: exponent(code) for code in ("JPY", "USD", "KWD", "ISK", "CLP", "BHD")} == {
        "JPY": 0,
        "USD": 2,
        "KWD": 3,
        "ISK": 0,
        "CLP": 0,
        "BHD": 3,
    }
    assert "IQD" in DISPUTED
