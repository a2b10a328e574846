"""Rules, details, brand and closing: changes by staff apply to the customers' next page. Invalid values change nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select

from billing.customers.customers import create_customer
from billing.model.invoices import Invoice
from billing.model.parties import Business
from billing.model.pictures import Picture
from core.scope import system
from tenants.api_keys import new_key
from tests.pages.console_setup import Site
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


@pytest.fixture(scope="module")
def site(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    urls, drop = sqlite.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("settings"))
    yield item
    item.services.database.dispose()
    drop()


@pytest.fixture(scope="module")
def ada(site: Site) -> Visitor:
    return site.customer(site.ADA)


def acorn(site: Site) -> Business:
    return site.row(Business, Business.business_id == site.acorn)


def link_back_to(site: Site, url: str) -> int:
    """Return the answer to Acorn's request for a portal link with this return URL."""
    with site.app.app_context(), site.services.database.open(system(site.acorn), write=True) as db:
        _row, secret = new_key(db, site.acorn, "A program")
    return (
        site.app.test_client()
        .post(
            f"/api/customers/{site.ada_at_acorn.customer_id}/customer-portal/session",
            query_string={"return_url": url},
            headers={"Authorization": f"Bearer {secret}"},
        )
        .status_code
    )


def picture(kind: str = "PNG", side: int = 300) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side // 2), "#5a2e14").save(out, kind)
    return out.getvalue()


def test_portal_rules_apply_at_once(site: Site, ada: Visitor) -> None:
    url = f"/subscriptions/{site.ada_at_acorn.subscription_id}"
    assert f"{url}/cancellation" in ada.get(url).body.decode()
    site.sam.get(site.at("/settings"))
    page = site.save(
        "/settings",
        plan_change=[],
        cancel=[],
        pause=[],
        grace_days="7",
        grace_action="cancel",
        retries="a_month",
        proration_on_upgrade="full_immediately",
        invoice_links="open",
        return_urls="https://a.example/x\n\nhttps://b.example",
        portal_return_url="https://app.acorn.example/account",
    )
    assert "Saved." in page.text
    assert acorn(site).settings == {
        "plan_change": False,
        "cancel": False,
        "pause": False,
        "grace_days": 7,
        "grace_action": "cancel",
        "retry_schedule_hours": [12, 24, 48, 72, 96, 120, 168, 168],
        "proration_on_upgrade": "full_immediately",
        "invoice_links": "open",
        "return_urls": ["https://a.example/x", "https://b.example"],
        "portal_return_url": "https://app.acorn.example/account",
    }
    body = ada.get(url).body.decode()
    assert f"{url}/cancellation" in body, "the rule of cancelling is for business customers"
    assert f"{url}/plan-change" not in body and f"{url}/pause" not in body
    assert ada.get(f"/business/{site.acorn}/").soup.find("a", href="https://app.acorn.example/account")
    assert [email for email in site.sam.emails(site.SAM) if "changed your portal settings: what customers can do." in email.text]
    assert [link_back_to(site, url) for url in ("https://a.example/x/y", "https://a.example/z", "https://c.example/")] == [200, 422, 422]
    site.sam.get(site.at("/settings"))
    assert "No changes." in site.save("/settings").text
    site.save("/settings", plan_change="1", cancel="1", pause="1", portal_return_url="", return_urls="")
    assert f"{url}/cancellation" in ada.get(url).body.decode()


def test_a_retry_schedule_set_by_the_api_is_kept(site: Site) -> None:
    with site.services.database.open(system(site.acorn), write=True) as db:
        row = db.scalar(select(Business))
        row.settings = {**row.settings, "retry_schedule_hours": [1, 2]}
    assert "after 1, 2 hours" in site.sam.get(site.at("/settings")).text
    site.save("/settings", grace_days="0")
    assert acorn(site).settings["retry_schedule_hours"] == [1, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {
            "grace_days": "31",
            "grace_action": "shoot",
            "effective_on_upgrade": "",
            "return_urls": "http://a.example",
            "portal_return_url": "https:///a",
        },
        {"grace_days": "-1", "proration_on_upgrade": "do_not_bill", "return_urls": "https://ok.example\njavascript:alert(1)"},
        {"grace_days": "soon", "retries": "always", "return_urls": "https://a@b.example", "portal_return_url": "http://a.example"},
        {"invoice_links": "maybe", "on_payment_failure": "x", "return_urls": "//a.example"},
        {"return_urls": "https://a.example\\@b.example"},
        {"return_urls": "\n".join(f"https://{n}.x" for n in range(21))},
    ],
)
def test_invalid_rules_change_nothing(site: Site, wrong: dict[str, str]) -> None:
    before = acorn(site).settings
    site.sam.get(site.at("/settings"))
    page = site.save("/settings", expect=422, **{"pause": [], **wrong})
    assert acorn(site).settings == before and not page.soup.find("input", {"name": "pause"}).has_attr("checked")
    assert {row["id"].removesuffix("-error") for row in page.soup.select("p.err")} == set(wrong)
    for field, typed in wrong.items():
        kept = page.soup.find(id=field)
        if kept.name == "input":
            assert kept["value"] == typed
        if kept.name == "textarea":
            assert kept.get_text().split() == typed.split()


def test_business_details_are_shown_on_pages_and_documents(site: Site, ada: Visitor) -> None:
    site.sam.get(site.at("/settings/details"))
    page = site.save(
        "/settings/details",
        name="Acorn & <b>Sons</b>",
        legal_name="Acorn Notes Ltd",
        support_email="Help@Acorn.example",
        city="Bath",
        zone="Europe/Paris",
        invoice_prefix="an-",
        tax_id="GB 980 7806 84",
    )
    assert "Saved." in page.text
    row = acorn(site)
    assert (row.name, row.address["city"], row.zone, row.invoice_prefix, row.tax_id) == (
        "Acorn & <b>Sons</b>",
        "Bath",
        "Europe/Paris",
        "AN-",
        "GB980780684",
    )
    body = ada.get(f"/business/{site.acorn}/").body.decode()
    assert "Acorn &amp; &lt;b&gt;Sons&lt;/b&gt;" in body and "<b>Sons" not in body and "Bath" in body
    site.sam.get(site.at("/settings/details"))
    site.save("/settings/details", name="Acorn Notes", zone="Europe/London", invoice_prefix="ACO")


@pytest.mark.parametrize(
    "wrong",
    [
        {
            "name": "",
            "legal_name": " ",
            "country": "XX",
            "support_email": "not one",
            "invoice_prefix": "",
            "zone": "Mars/Olympus",
            "street": "x" * 201,
        },
        {"name": "x" * 201, "tax_id": "GB 12", "invoice_prefix": "A/../B", "zone": "../../etc/passwd"},
    ],
)
def test_invalid_details_change_nothing(site: Site, wrong: dict[str, str]) -> None:
    before = {name: getattr(acorn(site), name) for name in ("name", "legal_name", "address", "tax_id", "zone", "invoice_prefix")}
    site.sam.get(site.at("/settings/details"))
    page = site.save("/settings/details", expect=422, **{"city": "<Somewhere>", **wrong})
    assert page.soup.find(id="city")["value"] == "<Somewhere>"
    assert {row["id"].removesuffix("-error") for row in page.soup.select("p.err")} == set(wrong)
    for field, typed in wrong.items():
        kept = page.soup.find(id=field)
        assert kept.name == "select" or kept.get("value", "").strip() == typed.strip()
    assert before == {name: getattr(acorn(site), name) for name in before}


def test_the_portal_uses_the_languages_of_its_business(site: Site, ada: Visitor) -> None:
    def lang(who: Visitor, path: str) -> tuple[Any, list[Any]]:
        soup = who.get(path).soup
        return soup.html["lang"], [row["value"] for row in soup.select("form[action='/language'] button")]

    site.sam.get(site.at("/settings/languages"))
    page = site.save("/settings/languages", languages=["de", "it"], locale="de", preview="1")
    assert "Nothing is saved yet." in page.text and acorn(site).locale == "en"
    seen = site.sam.get(page.soup.find("iframe")["src"])
    assert seen.soup.html["lang"] == "de" and "frame-ancestors 'self'" in seen.response.headers["Content-Security-Policy"]
    assert "Deutsch Italiano" in " ".join(seen.soup.find("footer").get_text(" ").split())
    site.sam.get(site.at("/settings/languages"))
    site.save("/settings/languages", languages=["de", "it"], locale="de")
    assert (acorn(site).settings["languages"], acorn(site).locale) == (["de", "it"], "de")
    assert "The portal languages were set to Deutsch, Italiano. The default is Deutsch." in site.sam.get(site.at("/activity")).text
    assert "No changes." in (site.sam.get(site.at("/settings/languages")), site.save("/settings/languages"))[1].text
    door = f"/business/{site.acorn}/"
    ada.post("/language", {"lang": "sv"})
    assert lang(ada, door) == ("de", ["de", "it"]) and lang(ada, "/")[0] == "sv" and len(lang(ada, "/")[1]) == 5
    assert lang(ada, f"/business/{site.birch}/")[0] == "sv"
    assert [row["value"] for row in ada.get(f"{door}profile").soup.select("#language option")] == ["", "de", "it"]
    ada.submit("/profile", language="sv", expect=422)
    ada.post("/language", {"lang": "it"})
    assert lang(ada, door)[0] == "it"
    ada.client.delete_cookie("lang")
    nobody = Visitor(site.app)
    nobody.headers["Accept-Language"] = "sv, it;q=0.5"
    assert lang(nobody, f"/login/{site.acorn}") == ("it", ["de", "it"]) and lang(nobody, f"/login/{site.birch}")[0] == "sv"
    fresh = site.buyer("acorn", "new@acorn.example", "Somebody New")
    nobody.headers["Accept-Language"] = "ja"
    nobody.get(f"/login/{site.acorn}")
    nobody.submit("login", email="new@acorn.example")
    written = [item.subject for item in nobody.emails("new@acorn.example")]
    assert {"[test] Acorn Team hat begonnen", "[test] Ihr Anmelde-Link für Acorn Notes"} <= set(written)
    assert {row["locale"] for row in site.rows(Invoice.snapshot, Invoice.customer_id == fresh.customer_id)} == {"de"}
    site.sam.get(site.at("/settings/languages"))
    site.save("/settings/languages", languages=["en", "de", "it", "pt_BR", "sv"], locale="en")
    assert acorn(site).settings["languages"] == []  # all of them, those that come later too


@pytest.mark.parametrize(
    ("chosen", "default", "field"),
    [([], "en", "languages"), (["en", "tlh"], "en", "languages"), (["de"], "en", "locale"), (["en"], "../x", "locale")],
)
def test_invalid_languages_change_nothing(site: Site, chosen: list[str], default: str, field: str) -> None:
    before = (acorn(site).settings, acorn(site).locale)
    site.sam.get(site.at("/settings/languages"))
    page = site.save("/settings/languages", expect=422, languages=chosen, locale=default)
    assert page.soup.find(id=f"{field}-error") and before == (acorn(site).settings, acorn(site).locale)


def test_a_brand_is_previewed_saved_and_shown(site: Site, ada: Visitor) -> None:
    site.sam.get(site.at("/brand"))
    page = site.save("/brand", accent="#F4D63A", radius="12", font="serif", mode="dark", preview="1")
    frame, dark, contrast = (frame["src"] for frame in page.soup.find_all("iframe"))
    assert "Nothing is saved yet." in page.text and acorn(site).brand == {"accent": "#5a2e14", "radius": 2}
    shown = site.sam.get(contrast)
    assert "darkened automatically" in shown.text and "Good contrast" in shown.text
    assert site.sam.get(dark).soup.html["data-theme"] == "dark"
    shown = site.sam.get(frame)
    assert "--brand:#f4d63a" in shown.body.decode() and "--radius:12px" in shown.body.decode()
    assert "frame-ancestors 'self'" in shown.response.headers["Content-Security-Policy"]
    assert shown.soup.html["data-theme"] == "dark" and shown.soup.select("header.top-brand") and shown.soup.select("li.row")
    site.sam.get(site.at("/brand"))
    site.save("/brand", accent="#F4D63A", radius="12", font="serif", mode="dark")
    assert acorn(site).brand == {"accent": "#f4d63a", "radius": 12, "font": "serif", "mode": "dark"}
    page = ada.get(f"/business/{site.acorn}/")
    assert "--brand:#f4d63a" in page.body.decode() and page.soup.html["data-theme"] == "dark"
    assert "data-theme" not in ada.get("/").soup.html.attrs and ada.page.soup.find("style") is None  # the unified door has no brand


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("accent", "#12345"),
        ("accent", "#123456}body{display:none"),
        ("accent", "</style><script>alert(1)</script>"),
        ("accent", "url(//evil.example)"),
        ("radius", "99"),
        ("radius", "2;}"),
        ("font", "Comic Sans"),
        ("font", "system;}*{}"),
        ("mode", "<b>"),
    ],
)
def test_hostile_brands_change_nothing_and_inject_nothing(site: Site, ada: Visitor, field: str, typed: str) -> None:
    before = acorn(site).brand
    site.sam.get(site.at("/brand"))
    page = site.save("/brand", expect=422, **{field: typed})
    assert page.soup.find(id="errors") and acorn(site).brand == before
    assert page.soup.find("input", id="accent")["value"] == (typed if field == "accent" else before["accent"])
    for shown in (site.sam.get(page.soup.find("iframe")["src"]), ada.get(f"/business/{site.acorn}/")):
        text = shown.body.decode()
        assert "alert(1)" not in text and "evil.example" not in text and "display:none" not in text and "Comic" not in text
        style = shown.soup.find("style").get_text()
        assert style.count("{") == style.count("}") == 1


def test_a_hostile_brand_that_is_stored_already_injects_nothing(site: Site, ada: Visitor) -> None:
    kept = acorn(site).brand
    with site.services.database.open(system(site.acorn), write=True) as db:
        db.scalar(select(Business)).brand = {
            "accent": "red}*{",
            "radius": "9",
            "font": 3,
            "mode": '"><script>',
            "logo": "../../x",
            "logo_url": "//evil",
        }
    for path in (f"/business/{site.acorn}/", "/"):
        text = ada.get(path).body.decode()
        assert "evil" not in text and "red}" not in text and "../.." not in text and "<script>" not in text
    site.sam.get(site.at("/brand"))
    with site.services.database.open(system(site.acorn), write=True) as db:
        db.scalar(select(Business)).brand = kept


def test_a_logo_is_reencoded_cached_and_removed(site: Site, ada: Visitor) -> None:
    site.sam.get(site.at("/brand"))
    page = site.save("/brand/logo", logo=(io.BytesIO(picture() + b"<script>x</script>"), "a.png"))
    assert "Logo saved." in page.text
    path = page.soup.select_one("img.big")["src"]
    nobody = Visitor(site.app)
    answer = nobody.get(path).response
    assert answer.mimetype == "image/png" and answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and "Set-Cookie" not in answer.headers
    assert b"<script>" not in answer.data and Image.open(io.BytesIO(answer.data)).size == (256, 256)
    nobody.get(path, headers={"If-None-Match": answer.headers["ETag"]}, expect=304)
    for door in (f"/business/{site.acorn}/", "/subscriptions"):
        assert ada.get(door).soup.find("img", src=path)
    site.sam.get(site.at("/brand"))
    site.save("/brand/logo", logo=(io.BytesIO(picture("WEBP", 200)), "b.webp"))
    second = site.sam.page.soup.select_one("img.big")["src"]
    assert second != path and nobody.get(path, expect=404) and nobody.get(second)
    nobody.get(second.replace(site.acorn, site.birch), expect=404)
    site.save("/brand/logo/removal", confirmed="yes")
    assert nobody.get(second, expect=404) and not site.rows(Picture) and "logo" not in acorn(site).brand
    assert not ada.get(f"/business/{site.acorn}/").soup.find("img", src=second)


@pytest.mark.parametrize(
    "raw", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", picture()[:100], b"GIF89a", b"x" * (2 * 1024 * 1024 + 1)]
)
def test_an_invalid_logo_changes_nothing(site: Site, raw: bytes) -> None:
    site.sam.get(site.at("/brand"))
    page = site.save("/brand/logo", logo=(io.BytesIO(raw), "logo.svg"), expect=422)
    assert page.soup.find(id="logo-error") and not site.rows(Picture)


def test_an_unrecognized_business_shows_no_logo(site: Site) -> None:
    """Safety 3.2: Mallory never paid Acorn, which stored her address. Her pages show Acorn's name only."""
    site.sam.get(site.at("/brand"))
    site.save("/brand/logo", logo=(io.BytesIO(picture()), "a.png"))
    with site.services.database.open(system(site.acorn), write=True) as db:
        create_customer(db, site.acorn, email=site.MALLORY, name="Mallory Void")
    mallory = site.customer(site.MALLORY)
    page = mallory.get("/")
    assert "Acorn Notes" in page.text and "/logos/" not in page.body.decode()
    mallory.submit("acceptance")
    site.sam.get(site.at("/brand"))
    site.save("/brand/logo/removal", confirmed="yes")


def test_read_only_roles_change_no_settings(site: Site) -> None:
    looker = site.staff("look@acorn.example", "read_only")
    for path in ("/settings", "/settings/details", "/settings/languages", "/brand"):
        page = looker.get(site.at(path))
        assert not [row for row in page.soup.select("main form button.main")]
        looker.post(site.at(path), {"name": "Taken", "accent": "#000000", "radius": "2", "font": "system", "mode": "light"}, expect=403)
    looker.get(site.at("/settings/closing"), expect=403)
    assert acorn(site).name == "Acorn Notes"


def test_closing_asks_for_the_name_and_lists_the_effects(site: Site, ada: Visitor) -> None:
    page = site.sam.get(site.at("/settings/closing"))
    assert "No card is charged again" in page.text
    page = site.save("/settings/closing", name="acorn", expect=422)
    assert page.soup.find("input", id="name")["value"] == "acorn" and acorn(site).archived_at is None
    page = site.save("/settings/closing", name=" Acorn  Notes ")
    assert acorn(site).archived_at is not None and page.h1 == "Closed" and not page.soup.find("input", id="name")
    assert "has closed" in ada.get(f"/business/{site.acorn}/").text
