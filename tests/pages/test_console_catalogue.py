"""Staff manage the catalog: prices in the reader's format, invalid input that changes nothing, and collections ordered by buttons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from billing.model.catalogue import Addon, Collection, CollectionGroup, CollectionItem, Product
from billing.subscriptions.end_now import cancel_now
from billing.subscriptions.restart import RestartOrder, restart
from billing.subscriptions.restart_offer import check, offer
from core.scope import customer_of, system
from tests.pages.console_setup import Site
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both

PLAN = {
    "name": "Acorn Solo",
    "kind": "recurring_price",
    "amount": "1,234.50",
    "currency": "eur",
    "interval": "Month",
    "interval_count": "3",
    "trial_days": "14",
    "tax_category": "saas",
    "license_keys": "1",
    "license_limit": "3",
    "license_for": "2",
    "license_interval": "Year",
    "tax_inclusive": "1",
    "description": "For one <person>",
}


@pytest.fixture(scope="module")
def site(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    urls, drop = sqlite.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("catalogue"))
    yield item
    item.services.database.dispose()
    drop()


@pytest.fixture(scope="module")
def ada(site: Site) -> Visitor:
    return site.customer(site.ADA)


def made(site: Site, **typed: str) -> Product:
    site.sam.get(site.at("/products/new"))
    site.sam.submit("/products/new", **{**PLAN, **typed})
    return site.row(Product, Product.name == typed.get("name", PLAN["name"]))


def test_a_plan_is_created_edited_archived_and_restored(site: Site) -> None:
    row = made(site)
    assert site.sam.page.h1 == "Acorn Solo" and "is on sale" in site.sam.page.text and "€1,234.50 every 3 months" in site.sam.page.text
    assert (row.price_minor, row.currency, row.interval, row.interval_count, row.trial_days) == (123450, "EUR", "Month", 3, 14)
    assert (row.tax_inclusive, row.license_key_enabled, row.license_key_limit) == (True, True, 3)
    assert row.license_key_duration == {"count": 2, "interval": "Year"} and row.description == "For one <person>"
    url = site.at(f"/products/{row.id}")
    page = site.save(f"/products/{row.id}", name="Acorn One", amount="20")
    assert "The new price is €20.00" in page.text and page.h1 == "Acorn One"
    assert site.row(Product, Product.id == row.id).interval_count == 3
    page = site.sam.submit("/archive")
    assert "is no longer on sale" in page.text and "Archived" in page.text
    assert "Acorn One" not in site.sam.get(site.at("/products")).text
    assert "Acorn One" in site.sam.get(site.at("/products?state=archived")).text
    site.sam.get(url)
    assert "is on sale again" in site.sam.submit("/return").text


def test_one_time_prices_are_offered_and_usage_based_prices_are_not(site: Site) -> None:
    once = made(site, name="A poster", kind="one_time_price", amount="7", license_keys="", license_limit="", license_for="")
    assert (once.price_type, once.interval, once.price_minor, once.license_key_duration) == ("one_time_price", None, 700, None)
    form = site.sam.get(site.at("/products/new"))
    assert [entry["value"] for entry in form.soup.select("#kind option")] == ["one_time_price", "recurring_price"]
    refused = site.save("/products/new", expect=422, name="By use", kind="usage_based_price", currency="EUR", amount="0")
    assert "Choose an option from the list." in refused.text and not site.rows(Product, Product.name == "By use")
    yen = made(site, name="In yen", currency="JPY", amount="1,500")
    assert (yen.currency, yen.price_minor) == ("JPY", 1500)
    nowhere = made(site, name="Keys that wait", license_limit="0")
    site.sam.get(site.at(f"/products/{nowhere.id}"))
    site.save(f"/products/{nowhere.id}", name="Keys that wait on")
    assert site.row(Product, Product.id == nowhere.id).license_key_limit == 0


def test_a_price_is_read_in_the_readers_language(site: Site) -> None:
    site.sam.post("/language", {"lang": "de"})
    row = made(site, name="Auf Deutsch", amount="1.234,5")
    field = site.sam.get(site.at(f"/products/{row.id}")).soup.find("input", id="amount")
    site.sam.post("/language", {"lang": "en"})
    assert row.price_minor == 123450 and field["value"] == "1234,50"


@pytest.mark.parametrize(
    "wrong",
    [
        {
            "name": "",
            "currency": "EURO",
            "interval_count": "0",
            "interval": "Fortnight",
            "trial_days": "-3",
            "tax_category": "gold",
            "license_limit": "-1",
            "license_for": "forever",
        },
        {"name": "x" * 201, "amount": "12,50", "interval_count": "1.5", "description": "x" * 5001},
        {"amount": "12.505", "kind": "barter"},
        {"currency": "UYW"},
        {"amount": "-1"},
        {"amount": "free"},
    ],
)
def test_invalid_products_keep_the_input_and_create_nothing(site: Site, wrong: dict[str, str]) -> None:
    before = len(site.rows(Product))
    site.sam.get(site.at("/products/new"))
    sent = {**PLAN, "name": "Never <made>", **wrong}
    page = site.sam.submit("/products/new", **sent, expect=422)
    assert {row["id"].removesuffix("-error") for row in page.soup.select("p.err")} == set(wrong)
    assert {row["href"].removeprefix("#") for row in page.soup.select("#errors a")} == set(wrong)
    kept = {item["name"]: item.get("value", "") for item in page.soup.find_all("input") if item.get("name")}
    for name in ("name", "amount", "currency", "interval_count", "trial_days", "license_limit", "license_for"):
        assert kept[name] == sent[name]
    assert page.soup.find("textarea", id="description").get_text() == sent["description"]
    assert len(site.rows(Product)) == before


def test_invalid_edits_change_nothing(site: Site) -> None:
    row = made(site, name="Stays")
    site.sam.get(site.at(f"/products/{row.id}"))
    page = site.save(f"/products/{row.id}", name="Goes", amount="a lot", expect=422)
    assert page.soup.find("input", id="name")["value"] == "Goes" and page.soup.find("input", id="amount")["value"] == "a lot"
    assert (site.row(Product, Product.id == row.id).name, site.row(Product, Product.id == row.id).price_minor) == ("Stays", 123450)
    site.sam.get(site.at(f"/products/{site.products['birch.plan']}"), expect=404)
    site.sam.post(site.at(f"/products/{site.products['birch.plan']}/archive"), expect=404)
    assert site.row(Product, Product.id == site.products["birch.plan"]).archived_at is None


def test_add_ons_are_attached_to_plans(site: Site) -> None:
    site.sam.get(site.at("/addons/new"))
    page = site.sam.submit("/addons/new", name="More room", amount="3,50", expect=422)
    assert page.soup.find("input", id="amount")["value"] == "3,50" and site.row(Addon) is None
    site.sam.submit("/addons/new", name="More room", amount="3.50")
    row = site.row(Addon, Addon.name == "More room")
    assert (row.price_minor, row.currency) == (350, "EUR")
    plan = made(site, name="With room", addons=row.id)
    assert plan.addons == [row.id]
    assert site.sam.page.soup.find("input", {"value": row.id}).has_attr("checked")
    site.sam.get(site.at(f"/addons/{row.id}"))
    assert "Saved." in site.save(f"/addons/{row.id}", amount="4").text and site.row(Addon, Addon.id == row.id).price_minor == 400
    assert "is no longer on sale" in site.sam.submit("/archive").text
    assert "More room" in site.sam.get(site.at("/products?state=archived")).text
    assert "More room" in site.sam.get(site.at(f"/products/{plan.id}")).text  # it is selected there, so it is still listed
    assert "More room" not in site.sam.get(site.at("/products/new")).text
    yen = made(site, name="Another currency", currency="JPY", amount="900", addons=row.id)
    assert yen.addons == []


def test_a_collection_is_created_ordered_and_archived(site: Site) -> None:
    small, large = made(site, name="Small plan", amount="5"), made(site, name="Large plan", amount="50")
    site.sam.get(site.at("/collections/new"))
    page = site.sam.submit("/collections/new", name="Sizes <3", description="What <fits>", expect=422)
    assert page.soup.find("input", id="name")["value"] == "Sizes <3" and "Choose at least one plan." in page.text
    assert site.row(Collection, Collection.name == "Sizes <3") is None
    page = site.sam.submit("/collections/new", products=[large.id, small.id])
    row = site.row(Collection, Collection.name == "Sizes <3")
    names = lambda: [entry.get_text() for entry in site.sam.page.soup.select("#plans ~ ol h3, section ol h3")]  # noqa: E731
    assert page.h1 == "Sizes <3" and names() == ["Small plan", "Large plan"]
    items = {entry.product_id: entry.id for entry in site.rows(CollectionItem, CollectionItem.collection_id == row.id)}

    site.sam.submit(f"/items/{items[large.id]}/position", to="up")
    assert names() == ["Large plan", "Small plan"]
    site.sam.post(site.at(f"/collections/{row.id}/items/{items[large.id]}/position"), {"to": "up"})
    assert names() == ["Large plan", "Small plan"]  # it is the first already
    assert (
        "Customers can no longer switch to this plan" in site.sam.submit(f"/items/{items[small.id]}/offer").text
        and "hidden" in site.sam.page.text
    )
    third = made(site, name="Third plan", amount="70")
    site.sam.get(site.at(f"/collections/{row.id}"))
    refused = site.save(f"/collections/{row.id}/items", product_id=site.products["birch.plan"], expect=422)
    assert "Choose a plan from the list." in refused.text
    site.save(f"/collections/{row.id}/items", product_id=third.id)
    assert names() == ["Large plan", "Small plan", "Third plan"]
    site.sam.submit(f"/items/{items[small.id]}/removal")
    site.sam.submit(f"/items/{items[large.id]}/removal")
    assert "You cannot remove the last plan." in site.sam.submit("/removal", expect=422).text and names() == ["Third plan"]

    page = site.save(f"/collections/{row.id}", name="", effective_on_upgrade="never", expect=422)
    assert page.soup.find(id="name-error") and page.soup.find(id="effective_on_upgrade-error")
    site.save(f"/collections/{row.id}", name="Sizes", effective_on_upgrade="next_billing_date")
    kept = site.row(Collection, Collection.id == row.id)
    assert (kept.name, kept.effective_on_upgrade, kept.proration_on_upgrade) == ("Sizes", "next_billing_date", None)
    assert "is archived" in site.sam.submit("/archive").text
    assert "is in use again" in site.sam.submit("/return").text
    theirs = site.row(Collection, Collection.business_id == site.birch)
    site.sam.get(site.at(f"/collections/{theirs.id}"), expect=404)


def test_plans_are_grouped_as_customers_see_them(site: Site, ada: Visitor) -> None:
    mine = site.row(Collection, Collection.business_id == site.acorn, Collection.name == "Plans")
    url, more = f"/collections/{mine.id}", site.products["acorn.more"]
    site.sam.get(site.at(url))
    assert "characters" in site.save(f"{url}/groups", group=" ", expect=422).soup.find(id="group-error").get_text()
    page = site.save(f"{url}/groups", group="For <teams>")
    assert [entry.get_text() for entry in page.soup.select(".part h3")] == ["No group", "For <teams>"] and "No plans yet." in page.text
    first, teams = (entry["aria-labelledby"].removeprefix("g-") for entry in page.soup.select("ol[aria-labelledby^=g-]"))
    site.save(f"{url}/items", product_id=more, group_id=teams)
    site.sam.submit(f"{url}/groups/{first}", **{f"group-{first}": "For <teams>"}, expect=422)
    assert "with this name already exists" in site.sam.page.soup.find(id=f"group-{first}-error").get_text()
    site.save(f"{url}/groups/{first}", **{f"group-{first}": "For one"})
    site.sam.submit(f"{url}/groups/{teams}/position", to="up")
    shown = ada.get(f"/subscriptions/{site.ada_at_acorn.subscription_id}/plan-change")
    assert [entry.get_text() for entry in shown.soup.select(".choices .group")] == ["For <teams>", "For one"]
    assert [entry["value"] for entry in shown.soup.select("input[name=product_id]")] == [more, site.products["acorn.plan"]]
    site.sam.submit(f"{url}/groups/{teams}/offer")
    assert "For <teams>" not in ada.get(ada.path).text and "hidden" in site.sam.page.text
    site.sam.post(site.at(f"{url}/groups/{teams}/removal"), expect=422)
    assert "This group contains plans." in site.sam.page.text
    for _ in range(2):
        site.save(f"{url}/items", product_id=more, group_id=first)
    assert [entry.position for entry in site.rows(CollectionItem, CollectionItem.group_id == first, CollectionItem.product_id == more)] == [
        1
    ]
    assert "Group removed." in site.sam.submit(f"{url}/groups/{teams}/removal").text
    assert not site.rows(CollectionGroup, CollectionGroup.id == teams)
    site.sam.post(site.at(f"{url}/items"), {"product_id": more, "group_id": teams}, expect=404)
    theirs = site.row(CollectionGroup, CollectionGroup.business_id == site.birch)
    for what in ("", "/position", "/offer", "/removal"):
        site.sam.post(site.at(f"{url}/groups/{theirs.id}{what}"), {f"group-{theirs.id}": "x"}, expect=404)


def test_customers_see_the_order_that_staff_set(site: Site, ada: Visitor) -> None:
    """Ada's plans are in Acorn's collection. She sees them in the order that Sam set."""
    mine = site.row(Collection, Collection.business_id == site.acorn, Collection.name == "Plans")
    page = ada.get(f"/subscriptions/{site.ada_at_acorn.subscription_id}/plan-change")
    assert page.text.index("Acorn Team") < page.text.index("Acorn Max")
    items = {entry.product_id: entry.id for entry in site.rows(CollectionItem, CollectionItem.collection_id == mine.id)}
    site.sam.get(site.at(f"/collections/{mine.id}"))
    site.sam.submit(f"/items/{items[site.products['acorn.more']]}/position", to="up")
    options = [entry["value"] for entry in ada.get(ada.path).soup.select("input[name=product_id]")]
    assert options.index(site.products["acorn.more"]) == 0
    site.sam.submit(f"/items/{items[site.products['acorn.more']]}/offer")
    assert "Acorn Max" not in ada.get(ada.path).text


def test_staff_name_a_successor_and_see_the_restart_at_both_rows(site: Site) -> None:
    old, new = made(site, name="Old plan"), made(site, name="New plan", license_keys="", trial_days="0")
    edited = {**PLAN, "name": "Old plan", "term": "until_cancelled"}
    site.sam.get(site.at(f"/products/{old.id}"))
    site.sam.post(site.at(f"/products/{old.id}"), {**edited, "successor": new.id})
    assert site.row(Product, Product.id == old.id).successor_id == new.id
    site.sam.get(site.at(f"/products/{old.id}"))
    assert site.sam.page.soup.find("select", {"name": "successor"}).find("option", selected=True)["value"] == new.id
    stranger = site.row(Product, Product.business_id != site.acorn)
    site.sam.post(site.at(f"/products/{old.id}"), {**edited, "successor": stranger.id}, expect=404)
    assert site.row(Product, Product.id == old.id).successor_id == new.id
    buyer = site.ada_at_acorn
    scope = customer_of(buyer.business_id, buyer.customer_id)
    cancel_now(site.services.processor, scope, buyer.subscription_id)
    with site.services.database.open(system(site.acorn)) as db:
        digest = offer(db, check(db, buyer.subscription_id)).digest
    done = restart(site.services.processor, scope, buyer.subscription_id, RestartOrder(digest, buyer.method_id))
    first, second = (site.at(f"/sales/subscriptions/{id}") for id in (buyer.subscription_id, done.subscription_id))
    page = site.sam.get(first)
    assert page.soup.find("a", href=second) and "I cancel Acorn Team with Acorn Notes with immediate effect." in page.text
    assert site.sam.get(second).soup.find("a", href=first)
