"""Usage is not metered here: usage-based products are not sold or charged here. Another system may still bill them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing import imports
from billing.catalogue.products import create_collection, create_product, update_product
from billing.model.catalogue import Product
from billing.model.imported_records import Record
from billing.model.provenance import Origin
from billing.model.subscriptions import Subscription
from billing.plan_changes.business_order import PlanChangeOrder, preview
from billing.plan_changes.eligibility import options_for
from billing.subscriptions.subscribe import buy, subscribe
from core import clock
from core.errors import Invalid
from core.scope import system
from tenants.imports.import_file import _check_collectable
from tenants.imports.shapes import record
from tests.stories.business_and_buyer import Site

BY_USE = {
    "type": "usage_based_price",
    "currency": "EUR",
    "fixed_price": 500,
    "payment_frequency_count": 1,
    "payment_frequency_interval": "Month",
}


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


def mirrored(site: Site) -> str:
    """A usage-based product from another system."""
    told = record("product", {"product_id": "pdt_by_use", "name": "By use", "price": {**BY_USE, "meters": [{"meter_id": "mtr_1"}]}})
    load(site, told)
    with site.database.open(system(site.business_id)) as db:
        return str(db.scalar(select(Product.id).where(Product.name == "By use")))


def load(site: Site, *records: Record) -> None:
    with site.database.open(system(site.business_id), write=True) as db:
        imports.load(db, Origin.of_file("import"), records)


def subscription(site: Site, **more: Any) -> Record:
    return record(
        "subscription",
        {
            "subscription_id": "sub_1",
            "customer": {"customer_id": site.customer_id},
            "product_id": "pdt_by_use",
            "status": "active",
            "next_billing_date": (clock.now() + timedelta(days=9)).isoformat(),
            "payment_method_id": "pm_1",
            **more,
        },
    )


def test_products_with_usage_based_prices_are_refused(site: Site) -> None:
    with site.database.open(system(site.business_id), write=True) as db, pytest.raises(Invalid) as refused:
        create_product(db, site.business_id, name="By use", price=BY_USE)
    assert refused.value.code == "UNSUPPORTED_ACTION" and set(refused.value.fields) == {"price"}


def test_imported_usage_based_products_are_not_sold_here(site: Site) -> None:
    product, scope = mirrored(site), system(site.business_id)
    with pytest.raises(Invalid) as refused:
        subscribe(site.processor, scope, customer_id=site.customer_id, product_id=product, billing={"country": "GB"})
    assert (refused.value.code, set(refused.value.fields)) == ("UNSUPPORTED_ACTION", {"product_id"})
    with pytest.raises(Invalid):
        buy(site.processor, scope, customer_id=site.customer_id, cart=[(product, 1)], billing={"country": "GB"})
    with site.database.open(scope, write=True) as db:
        assert update_product(db, product, name="Still by use", price={**BY_USE, "meters": []}).name == "Still by use"


def test_usage_based_plans_are_not_offered(site: Site) -> None:
    site.subscribe()
    product, plan = mirrored(site), site.subscription().product_id
    with site.database.open(system(site.business_id), write=True) as db:
        create_collection(db, site.business_id, name="Plans", product_ids=[plan, product])
    with site.database.open(system(site.business_id), write=True) as db:
        row = db.scalars(select(Subscription)).one()
        assert [item.product_id for item in options_for(db, row)] == [plan]
        with pytest.raises(Invalid) as refused:
            preview(db, row.id, PlanChangeOrder(product, 1, (), "full_immediately", "immediately", None))
        assert refused.value.code == "UNSUPPORTED_ACTION"
        row.collected_by = "dodo"
        assert {item.product_id for item in options_for(db, row)} == {plan, product}, "another system may count use"


def test_usage_based_subscriptions_stay_external(site: Site) -> None:
    mirrored(site)
    with pytest.raises(Invalid) as by_line:
        _check_collectable(subscription(site, collected_by="us", meters=[{"id": "mtr_1"}]))
    assert "meters" in by_line.value.fields
    method = record("payment_method", {"payment_method_id": "pm_1", "customer_id": site.customer_id, "reference": "sbx_1"})
    with pytest.raises(Invalid) as refused:
        load(site, method, subscription(site, collected_by="us"))
    assert "usage-based pricing is not supported" in refused.value.fields["product_id"] and not site.rows(Subscription)
    load(site, method, subscription(site))
    assert site.rows(Subscription)[0].collected_by == "import" and site.rows(Product)
