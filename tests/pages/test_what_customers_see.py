"""A product is shown with its picture, download, license keys (if any) and term."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging.refund import refund
from billing.model.catalogue import Product
from billing.model.licenses import LicenseKey
from billing.model.subscriptions import Subscription
from billing.subscriptions.subscribe import subscribe
from core import clock
from core.scope import system
from tests.cast import Cast
from tests.pages.console_setup import Site
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both

LINK = "https://files.acorn.example/notes.dmg"


@pytest.fixture
def ada(visitor: Callable[..., Visitor], cast: Cast) -> Visitor:
    item = visitor()
    item.sign_in(cast.ADA)
    return item


def give(cast: Cast, name: str, **values: Any) -> None:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        row = db.scalars(select(Product).where(Product.id == cast.products[name])).one()
        for field, value in values.items():
            setattr(row, field, value)


def test_pictures_and_downloads_are_shown_to_their_buyers(ada: Visitor, cast: Cast, visitor: Callable[..., Visitor]) -> None:
    picture = f"/api/images/{cast.acorn}/img_1.png"
    for name in ("acorn.plan", "acorn.more", "acorn.once"):
        give(cast, name, image=picture, download={"instructions": "Open **the file**.", "external_url": LINK})
    buyer = cast.ada_at_acorn
    of, bought = f"/subscriptions/{buyer.subscription_id}", f"/purchases/{buyer.purchase_id}"
    for path in (of, bought):
        page = ada.get(path)
        assert page.soup.find("img", src=picture) and page.soup.find("a", href=LINK) and page.soup.find("strong", string="the file"), path
    assert len(ada.get(of + "/plan-change").soup.find_all("img", src=picture)) == 2
    ben = visitor()
    ben.sign_in(cast.BEN)
    for path in (of, bought):
        ben.get(path, expect=404)
    with ada.app.app_context():
        refund(cast.services.processor, system(cast.acorn), buyer.purchase_id)
    assert LINK not in ada.get(bought).body.decode()  # paid back in full
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == buyer.subscription_id)).one().status = "on_hold"
    assert LINK not in ada.get(of).body.decode()


def test_license_keys_are_mentioned_only_for_products_with_keys(ada: Visitor, cast: Cast) -> None:
    of = f"/subscriptions/{cast.ada_at_acorn.subscription_id}"
    for path in (of + "/cancellation", of + "/pause"):
        assert "license keys" not in ada.get(path).soup.find("main").get_text(), path
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        key = db.scalars(select(LicenseKey)).one()
        db.add(
            LicenseKey(
                business_id=key.business_id,
                customer_id=key.customer_id,
                id="lic_plan",
                brand_id=key.brand_id,
                key="PLAN-1",
                product_id=cast.products["acorn.plan"],
                subscription_id=cast.ada_at_acorn.subscription_id,
                created_at=clock.now(),
            )
        )
    for path in (of + "/cancellation", of + "/pause"):
        assert "license keys" in ada.get(path).soup.find("main").get_text(), path


def test_a_product_of_the_console_runs_as_long_as_its_form_says(sqlite: Any, tmp_path: Any) -> None:
    urls, drop = sqlite.fresh()
    site = Site.open(urls, tmp_path)
    typed = {"name": "Box", "kind": "recurring_price", "amount": "10.00", "currency": "EUR", "tax_category": "saas"}

    def sold(**more: str) -> tuple[Product, Subscription]:
        site.sam.get(site.at("/products/new"))
        site.sam.submit("/products/new", **{**typed, **more})
        row = site.row(Product, Product.name == more["name"])
        buyer = site.ada_at_acorn
        with site.app.app_context():
            began = subscribe(
                site.services.processor,
                system(site.acorn),
                customer_id=buyer.customer_id,
                product_id=row.id,
                payment_method_id=buyer.method_id,
                billing={"country": "GB"},
            )
        return row, site.row(Subscription, Subscription.id == began.subscription_id)

    _, endless = sold(name="Until cancelled")
    assert endless.expires_at - clock.now() > timedelta(days=99 * 365)
    row, limited = sold(name="Six months", term="limited", term_count="6", term_interval="Month")
    assert timedelta(days=180) < limited.expires_at - clock.now() < timedelta(days=186)
    site.sam.get(site.at("/products/new"))
    page = site.sam.submit("/products/new", expect=422, **{**typed, "name": "Wrong", "term": "limited"})
    assert page.soup.select_one("#term_count-error")
    page = site.sam.get(site.at(f"/products/{row.id}"))
    assert page.soup.find("option", value="limited", selected=True) and page.soup.find("input", id="term_count")["value"] == "6"
    site.save(f"/products/{row.id}", term="until_cancelled")
    changed = site.row(Product, Product.id == row.id)
    assert (changed.term_interval, changed.term_count) == ("Year", 100)
    assert site.row(Subscription, Subscription.id == limited.id).expires_at == limited.expires_at
    site.services.database.dispose()
    drop()
