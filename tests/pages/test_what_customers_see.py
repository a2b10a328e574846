"""What belongs to a product is shown with it: picture, download, a word about keys where there are keys; and how long it runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.catalogue import Product
from billing.commands.buying import subscribe
from billing.commands.refunding import refund
from billing.licences import LicenseKey
from billing.subscriptions import Subscription
from core import clock
from core.scope import system
from tests.cast import Cast
from tests.pages.staffed import Shop
from tests.visitor import Visitor

LINK = "https://files.acorn.example/notes.dmg"


@pytest.fixture
def ada(visitor: Callable[..., Visitor], cast: Cast) -> Visitor:
    one = visitor()
    one.sign_in(cast.ADA)
    return one


def give(cast: Cast, name: str, **values: Any) -> None:
    with cast.house.database.open(system(cast.acorn), write=True) as db:
        row = db.scalars(select(Product).where(Product.id == cast.products[name])).one()
        for field, value in values.items():
            setattr(row, field, value)


def test_pictures_and_downloads_are_shown_to_who_has_them(ada: Visitor, cast: Cast, visitor: Callable[..., Visitor]) -> None:
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
        refund(cast.house.till, system(cast.acorn), buyer.purchase_id)
    assert LINK not in ada.get(bought).body.decode()  # paid back in full
    with cast.house.database.open(system(cast.acorn), write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == buyer.subscription_id)).one().status = "on_hold"
    assert LINK not in ada.get(of).body.decode()


def test_keys_are_spoken_of_only_where_there_are_keys(ada: Visitor, cast: Cast) -> None:
    of = f"/subscriptions/{cast.ada_at_acorn.subscription_id}"
    for path in (of + "/cancellation", of + "/pause"):
        assert "licence keys" not in ada.get(path).soup.find("main").get_text(), path
    with cast.house.database.open(system(cast.acorn), write=True) as db:
        key = db.scalars(select(LicenseKey)).one()
        db.add(LicenseKey(business_id=key.business_id, customer_id=key.customer_id, id="lic_plan", brand_id=key.brand_id, key="PLAN-1",
                          product_id=cast.products["acorn.plan"], subscription_id=cast.ada_at_acorn.subscription_id,
                          created_at=clock.now()))
    for path in (of + "/cancellation", of + "/pause"):
        assert "licence keys" in ada.get(path).soup.find("main").get_text(), path


def test_a_product_of_the_console_runs_as_long_as_its_form_says(sqlite: Any, tmp_path: Any) -> None:
    urls, drop = sqlite.fresh()
    shop = Shop.open(urls, tmp_path)
    typed = {"name": "Box", "kind": "recurring_price", "amount": "10.00", "currency": "EUR", "tax_category": "saas"}

    def sold(**more: str) -> tuple[Product, Subscription]:
        shop.sam.get(shop.at("/products/new"))
        shop.sam.submit("/products/new", **{**typed, **more})
        row = shop.row(Product, Product.name == more["name"])
        buyer = shop.ada_at_acorn
        with shop.app.app_context():
            began = subscribe(shop.house.till, system(shop.acorn), customer_id=buyer.customer_id, product_id=row.id,
                              payment_method_id=buyer.method_id, billing={"country": "GB"})
        return row, shop.row(Subscription, Subscription.id == began.subscription_id)

    _, endless = sold(name="Until cancelled")
    assert endless.expires_at - clock.now() > timedelta(days=99 * 365)
    row, limited = sold(name="Six months", term="limited", term_count="6", term_interval="Month")
    assert timedelta(days=180) < limited.expires_at - clock.now() < timedelta(days=186)
    shop.sam.get(shop.at("/products/new"))
    page = shop.sam.submit("/products/new", expect=422, **{**typed, "name": "Wrong", "term": "limited"})
    assert page.soup.select_one("#term_count-error")
    page = shop.sam.get(shop.at(f"/products/{row.id}"))
    assert page.soup.find("option", value="limited", selected=True) and page.soup.find("input", id="term_count")["value"] == "6"
    shop.save(f"/products/{row.id}", term="until_cancelled")
    changed = shop.row(Product, Product.id == row.id)
    assert (changed.term_interval, changed.term_count) == ("Year", 100)
    assert shop.row(Subscription, Subscription.id == limited.id).expires_at == limited.expires_at
    shop.house.database.dispose()
    drop()
