"""Amounts that staff see: the prices are the customers', and what was refunded is a part of what was paid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from billing.commands.refunding import refund
from core.scope import system
from tests.pages.staffed import Shop
from tests.visitor import Visitor


@pytest.fixture(scope="module")
def shop(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    urls, drop = sqlite.fresh()
    one = Shop.open(urls, tmp_path_factory.mktemp("amounts"))
    yield one
    one.house.database.dispose()
    drop()


@pytest.fixture(scope="module")
def ada_signed_in(shop: Shop) -> Visitor:
    return shop.customer(shop.ADA)


def test_staff_see_the_price_that_customers_see(shop: Shop, ada_signed_in: Visitor) -> None:
    """24.17 and 20 % tax are 29.00 on every page."""
    ada = shop.ada_at_acorn
    seen = ada_signed_in.get(f"/subscriptions/{ada.subscription_id}").text
    assert "€29.00" in seen
    for path in ("/sales/subscriptions", f"/sales/subscriptions/{ada.subscription_id}", f"/sales/customers/{ada.customer_id}"):
        page = shop.sam.get(shop.at(path)).text
        assert "€29.00" in page and "€24.17" not in page, path


def test_what_was_sent_back_is_a_part_of_the_amount_that_is_named(shop: Shop, ada_signed_in: Visitor) -> None:
    ada = shop.ada_at_acorn
    with shop.app.app_context():
        refund(shop.house.till, system(shop.acorn), ada.purchase_id, amount_minor=1000)
    text = shop.sam.get(shop.at(f"/sales/customers/{ada.customer_id}")).text
    assert "€10.00 of it was sent back" in text and "€87.80" in text  # 29.00 and 58.80 were paid, tax included
    assert "€77.80" not in text
    page = ada_signed_in.get(f"/purchases/{ada.purchase_id}").text
    assert "€10.00 of it was sent back" in page and "€58.80" in page


def test_a_price_of_the_catalog_says_whether_tax_is_in_it(shop: Shop) -> None:
    """Before a buyer's country is known there is no price with tax to show."""
    product = shop.at(f"/products/{shop.products['acorn.plan']}")
    for path in (shop.at("/products"), product):
        assert "before tax" in shop.sam.get(path).text
