"""The rates of a business from before revision 0033 become its tax set-up, and nobody is charged another amount."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text

from billing.model.catalogue import Product
from billing.model.parties import Business
from billing.model.subscriptions import Subscription
from billing.pricing import prices
from billing.pricing.taxes import treatment
from core import guard, schema
from core.db import Database
from core.scope import everything
from core.settings import Settings
from tests.stories.test_upgrade import deployment_of_0_1
from tests.stories.test_upgrade_data import DEMO
from tests.unit.test_tax_determination import before_0033

RATES = {
    "DE": {"bps": 1900, "categories": {"e_book": 700, "edtech": {"code": "E", "reason": "VATEX-EU-132"}}},
    "GB": {"bps": 2000}, "FR": 0, "US": {"code": "O", "reason": "Not our tax"}, "*": {"bps": 0, "code": "G"},
}  # fmt: skip


@pytest.fixture
def demo(engine: Any, tmp_path: Path) -> Settings:
    return deployment_of_0_1(engine, tmp_path, lzma.decompress(DEMO.read_bytes()))


def test_the_upgrade_changes_no_tax(demo: Settings) -> None:
    before = give_rates(demo)
    schema.upgrade(demo)
    database = Database(demo)
    try:
        with database.open(everything("taxes after the upgrade")) as db:
            found = {business.business_id: business for business in db.scalars(select(Business))}
            assert set(found) == set(before) and any(before.values())
            for business_id, rates in before.items():
                business = found[business_id]
                assert (business.tax_setup is not None) is bool(rates)
                old = SimpleNamespace(tax_rates=rates, tax_country=business.tax_country, tax_id=business.tax_id)
                for country in ("DE", "GB", "FR", "US", "AT", "BR", None):
                    for category in ("saas", "e_book", "edtech", None):
                        for tax_id in (None, "ATU13585627"):
                            was = before_0033(old, country, tax_id, category)
                            assert treatment(business, country, tax_id, category) == was, (rates, country, category)
            rows = db.execute(select(Subscription, Product).join(Product, Product.id == Subscription.product_id)).all()
            assert len(rows) > 3
            for subscription, product in rows:
                business = found[subscription.business_id]
                price = prices.period_price(business, subscription, product)
                earlier = Business(tax_rates=before[business.business_id], address=business.address, tax_id=business.tax_id, zone="UTC")
                assert price == prices.period_price(earlier, subscription, product)
    finally:
        database.dispose()


def give_rates(settings: Settings) -> dict[str, Any]:
    """Give one business every form of rate. Returns business → its rates."""
    engine = create_engine(settings.owner_url)
    try:
        with engine.begin() as connection, guard.raw_sql():
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
            ids = connection.execute(text("SELECT business_id FROM businesses ORDER BY business_id")).scalars().all()
            change = text(f"UPDATE businesses SET tax_rates = {'CAST(:rates AS jsonb)' if settings.is_sqlite is False else ':rates'}"
                          " WHERE business_id = :id")  # fmt: skip
            connection.execute(change, {"rates": json.dumps(RATES), "id": ids[0]})
            rows = connection.execute(text("SELECT business_id, tax_rates FROM businesses")).all()
        return {row[0]: json.loads(row[1]) if isinstance(row[1], str) else row[1] for row in rows}
    finally:
        engine.dispose()
