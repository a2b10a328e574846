"""Rules, details, brand and closing: what staff change, customers see on their next page; what is hostile or wrong changes nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select

from billing.commands.customers import create_customer
from billing.invoices import Invoice
from billing.parties import Business
from billing.pictures import Picture
from core.scope import system
from tenants.keys import new_key
from tests.pages.staffed import Shop
from tests.visitor import Visitor


@pytest.fixture(scope="module")
def shop(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    urls, drop = sqlite.fresh()
    one = Shop.open(urls, tmp_path_factory.mktemp("settings"))
    yield one
    one.house.database.dispose()
    drop()


@pytest.fixture(scope="module")
def ada(shop: Shop) -> Visitor:
    return shop.customer(shop.ADA)


def acorn(shop: Shop) -> Business:
    return shop.row(Business, Business.business_id == shop.acorn)


def link_back_to(shop: Shop, url: str) -> int:
    """What Acorn's program is answered when it asks for a link into the portal that leads back to `url`."""
    with shop.app.app_context(), shop.house.database.open(system(shop.acorn), write=True) as db:
        _row, secret = new_key(db, shop.acorn, "A program")
    return shop.app.test_client().post(
        f"/api/customers/{shop.ada_at_acorn.customer_id}/customer-portal/session", query_string={"return_url": url},
        headers={"Authorization": f"Bearer {secret}"}).status_code


def picture(kind: str = "PNG", side: int = 300) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side // 2), "#5a2e14").save(out, kind)
    return out.getvalue()


def test_rules_hold_at_once(shop: Shop, ada: Visitor) -> None:
    url = f"/subscriptions/{shop.ada_at_acorn.subscription_id}"
    assert f"{url}/cancellation" in ada.get(url).body.decode()
    shop.sam.get(shop.at("/settings"))
    page = shop.save("/settings", plan_change=[], cancel=[], pause=[], grace_days="7", grace_action="cancel", retries="a_month",
                     proration_on_upgrade="full_immediately", invoice_links="open", return_urls="https://a.example/x\n\nhttps://b.example",
                     portal_return_url="https://app.acorn.example/account")
    assert "Saved." in page.text
    assert acorn(shop).settings == {
        "plan_change": False, "cancel": False, "pause": False, "grace_days": 7, "grace_action": "cancel",
        "retry_schedule_hours": [12, 24, 48, 72, 96, 120, 168, 168], "proration_on_upgrade": "full_immediately", "invoice_links": "open",
        "return_urls": ["https://a.example/x", "https://b.example"], "portal_return_url": "https://app.acorn.example/account",
    }
    body = ada.get(url).body.decode()
    assert f"{url}/cancellation" not in body and f"{url}/plan-change" not in body and f"{url}/pause" not in body
    assert ada.get(f"/business/{shop.acorn}/").soup.find("a", href="https://app.acorn.example/account")
    assert [one for one in shop.sam.letters(shop.SAM) if "changed the rules of your portal: what customers may do." in one.text]
    assert [link_back_to(shop, url) for url in ("https://a.example/x/y", "https://a.example/z", "https://c.example/")] == [200, 422, 422]
    shop.sam.get(shop.at("/settings"))
    assert "Nothing was different." in shop.save("/settings").text
    shop.save("/settings", plan_change="1", cancel="1", pause="1", portal_return_url="", return_urls="")
    assert f"{url}/cancellation" in ada.get(url).body.decode()


def test_a_schedule_set_by_a_program_stays(shop: Shop) -> None:
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        row = db.scalar(select(Business))
        row.settings = {**row.settings, "retry_schedule_hours": [1, 2]}
    assert "after 1, 2 hours" in shop.sam.get(shop.at("/settings")).text
    shop.save("/settings", grace_days="0")
    assert acorn(shop).settings["retry_schedule_hours"] == [1, 2]


@pytest.mark.parametrize("wrong", [
    {"grace_days": "31", "grace_action": "shoot", "effective_on_upgrade": "", "return_urls": "http://a.example", "portal_return_url": "https:///a"},
    {"grace_days": "-1", "proration_on_upgrade": "do_not_bill", "return_urls": "https://ok.example\njavascript:alert(1)"},
    {"grace_days": "soon", "retries": "always", "return_urls": "https://a@b.example", "portal_return_url": "http://a.example"},
    {"invoice_links": "maybe", "on_payment_failure": "x", "return_urls": "//a.example"},
    {"return_urls": "https://a.example\\@b.example"},
    {"return_urls": "\n".join(f"https://{n}.x" for n in range(21))},
])
def test_bad_rules_change_nothing(shop: Shop, wrong: dict[str, str]) -> None:
    before = acorn(shop).settings
    shop.sam.get(shop.at("/settings"))
    page = shop.save("/settings", expect=422, **{"pause": [], **wrong})
    assert acorn(shop).settings == before and not page.soup.find("input", {"name": "pause"}).has_attr("checked")
    assert {one["id"].removesuffix("-error") for one in page.soup.select("p.err")} == set(wrong)
    for field, typed in wrong.items():
        kept = page.soup.find(id=field)
        if kept.name == "input":
            assert kept["value"] == typed
        if kept.name == "textarea":
            assert kept.get_text().split() == typed.split()


def test_details_are_named_on_pages_and_paper(shop: Shop, ada: Visitor) -> None:
    shop.sam.get(shop.at("/settings/details"))
    page = shop.save("/settings/details", name="Acorn & <b>Sons</b>", legal_name="Acorn Notes Ltd", support_email="Help@Acorn.example",
                     city="Bath", zone="Europe/Paris", invoice_prefix="an-", tax_id="GB 980 7806 84")
    assert "Saved." in page.text
    row = acorn(shop)
    assert (row.name, row.address["city"], row.zone, row.invoice_prefix, row.tax_id) == (
        "Acorn & <b>Sons</b>", "Bath", "Europe/Paris", "AN-", "GB980780684")
    body = ada.get(f"/business/{shop.acorn}/").body.decode()
    assert "Acorn &amp; &lt;b&gt;Sons&lt;/b&gt;" in body and "<b>Sons" not in body and "Bath" in body
    shop.sam.get(shop.at("/settings/details"))
    shop.save("/settings/details", name="Acorn Notes", zone="Europe/London", invoice_prefix="ACO")


@pytest.mark.parametrize("wrong", [
    {"name": "", "legal_name": " ", "country": "XX", "support_email": "not one", "invoice_prefix": "",
     "zone": "Mars/Olympus", "street": "x" * 201},
    {"name": "x" * 201, "tax_id": "GB 12", "invoice_prefix": "A/../B", "zone": "../../etc/passwd"},
])
def test_bad_details_change_nothing(shop: Shop, wrong: dict[str, str]) -> None:
    before = {name: getattr(acorn(shop), name) for name in ("name", "legal_name", "address", "tax_id", "zone", "invoice_prefix")}
    shop.sam.get(shop.at("/settings/details"))
    page = shop.save("/settings/details", expect=422, **{"city": "<Somewhere>", **wrong})
    assert page.soup.find(id="city")["value"] == "<Somewhere>"
    assert {one["id"].removesuffix("-error") for one in page.soup.select("p.err")} == set(wrong)
    for field, typed in wrong.items():
        kept = page.soup.find(id=field)
        assert kept.name == "select" or kept.get("value", "").strip() == typed.strip()
    assert before == {name: getattr(acorn(shop), name) for name in before}


def test_the_portal_speaks_what_its_business_offers(shop: Shop, ada: Visitor) -> None:
    def lang(who: Visitor, path: str) -> tuple[Any, list[Any]]:
        soup = who.get(path).soup
        return soup.html["lang"], [one["value"] for one in soup.select("form[action='/language'] button")]

    shop.sam.get(shop.at("/settings/languages"))
    page = shop.save("/settings/languages", languages=["de", "it"], locale="de", preview="1")
    assert "Nothing is saved yet." in page.text and acorn(shop).locale == "en"
    seen = shop.sam.get(page.soup.find("iframe")["src"])
    assert seen.soup.html["lang"] == "de" and "frame-ancestors 'self'" in seen.response.headers["Content-Security-Policy"]
    assert "Deutsch Italiano" in " ".join(seen.soup.find("footer").get_text(" ").split())
    shop.sam.get(shop.at("/settings/languages"))
    shop.save("/settings/languages", languages=["de", "it"], locale="de")
    assert (acorn(shop).settings["languages"], acorn(shop).locale) == (["de", "it"], "de")
    assert "The portal speaks: Deutsch, Italiano. For everybody else: Deutsch." in shop.sam.get(shop.at("/activity")).text
    assert "Nothing was different." in (shop.sam.get(shop.at("/settings/languages")), shop.save("/settings/languages"))[1].text
    door = f"/business/{shop.acorn}/"
    ada.post("/language", {"lang": "sv"})
    assert lang(ada, door) == ("de", ["de", "it"]) and lang(ada, "/")[0] == "sv" and len(lang(ada, "/")[1]) == 5
    assert lang(ada, f"/business/{shop.birch}/")[0] == "sv"
    assert [one["value"] for one in ada.get(f"{door}profile").soup.select("#language option")] == ["", "de", "it"]
    ada.submit("/profile", language="sv", expect=422)
    ada.post("/language", {"lang": "it"})
    assert lang(ada, door)[0] == "it"
    ada.client.delete_cookie("lang")
    nobody = Visitor(shop.app)
    nobody.headers["Accept-Language"] = "sv, it;q=0.5"
    assert lang(nobody, f"/login/{shop.acorn}") == ("it", ["de", "it"]) and lang(nobody, f"/login/{shop.birch}")[0] == "sv"
    fresh = shop.buyer("acorn", "new@acorn.example", "Somebody New")
    nobody.headers["Accept-Language"] = "ja"
    nobody.get(f"/login/{shop.acorn}")
    nobody.submit("login", email="new@acorn.example")
    written = [one.subject for one in nobody.letters("new@acorn.example")]
    assert {"[test] Acorn Team hat begonnen", "[test] Ihr Anmelde-Link für Acorn Notes"} <= set(written)
    assert {one["locale"] for one in shop.rows(Invoice.snapshot, Invoice.customer_id == fresh.customer_id)} == {"de"}
    shop.sam.get(shop.at("/settings/languages"))
    shop.save("/settings/languages", languages=["en", "de", "it", "pt_BR", "sv"], locale="en")
    assert acorn(shop).settings["languages"] == []  # all of them, those that come later too


@pytest.mark.parametrize(("chosen", "default", "field"), [
    ([], "en", "languages"), (["en", "tlh"], "en", "languages"), (["de"], "en", "locale"), (["en"], "../x", "locale"),
])
def test_bad_languages_change_nothing(shop: Shop, chosen: list[str], default: str, field: str) -> None:
    before = (acorn(shop).settings, acorn(shop).locale)
    shop.sam.get(shop.at("/settings/languages"))
    page = shop.save("/settings/languages", expect=422, languages=chosen, locale=default)
    assert page.soup.find(id=f"{field}-error") and before == (acorn(shop).settings, acorn(shop).locale)


def test_a_brand_is_tried_saved_and_seen_at_once(shop: Shop, ada: Visitor) -> None:
    shop.sam.get(shop.at("/brand"))
    page = shop.save("/brand", accent="#F4D63A", radius="12", font="serif", mode="dark", preview="1")
    frame = page.soup.find("iframe")["src"]
    assert "Nothing is saved yet." in page.text and acorn(shop).brand == {"accent": "#5a2e14", "radius": 2}
    shown = shop.sam.get(frame)
    assert "made darker by us" in shown.text and "Reads well" in shown.text
    assert "--brand:#f4d63a" in shown.body.decode() and "--radius:12px" in shown.body.decode()
    assert "frame-ancestors 'self'" in shown.response.headers["Content-Security-Policy"] and len(shown.soup.select(".preview")) == 1
    shop.sam.get(shop.at("/brand"))
    shop.save("/brand", accent="#F4D63A", radius="12", font="serif", mode="dark")
    assert acorn(shop).brand == {"accent": "#f4d63a", "radius": 12, "font": "serif", "mode": "dark"}
    page = ada.get(f"/business/{shop.acorn}/")
    assert "--brand:#f4d63a" in page.body.decode() and page.soup.html["data-theme"] == "dark"
    assert "data-theme" not in ada.get("/").soup.html.attrs and ada.page.soup.find("style") is None  # the unified door is nobody's brand


@pytest.mark.parametrize(("field", "typed"), [
    ("accent", "#12345"), ("accent", "#123456}body{display:none"), ("accent", "</style><script>alert(1)</script>"),
    ("accent", "url(//evil.example)"), ("radius", "99"), ("radius", "2;}"), ("font", "Comic Sans"), ("font", "system;}*{}"),
    ("mode", "<b>"),
])
def test_hostile_brands_change_nothing_and_inject_nothing(shop: Shop, ada: Visitor, field: str, typed: str) -> None:
    before = acorn(shop).brand
    shop.sam.get(shop.at("/brand"))
    page = shop.save("/brand", expect=422, **{field: typed})
    assert page.soup.find(id="errors") and acorn(shop).brand == before
    assert page.soup.find("input", id="accent")["value"] == (typed if field == "accent" else before["accent"])
    for shown in (shop.sam.get(page.soup.find("iframe")["src"]), ada.get(f"/business/{shop.acorn}/")):
        text = shown.body.decode()
        assert "alert(1)" not in text and "evil.example" not in text and "display:none" not in text and "Comic" not in text
        style = shown.soup.find("style").get_text()
        assert style.count("{") == style.count("}") == 1


def test_a_hostile_brand_that_is_stored_already_injects_nothing(shop: Shop, ada: Visitor) -> None:
    kept = acorn(shop).brand
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        db.scalar(select(Business)).brand = {"accent": "red}*{", "radius": "9", "font": 3, "mode": '"><script>', "logo": "../../x",
                                             "logo_url": "//evil"}
    for path in (f"/business/{shop.acorn}/", "/"):
        text = ada.get(path).body.decode()
        assert "evil" not in text and "red}" not in text and "../.." not in text and "<script>" not in text
    shop.sam.get(shop.at("/brand"))
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        db.scalar(select(Business)).brand = kept


def test_a_logo_is_drawn_anew_served_for_ever_and_taken_away(shop: Shop, ada: Visitor) -> None:
    shop.sam.get(shop.at("/brand"))
    page = shop.save("/brand/logo", logo=(io.BytesIO(picture() + b"<script>x</script>"), "a.png"))
    assert "This is your logo now." in page.text
    path = page.soup.select_one("img.big")["src"]
    nobody = Visitor(shop.app)
    answer = nobody.get(path).response
    assert answer.mimetype == "image/png" and answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and "Set-Cookie" not in answer.headers
    assert b"<script>" not in answer.data and Image.open(io.BytesIO(answer.data)).size == (256, 256)
    nobody.get(path, headers={"If-None-Match": answer.headers["ETag"]}, expect=304)
    for door in (f"/business/{shop.acorn}/", "/subscriptions"):
        assert ada.get(door).soup.find("img", src=path)
    shop.sam.get(shop.at("/brand"))
    shop.save("/brand/logo", logo=(io.BytesIO(picture("WEBP", 200)), "b.webp"))
    second = shop.sam.page.soup.select_one("img.big")["src"]
    assert second != path and nobody.get(path, expect=404) and nobody.get(second)
    nobody.get(second.replace(shop.acorn, shop.birch), expect=404)
    shop.save("/brand/logo/removal", confirmed="yes")
    assert nobody.get(second, expect=404) and not shop.rows(Picture) and "logo" not in acorn(shop).brand
    assert not ada.get(f"/business/{shop.acorn}/").soup.find("img", src=second)


@pytest.mark.parametrize("raw", [
    b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", picture()[:100], b"GIF89a", b"x" * (2 * 1024 * 1024 + 1),
])
def test_what_is_no_logo_changes_nothing(shop: Shop, raw: bytes) -> None:
    shop.sam.get(shop.at("/brand"))
    page = shop.save("/brand/logo", logo=(io.BytesIO(raw), "logo.svg"), expect=422)
    assert page.soup.find(id="logo-error") and not shop.rows(Picture)


def test_a_planted_business_shows_no_logo_to_a_person(shop: Shop) -> None:
    """Safety 3.2: Mallory never paid Acorn, which wrote down her address; at her own door Acorn has a name and nothing else."""
    shop.sam.get(shop.at("/brand"))
    shop.save("/brand/logo", logo=(io.BytesIO(picture()), "a.png"))
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        create_customer(db, shop.acorn, email=shop.MALLORY, name="Mallory Void")
    mallory = shop.customer(shop.MALLORY)
    page = mallory.get("/")
    assert "Acorn Notes" in page.text and "/logos/" not in page.body.decode()
    mallory.submit("acceptance")
    shop.sam.get(shop.at("/brand"))
    shop.save("/brand/logo/removal", confirmed="yes")


def test_roles_that_may_look_change_nothing(shop: Shop) -> None:
    looker = shop.staff("look@acorn.example", "read_only")
    for path in ("/settings", "/settings/details", "/settings/languages", "/brand"):
        page = looker.get(shop.at(path))
        assert not [one for one in page.soup.select("main form button.main")]
        looker.post(shop.at(path), {"name": "Taken", "accent": "#000000", "radius": "2", "font": "system", "mode": "light"}, expect=403)
    looker.get(shop.at("/settings/closing"), expect=403)
    assert acorn(shop).name == "Acorn Notes"


def test_closing_wants_the_name_and_says_what_happens(shop: Shop, ada: Visitor) -> None:
    page = shop.sam.get(shop.at("/settings/closing"))
    assert "no card is charged again" in page.text
    page = shop.save("/settings/closing", name="acorn", expect=422)
    assert page.soup.find("input", id="name")["value"] == "acorn" and acorn(shop).archived_at is None
    page = shop.save("/settings/closing", name=" Acorn  Notes ")
    assert acorn(shop).archived_at is not None and page.h1 == "Closed" and not page.soup.find("input", id="name")
    assert "has closed its shop" in ada.get(f"/business/{shop.acorn}/").text
