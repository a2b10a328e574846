"""What a price may come to is a matter of its currency, in major units; an order has a limit as well."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import BILLING, MONTHLY, ONCE, Shop


def product(desk: Shop, currency: str, price: int, **more: Any) -> Any:
    sent = {"name": "Seats", "price": {**ONCE, "currency": currency, "price": price}, "tax_category": "saas", **more}
    return desk.raw("POST", "/products", desk.key, json=sent)


@pytest.mark.parametrize(("currency", "most"), [
    ("IDR", 20_000_000_000_000), ("VND", 200_000_000_000), ("JPY", 2_000_000_000), ("EUR", 2_000_000_000), ("KWD", 20_000_000_000),
])  # fmt: skip
def test_prices_have_a_limit_per_currency_in_major_units(desk: Shop, currency: str, most: int) -> None:
    assert product(desk, currency, most).status_code == 200
    refused = product(desk, currency, most + 1)
    assert refused.status_code == 422, refused.text
    addon = {"name": "Seat", "currency": currency, "price": most + 1, "tax_category": "saas"}
    assert desk.raw("POST", "/addons", desk.key, json=addon).status_code == 422


def test_twenty_five_million_rupiah_are_a_price(desk: Shop) -> None:
    made = product(desk, "IDR", 2_500_000_000)
    assert made.status_code == 200 and made.json()["price"]["price"] == 2_500_000_000


def test_an_order_beyond_all_sense_is_refused(desk: Shop) -> None:
    """Not answered with an error of the database, whose numbers end somewhere."""
    once = product(desk, "IDR", 20_000_000_000_000).json()["product_id"]
    plan = {"name": "Team", "price": {**MONTHLY, "currency": "IDR", "price": 20_000_000_000_000}, "tax_category": "saas"}
    monthly = desk.raw("POST", "/products", desk.key, json=plan).json()["product_id"]
    buyer = {"email": "ada@marlow.example", "name": "Ada Marlow"}
    cart = [{"product_id": once, "quantity": 100_000}] * 3
    answer = desk.raw("POST", "/payments", desk.key, json={"billing": BILLING, "customer": buyer, "product_cart": cart})
    assert answer.status_code == 422 and "product_cart" in answer.json()["message"]
    sent = {"billing": BILLING, "customer": buyer, "product_id": monthly, "quantity": 100_000}
    assert desk.raw("POST", "/subscriptions", desk.key, json=sent).status_code == 422
