"""Use is not counted here: what is sold by it is never sold, changed to or collected here. Another system may still collect it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.catalogue import Product
from billing.commands import loading
from billing.commands.buying import buy, subscribe
from billing.commands.plan_order import Order, preview
from billing.commands.products import create_collection, create_product, update_product
from billing.loaded import Record
from billing.plans import options_for
from billing.provenance import Origin
from billing.subscriptions import Subscription
from core import clock
from core.errors import Invalid
from core.scope import system
from tenants.loading.importing import _fits
from tenants.loading.shapes import record
from tests.stories.shop import Shop

BY_USE = {"type": "usage_based_price", "currency": "EUR", "fixed_price": 500, "payment_frequency_count": 1,
          "payment_frequency_interval": "Month"}


@pytest.fixture
def shop(till_house: Any) -> Shop:
    return Shop.open(till_house)


def mirrored(shop: Shop) -> str:
    """A product by use, as another system told of it."""
    told = record("product", {"product_id": "pdt_by_use", "name": "By use", "price": {**BY_USE, "meters": [{"meter_id": "mtr_1"}]}})
    load(shop, told)
    with shop.database.open(system(shop.business_id)) as db:
        return str(db.scalar(select(Product.id).where(Product.name == "By use")))


def load(shop: Shop, *records: Record) -> None:
    with shop.database.open(system(shop.business_id), write=True) as db:
        loading.load(db, Origin.of_file("import"), records)


def subscription(shop: Shop, **more: Any) -> Record:
    return record("subscription", {
        "subscription_id": "sub_1", "customer": {"customer_id": shop.customer_id}, "product_id": "pdt_by_use", "status": "active",
        "next_billing_date": (clock.now() + timedelta(days=9)).isoformat(), "payment_method_id": "pm_1", **more})


def test_no_product_is_made_with_a_price_by_use(shop: Shop) -> None:
    with shop.database.open(system(shop.business_id), write=True) as db, pytest.raises(Invalid) as refused:
        create_product(db, shop.business_id, name="By use", price=BY_USE)
    assert refused.value.code == "UNSUPPORTED_ACTION" and set(refused.value.fields) == {"price"}


def test_what_another_system_sells_by_use_is_not_sold_here(shop: Shop) -> None:
    product, scope = mirrored(shop), system(shop.business_id)
    with pytest.raises(Invalid) as refused:
        subscribe(shop.till, scope, customer_id=shop.customer_id, product_id=product, billing={"country": "GB"})
    assert (refused.value.code, set(refused.value.fields)) == ("UNSUPPORTED_ACTION", {"product_id"})
    with pytest.raises(Invalid):
        buy(shop.till, scope, customer_id=shop.customer_id, cart=[(product, 1)], billing={"country": "GB"})
    with shop.database.open(scope, write=True) as db:
        assert update_product(db, product, name="Still by use", price={**BY_USE, "meters": []}).name == "Still by use"


def test_a_plan_by_use_is_neither_offered_nor_changed_to_here(shop: Shop) -> None:
    shop.subscribe()
    product, plan = mirrored(shop), shop.subscription().product_id
    with shop.database.open(system(shop.business_id), write=True) as db:
        create_collection(db, shop.business_id, name="Plans", product_ids=[plan, product])
    with shop.database.open(system(shop.business_id), write=True) as db:
        row = db.scalars(select(Subscription)).one()
        assert [one.product_id for one in options_for(db, row)] == [plan]
        with pytest.raises(Invalid) as refused:
            preview(db, row.id, Order(product, 1, (), "full_immediately", "immediately", None))
        assert refused.value.code == "UNSUPPORTED_ACTION"
        row.collected_by = "dodo"
        assert {one.product_id for one in options_for(db, row)} == {plan, product}, "another system may count use"


def test_a_subscription_by_use_is_not_taken_over(shop: Shop) -> None:
    mirrored(shop)
    with pytest.raises(Invalid) as by_line:
        _fits(subscription(shop, collected_by="us", meters=[{"id": "mtr_1"}]))
    assert "meters" in by_line.value.fields
    method = record("payment_method", {"payment_method_id": "pm_1", "customer_id": shop.customer_id, "reference": "sbx_1"})
    with pytest.raises(Invalid) as refused:
        load(shop, method, subscription(shop, collected_by="us"))
    assert "use is not counted" in refused.value.fields["product_id"] and not shop.rows(Subscription)
    load(shop, method, subscription(shop))
    assert shop.rows(Subscription)[0].collected_by == "import" and shop.rows(Product)
