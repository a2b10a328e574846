"""What is sold, as staff make it: prices as people type them, bad input that changes nothing, and collections put in order by buttons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from billing.catalogue import Addon, Collection, CollectionGroup, CollectionItem, Product
from tests.pages.staffed import Shop
from tests.visitor import Visitor

PLAN = {"name": "Acorn Solo", "kind": "recurring_price", "amount": "1,234.50", "currency": "eur", "interval": "Month",
        "interval_count": "3", "trial_days": "14", "tax_category": "saas", "license_keys": "1", "license_limit": "3", "license_for": "2",
        "license_interval": "Year", "tax_inclusive": "1", "description": "For one <person>"}


@pytest.fixture(scope="module")
def shop(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    urls, drop = sqlite.fresh()
    one = Shop.open(urls, tmp_path_factory.mktemp("catalogue"))
    yield one
    one.house.database.dispose()
    drop()


@pytest.fixture(scope="module")
def ada(shop: Shop) -> Visitor:
    return shop.customer(shop.ADA)


def made(shop: Shop, **typed: str) -> Product:
    shop.sam.get(shop.at("/products/new"))
    shop.sam.submit("/products/new", **{**PLAN, **typed})
    return shop.row(Product, Product.name == typed.get("name", PLAN["name"]))


def test_a_plan_is_made_edited_archived_and_sold_again(shop: Shop) -> None:
    row = made(shop)
    assert shop.sam.page.h1 == "Acorn Solo" and "is on sale" in shop.sam.page.text and "€1,234.50 every 3 months" in shop.sam.page.text
    assert (row.price_minor, row.currency, row.interval, row.interval_count, row.trial_days) == (123450, "EUR", "Month", 3, 14)
    assert (row.tax_inclusive, row.license_key_enabled, row.license_key_limit) == (True, True, 3)
    assert row.license_key_duration == {"count": 2, "interval": "Year"} and row.description == "For one <person>"
    url = shop.at(f"/products/{row.id}")
    page = shop.save(f"/products/{row.id}", name="Acorn One", amount="20")
    assert "It costs €20.00 from now on" in page.text and page.h1 == "Acorn One"
    assert shop.row(Product, Product.id == row.id).interval_count == 3
    page = shop.sam.submit("/archive")
    assert "is not sold any more" in page.text and "Archived" in page.text
    assert "Acorn One" not in shop.sam.get(shop.at("/products")).text
    assert "Acorn One" in shop.sam.get(shop.at("/products?state=archived")).text
    shop.sam.get(url)
    assert "is on sale again" in shop.sam.submit("/return").text


def test_once_and_never_by_use(shop: Shop) -> None:
    once = made(shop, name="A poster", kind="one_time_price", amount="7", license_keys="", license_limit="", license_for="")
    assert (once.price_type, once.interval, once.price_minor, once.license_key_duration) == ("one_time_price", None, 700, None)
    form = shop.sam.get(shop.at("/products/new"))
    assert [one["value"] for one in form.soup.select("#kind option")] == ["one_time_price", "recurring_price"]
    refused = shop.save("/products/new", expect=422, name="By use", kind="usage_based_price", currency="EUR", amount="0")
    assert "Choose one of the list." in refused.text and not shop.rows(Product, Product.name == "By use")
    yen = made(shop, name="In yen", currency="JPY", amount="1,500")
    assert (yen.currency, yen.price_minor) == ("JPY", 1500)
    nowhere = made(shop, name="Keys that wait", license_limit="0")
    shop.sam.get(shop.at(f"/products/{nowhere.id}"))
    shop.save(f"/products/{nowhere.id}", name="Keys that wait on")
    assert shop.row(Product, Product.id == nowhere.id).license_key_limit == 0


def test_a_price_is_read_in_the_readers_language(shop: Shop) -> None:
    shop.sam.post("/language", {"lang": "de"})
    row = made(shop, name="Auf Deutsch", amount="1.234,5")
    field = shop.sam.get(shop.at(f"/products/{row.id}")).soup.find("input", id="amount")
    shop.sam.post("/language", {"lang": "en"})
    assert row.price_minor == 123450 and field["value"] == "1234,50"


@pytest.mark.parametrize("wrong", [
    {"name": "", "currency": "EURO", "interval_count": "0", "interval": "Fortnight", "trial_days": "-3", "tax_category": "gold",
     "license_limit": "-1", "license_for": "forever"},
    {"name": "x" * 201, "amount": "12,50", "interval_count": "1.5", "description": "x" * 5001},
    {"amount": "12.505", "kind": "barter"}, {"currency": "UYW"}, {"amount": "-1"}, {"amount": "free"},
])
def test_bad_input_keeps_what_was_typed_and_makes_nothing(shop: Shop, wrong: dict[str, str]) -> None:
    before = len(shop.rows(Product))
    shop.sam.get(shop.at("/products/new"))
    sent = {**PLAN, "name": "Never <made>", **wrong}
    page = shop.sam.submit("/products/new", **sent, expect=422)
    assert {one["id"].removesuffix("-error") for one in page.soup.select("p.err")} == set(wrong)
    assert {one["href"].removeprefix("#") for one in page.soup.select("#errors a")} == set(wrong)
    kept = {one["name"]: one.get("value", "") for one in page.soup.find_all("input") if one.get("name")}
    for name in ("name", "amount", "currency", "interval_count", "trial_days", "license_limit", "license_for"):
        assert kept[name] == sent[name]
    assert page.soup.find("textarea", id="description").get_text() == sent["description"]
    assert len(shop.rows(Product)) == before


def test_bad_edits_change_nothing(shop: Shop) -> None:
    row = made(shop, name="Stays")
    shop.sam.get(shop.at(f"/products/{row.id}"))
    page = shop.save(f"/products/{row.id}", name="Goes", amount="a lot", expect=422)
    assert page.soup.find("input", id="name")["value"] == "Goes" and page.soup.find("input", id="amount")["value"] == "a lot"
    assert (shop.row(Product, Product.id == row.id).name, shop.row(Product, Product.id == row.id).price_minor) == ("Stays", 123450)
    shop.sam.get(shop.at(f"/products/{shop.products['birch.plan']}"), expect=404)
    shop.sam.post(shop.at(f"/products/{shop.products['birch.plan']}/archive"), expect=404)
    assert shop.row(Product, Product.id == shop.products["birch.plan"]).archived_at is None


def test_add_ons_and_the_plans_they_come_with(shop: Shop) -> None:
    shop.sam.get(shop.at("/addons/new"))
    page = shop.sam.submit("/addons/new", name="More room", amount="3,50", expect=422)
    assert page.soup.find("input", id="amount")["value"] == "3,50" and shop.row(Addon) is None
    shop.sam.submit("/addons/new", name="More room", amount="3.50")
    row = shop.row(Addon, Addon.name == "More room")
    assert (row.price_minor, row.currency) == (350, "EUR")
    plan = made(shop, name="With room", addons=row.id)
    assert plan.addons == [row.id]
    assert shop.sam.page.soup.find("input", {"value": row.id}).has_attr("checked")
    shop.sam.get(shop.at(f"/addons/{row.id}"))
    assert "Saved." in shop.save(f"/addons/{row.id}", amount="4").text and shop.row(Addon, Addon.id == row.id).price_minor == 400
    assert "is not sold any more" in shop.sam.submit("/archive").text
    assert "More room" in shop.sam.get(shop.at("/products?state=archived")).text
    assert "More room" in shop.sam.get(shop.at(f"/products/{plan.id}")).text  # it is ticked there, so it still stands there
    assert "More room" not in shop.sam.get(shop.at("/products/new")).text
    yen = made(shop, name="Another currency", currency="JPY", amount="900", addons=row.id)
    assert yen.addons == []


def test_a_collection_is_made_ordered_and_archived(shop: Shop) -> None:
    small, large = made(shop, name="Small plan", amount="5"), made(shop, name="Large plan", amount="50")
    shop.sam.get(shop.at("/collections/new"))
    page = shop.sam.submit("/collections/new", name="Sizes <3", description="What <fits>", expect=422)
    assert page.soup.find("input", id="name")["value"] == "Sizes <3" and "Choose one plan or more." in page.text
    assert shop.row(Collection, Collection.name == "Sizes <3") is None
    page = shop.sam.submit("/collections/new", products=[large.id, small.id])
    row = shop.row(Collection, Collection.name == "Sizes <3")
    names = lambda: [one.get_text() for one in shop.sam.page.soup.select("#plans ~ ol h3, section ol h3")]  # noqa: E731
    assert page.h1 == "Sizes <3" and names() == ["Small plan", "Large plan"]
    items = {one.product_id: one.id for one in shop.rows(CollectionItem, CollectionItem.collection_id == row.id)}

    shop.sam.submit(f"/items/{items[large.id]}/place", to="up")
    assert names() == ["Large plan", "Small plan"]
    shop.sam.post(shop.at(f"/collections/{row.id}/items/{items[large.id]}/place"), {"to": "up"})
    assert names() == ["Large plan", "Small plan"]  # it is the first already
    assert "Nobody can change to it now" in shop.sam.submit(f"/items/{items[small.id]}/offer").text and "not offered" in shop.sam.page.text
    third = made(shop, name="Third plan", amount="70")
    shop.sam.get(shop.at(f"/collections/{row.id}"))
    refused = shop.save(f"/collections/{row.id}/items", product_id=shop.products["birch.plan"], expect=422)
    assert "Choose a plan of the list." in refused.text
    shop.save(f"/collections/{row.id}/items", product_id=third.id)
    assert names() == ["Large plan", "Small plan", "Third plan"]
    shop.sam.submit(f"/items/{items[small.id]}/removal")
    shop.sam.submit(f"/items/{items[large.id]}/removal")
    assert "The last plan stays." in shop.sam.submit("/removal", expect=422).text and names() == ["Third plan"]

    page = shop.save(f"/collections/{row.id}", name="", effective_on_upgrade="never", expect=422)
    assert page.soup.find(id="name-error") and page.soup.find(id="effective_on_upgrade-error")
    shop.save(f"/collections/{row.id}", name="Sizes", effective_on_upgrade="next_billing_date")
    kept = shop.row(Collection, Collection.id == row.id)
    assert (kept.name, kept.effective_on_upgrade, kept.proration_on_upgrade) == ("Sizes", "next_billing_date", None)
    assert "is archived" in shop.sam.submit("/archive").text
    assert "is in use again" in shop.sam.submit("/return").text
    theirs = shop.row(Collection, Collection.business_id == shop.birch)
    shop.sam.get(shop.at(f"/collections/{theirs.id}"), expect=404)


def test_plans_stand_in_groups_as_customers_see_them(shop: Shop, ada: Visitor) -> None:
    mine = shop.row(Collection, Collection.business_id == shop.acorn, Collection.name == "Plans")
    url, more = f"/collections/{mine.id}", shop.products["acorn.more"]
    shop.sam.get(shop.at(url))
    assert "characters" in shop.save(f"{url}/groups", group=" ", expect=422).soup.find(id="group-error").get_text()
    page = shop.save(f"{url}/groups", group="For <teams>")
    assert [one.get_text() for one in page.soup.select(".part h3")] == ["Without a group", "For <teams>"] and "No plan yet." in page.text
    first, teams = (one["aria-labelledby"].removeprefix("g-") for one in page.soup.select("ol[aria-labelledby^=g-]"))
    shop.save(f"{url}/items", product_id=more, group_id=teams)
    shop.sam.submit(f"{url}/groups/{first}", **{f"group-{first}": "For <teams>"}, expect=422)
    assert "of this name already" in shop.sam.page.soup.find(id=f"group-{first}-error").get_text()
    shop.save(f"{url}/groups/{first}", **{f"group-{first}": "For one"})
    shop.sam.submit(f"{url}/groups/{teams}/place", to="up")
    shown = ada.get(f"/subscriptions/{shop.ada_at_acorn.subscription_id}/plan-change")
    assert [one.get_text() for one in shown.soup.select(".choices .group")] == ["For <teams>", "For one"]
    assert [one["value"] for one in shown.soup.select("input[name=product_id]")] == [more, shop.products["acorn.plan"]]
    shop.sam.submit(f"{url}/groups/{teams}/offer")
    assert "For <teams>" not in ada.get(ada.path).text and "not offered" in shop.sam.page.text
    shop.sam.post(shop.at(f"{url}/groups/{teams}/removal"), expect=422)
    assert "There are plans in it." in shop.sam.page.text
    for _ in range(2):
        shop.save(f"{url}/items", product_id=more, group_id=first)
    assert [one.position for one in shop.rows(CollectionItem, CollectionItem.group_id == first, CollectionItem.product_id == more)] == [1]
    assert "The group is gone." in shop.sam.submit(f"{url}/groups/{teams}/removal").text
    assert not shop.rows(CollectionGroup, CollectionGroup.id == teams)
    shop.sam.post(shop.at(f"{url}/items"), {"product_id": more, "group_id": teams}, expect=404)
    theirs = shop.row(CollectionGroup, CollectionGroup.business_id == shop.birch)
    for what in ("", "/place", "/offer", "/removal"):
        shop.sam.post(shop.at(f"{url}/groups/{theirs.id}{what}"), {f"group-{theirs.id}": "x"}, expect=404)


def test_the_order_is_the_customers_order(shop: Shop, ada: Visitor) -> None:
    """Ada's plans stand in Acorn's own collection; she sees them as Sam put them."""
    mine = shop.row(Collection, Collection.business_id == shop.acorn, Collection.name == "Plans")
    page = ada.get(f"/subscriptions/{shop.ada_at_acorn.subscription_id}/plan-change")
    assert page.text.index("Acorn Team") < page.text.index("Acorn Max")
    items = {one.product_id: one.id for one in shop.rows(CollectionItem, CollectionItem.collection_id == mine.id)}
    shop.sam.get(shop.at(f"/collections/{mine.id}"))
    shop.sam.submit(f"/items/{items[shop.products['acorn.more']]}/place", to="up")
    options = [one["value"] for one in ada.get(ada.path).soup.select("input[name=product_id]")]
    assert options.index(shop.products["acorn.more"]) == 0
    shop.sam.submit(f"/items/{items[shop.products['acorn.more']]}/offer")
    assert "Acorn Max" not in ada.get(ada.path).text
