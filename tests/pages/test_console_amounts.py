"""Amounts that staff see: prices are those of the customer, and refunds are shown as a part of the payment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from billing.charging.refund import refund
from core.scope import system
from tests.pages.console_setup import Site
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


@pytest.fixture(scope="module")
def site(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    urls, drop = sqlite.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("amounts"))
    yield item
    item.services.database.dispose()
    drop()


@pytest.fixture(scope="module")
def ada_signed_in(site: Site) -> Visitor:
    return site.customer(site.ADA)


def test_staff_see_the_price_that_customers_see(site: Site, ada_signed_in: Visitor) -> None:
    """24.17 plus 20 % tax is 29.00 on every page."""
    ada = site.ada_at_acorn
    seen = ada_signed_in.get(f"/subscriptions/{ada.subscription_id}").text
    assert "€29.00" in seen
    for path in ("/sales/subscriptions", f"/sales/subscriptions/{ada.subscription_id}", f"/sales/customers/{ada.customer_id}"):
        page = site.sam.get(site.at(path)).text
        assert "€29.00" in page and "€24.17" not in page, path


def test_the_refunded_amount_is_shown_as_a_part_of_the_total(site: Site, ada_signed_in: Visitor) -> None:
    ada = site.ada_at_acorn
    with site.app.app_context():
        refund(site.services.processor, system(site.acorn), ada.purchase_id, amount_minor=1000)
    text = site.sam.get(site.at(f"/sales/customers/{ada.customer_id}")).text
    assert "€10.00 refunded" in text and "€87.80" in text  # 29.00 and 58.80 were paid, tax included
    assert "€77.80" not in text
    page = ada_signed_in.get(f"/purchases/{ada.purchase_id}").text
    assert "€10.00 was refunded" in page and "€58.80" in page


def test_a_price_of_the_catalog_says_whether_tax_is_in_it(site: Site) -> None:
    """Without the buyer's country the price with tax is unknown."""
    product = site.at(f"/products/{site.products['acorn.plan']}")
    for path in (site.at("/products"), product):
        assert "before tax" in site.sam.get(path).text
