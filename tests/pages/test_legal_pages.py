"""Public pages about accessibility and cancelling, and the links of the footer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from billing.model.parties import Business
from core.legal_settings import LegalSettings
from core.scope import system
from core.settings import Misconfigured, Settings
from core.web_links import https_link
from tests.pages.console_setup import Site
from tests.visitor import Page, Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; the settings of a business are one JSON column


@pytest.fixture(scope="module")
def site(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    urls, drop = sqlite.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("legal"))
    yield item
    item.services.database.dispose()
    drop()


def footer(page: Page) -> dict[str, str]:
    """Return the links of the footer by their text."""
    return {item.get_text(strip=True): item["href"] for item in page.soup.find("footer").find_all("a")}


def save(site: Site, expect: int = 200, **typed: str) -> Page:
    site.sam.get(site.at("/settings/legal"))
    return site.sam.submit("/settings/legal", expect=expect, **typed)


def test_the_pages_are_true_without_being_filled_in(site: Site) -> None:
    someone = Visitor(site.app)
    for root in ("/legal", f"/legal/{site.birch}"):
        assert "WCAG 2.2" in someone.get(f"{root}/accessibility").text
        page = someone.get(f"{root}/cancelling")
        assert page.soup.find("main").find("a", href=root.replace("/legal", "/cancel"))
        assert "Open the subscription and choose “Cancel subscription”." in page.text
    with site.services.database.open(system(site.birch), write=True) as db:
        db.scalars(select(Business)).one().settings = {"cancel": False}
    page = someone.get(f"/legal/{site.birch}/cancelling")
    assert "Open the subscription" in page.text, "consumers can, whatever the business has set"
    assert "If you bought as a business" in page.text
    for unknown in ("/legal/bus_unknown/accessibility", "/legal/bus_unknown/cancelling", "/legal/other"):
        someone.get(unknown, expect=404)


def test_a_business_writes_its_legal_pages(site: Site) -> None:
    hostile = "We test with **screen readers**.\r\n\r\n<script>alert(1)</script> [bad](javascript:alert(1)) [good](https://acorn.example/a)"
    save(site, accessibility_text=hostile, cancelling_text="Ask us anything.", terms_url="https://acorn.example/terms")
    someone = Visitor(site.app)
    page = someone.get(f"/legal/{site.acorn}/accessibility")
    assert "Written by Acorn Notes." in page.text and "WCAG 2.2" not in page.text
    main = page.soup.find("main")
    assert main.find("strong").get_text() == "screen readers" and main.find("a", href="https://acorn.example/a")
    assert not main.find("script") and not main.find("a", href=lambda url: url and url.startswith("javascript"))
    page = someone.get(f"/legal/{site.acorn}/cancelling")
    assert "Ask us anything." in page.text and "Without signing in" in page.text
    assert "Ask us anything." not in someone.get(f"/legal/{site.birch}/cancelling").text
    assert site.sam.get(site.at("/settings/legal")).soup.find("textarea", {"name": "cancelling_text"}).get_text(strip=True) == (
        "Ask us anything."
    )


def test_the_footer_links_the_pages_at_each_door(site: Site) -> None:
    save(site, terms_url="https://acorn.example/terms", privacy_url="https://acorn.example/privacy")
    ada = site.customer(site.ADA)
    own = footer(ada.get(f"/business/{site.acorn}/"))
    assert (own["Terms"], own["Privacy"]) == ("https://acorn.example/terms", "https://acorn.example/privacy")
    assert own["Accessibility"] == f"/legal/{site.acorn}/accessibility"
    assert footer(Visitor(site.app).get(f"/login/{site.acorn}"))["Terms"] == "https://acorn.example/terms"
    everything = footer(ada.get("/"))
    assert everything["Accessibility"] == "/legal/accessibility" and "Terms" not in everything, "no business's link at the unified door"
    assert "Terms" not in footer(site.sam.get(site.at("/settings/legal")))


@pytest.mark.parametrize(
    "url",
    ["http://acorn.example/", "javascript:alert(1)", "https://", "//acorn.example", "https://a b.example", "https://x@acorn.example/",
     "https://acorn.example\\@evil.example", 'https://acorn.example/"onclick=1', "https://[acorn", "https://acorn.example:99999/"],
)  # fmt: skip
def test_links_are_https_addresses(site: Site, url: str) -> None:
    assert not https_link(url)
    page = save(site, 422, terms_url=url)
    assert "begins with https://" in page.text


def test_other_roles_read_and_do_not_change_the_pages(site: Site) -> None:
    reader = site.staff("reads@acorn.example", "read_only")
    assert reader.get(site.at("/settings/legal")).h1 == "Legal pages"
    reader.post(site.at("/settings/legal"), {"terms_url": "https://evil.example/"}, expect=403)


def test_the_operator_sets_the_pages_of_the_deployment(site: Site, tmp_path: Path) -> None:
    text = tmp_path / "accessibility.md"
    text.write_text("Audited in **2026**.", encoding="utf-8")
    legal = Settings.from_env(
        {"PORTAL_ACCESSIBILITY_FILE": str(text), "PORTAL_TERMS_URL": "https://portal.example/terms", "PORTAL_DATA_DIR": str(tmp_path)}
    ).legal
    services = site.app.extensions["portal"]
    was, services.settings = services.settings, replace(services.settings, legal=legal)
    try:
        someone = Visitor(site.app)
        page = someone.get("/legal/accessibility")
        assert "Audited in" in page.text and footer(page)["Terms"] == "https://portal.example/terms"
        assert "Audited in" not in someone.get(f"/legal/{site.birch}/accessibility").text
    finally:
        services.settings = was
    for wrong in ({"PORTAL_TERMS_URL": "http://portal.example"}, {"PORTAL_CANCELLING_FILE": str(tmp_path / "none.md")}):
        with pytest.raises(Misconfigured):
            LegalSettings.read(lambda name, wrong=wrong: wrong.get(name, ""))
    text.write_text("x" * 10_001)
    with pytest.raises(Misconfigured):
        LegalSettings.read(lambda name: str(text) if name == "PORTAL_CANCELLING_FILE" else "")
