"""Price lines: shown and charged amounts are equal in every currency, with tax on top or included."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from billing.model.catalogue import Product
from billing.model.parties import Business
from billing.model.subscriptions import Subscription
from billing.pricing import prices
from billing.pricing.line_items import cart_of, lines_of
from billing.pricing.taxes import treatment

NOW = datetime(2027, 1, 31, tzinfo=UTC)


def business(**rates: int) -> Business:
    return Business(business_id="bus_acorn", name="Acorn", tax_rates=rates)


def product(price: int = 1000, inclusive: bool = False) -> Product:
    return Product(id="pdt_team", name="Team", price_minor=price, tax_inclusive=inclusive)


def subscription(inclusive: bool = False, **more: object) -> Subscription:
    return Subscription(
        id="sub_1",
        quantity=more.get("quantity", 1),
        unit_minor=more.get("unit", 1000),
        tax_inclusive=inclusive,
        addons=more.get("addons", []),
        billing={"country": more.get("country", "GB")},
        next_billing_at=NOW,
        created_at=NOW,
    )


def test_the_rate_is_the_countrys_or_the_default_or_none() -> None:
    site = Business(business_id="b", name="b", tax_rates={"GB": 2000, "*": 500})
    assert [treatment(site, item).bps for item in ("GB", "FR", None)] == [2000, 500, 500]
    assert treatment(business(DE=1900), "GB").bps == 0 == treatment(business(), None).bps


@given(st.integers(1, 500), st.integers(0, 10**9), st.integers(0, 3000), st.booleans())
def test_net_and_tax_add_up_to_the_gross(quantity: int, unit: int, bps: int, inclusive: bool) -> None:
    line = prices.line("Team", quantity, unit, bps, inclusive)
    assert line.net_minor + line.tax_minor == line.gross_minor
    if inclusive:
        assert line.gross_minor == quantity * unit
    else:
        assert line.net_minor == quantity * unit and line.gross_minor >= line.net_minor


def test_a_period_includes_add_ons_and_dates() -> None:
    item = subscription(quantity=3, addons=[{"addon_id": "adn", "name": "Seats", "quantity": 2, "unit_minor": 250}])
    lines = prices.for_period(business(GB=2000), item, product(), NOW, NOW)
    assert [(line.description, line.net_minor, line.tax_minor) for line in lines] == [("Team", 3000, 600), ("Seats", 500, 100)]
    assert prices.total(lines) == 4200 and all(line.starts_at == line.ends_at == NOW for line in lines)
    assert prices.recurring_net(business(GB=2000), item, product()) == 3500


def test_the_price_agreed_stays_when_the_product_s_changes() -> None:
    assert prices.total(prices.for_period(business(), subscription(unit=700), product(price=9900), NOW, NOW)) == 700


def test_a_stored_cart_is_read_back_unchanged() -> None:
    lines = prices.for_cart(business(GB=2000), [(product(1999, True), 2), (product(500), 1)], {"country": "GB"})
    assert lines_of(cart_of(lines)) == lines and prices.total(lines) == 3998 + 600
