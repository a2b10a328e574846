"""The largest price depends on the currency, in major units. Orders have a limit as well."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import BILLING, MONTHLY, ONCE, Site


def product(api_site: Site, currency: str, price: int, **more: Any) -> Any:
    sent = {"name": "Seats", "price": {**ONCE, "currency": currency, "price": price}, "tax_category": "saas", **more}
    return api_site.raw("POST", "/products", api_site.key, json=sent)


@pytest.mark.parametrize(("currency", "most"), [
    ("IDR", 20_000_000_000_000), ("VND", 200_000_000_000), ("JPY", 2_000_000_000), ("EUR", 2_000_000_000), ("KWD", 20_000_000_000),
])  # fmt: skip
def test_prices_have_a_limit_per_currency_in_major_units(api_site: Site, currency: str, most: int) -> None:
    assert product(api_site, currency, most).status_code == 200
    refused = product(api_site, currency, most + 1)
    assert refused.status_code == 422, refused.text
    addon = {"name": "Seat", "currency": currency, "price": most + 1, "tax_category": "saas"}
    assert api_site.raw("POST", "/addons", api_site.key, json=addon).status_code == 422


def test_a_price_of_25_million_rupiah_is_accepted(api_site: Site) -> None:
    made = product(api_site, "IDR", 2_500_000_000)
    assert made.status_code == 200 and made.json()["price"]["price"] == 2_500_000_000


def test_an_order_over_the_limit_is_refused(api_site: Site) -> None:
    """The order is refused before the database raises an overflow error."""
    once = product(api_site, "IDR", 20_000_000_000_000).json()["product_id"]
    plan = {"name": "Team", "price": {**MONTHLY, "currency": "IDR", "price": 20_000_000_000_000}, "tax_category": "saas"}
    monthly = api_site.raw("POST", "/products", api_site.key, json=plan).json()["product_id"]
    buyer = {"email": "ada@marlow.example", "name": "Ada Marlow"}
    cart = [{"product_id": once, "quantity": 100_000}] * 3
    answer = api_site.raw("POST", "/payments", api_site.key, json={"billing": BILLING, "customer": buyer, "product_cart": cart})
    assert answer.status_code == 422 and "product_cart" in answer.json()["message"]
    sent = {"billing": BILLING, "customer": buyer, "product_id": monthly, "quantity": 100_000}
    assert api_site.raw("POST", "/subscriptions", api_site.key, json=sent).status_code == 422
