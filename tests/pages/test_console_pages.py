"""The console's home page, its sign-in page, empty lists, and the pages of errors: what they say and where they lead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bs4 import BeautifulSoup
from sqlalchemy import delete

from auth.identities import identity_of
from auth.models import RateLimitCount
from billing.customers.businesses import create_business
from core import error_pages
from core.scope import everything
from tenants.memberships import join
from tests.pages.console_setup import Site
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


@pytest.fixture(scope="module")
def site(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    urls, drop = sqlite.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("pages"))
    yield item
    item.services.database.dispose()
    drop()


@pytest.fixture(scope="module")
def new_business(site: Site) -> str:
    """A business of Sam's in which nothing has happened yet. Returns the address of its console."""
    with site.services.database.open(everything("a new business for a test"), write=True) as db:
        business_id = create_business(db, name="New Business", currency="EUR").business_id
        join(db, business_id, identity_of(db, site.SAM, site.SAM), email=site.SAM, email_key=site.SAM, role="owner")
    return f"/console/{business_id}"


# --- home
def test_the_home_page_shows_what_needs_attention_before_the_figures(site: Site) -> None:
    page = site.sam.get(site.at(""))
    assert [item.get_text() for item in page.soup.find_all("h1")] == ["Home"]
    headings = [item.get_text(strip=True) for item in page.soup.select("main h2")]
    assert headings[-2:] == ["Recent payments", "Upcoming renewals"]
    attention = page.soup.select_one("ul.needs, .note.good")
    figures = page.soup.select_one("dl.figures")
    assert attention and figures and attention.sourceline < figures.sourceline
    assert {"Active subscriptions", "Customers"} <= {item.get_text() for item in figures.find_all("dt")}
    assert page.soup.select_one("table a[href*='/sales/payments/pay_']")


def test_the_home_page_of_a_new_business_lists_the_steps_of_its_setup(site: Site, new_business: str) -> None:
    page = site.sam.get(new_business)
    steps = {item.find("strong").get_text(): item.find("a")["href"] for item in page.soup.select("ul.todo li")}
    assert steps == {
        "Create a product": f"{new_business}/products/new",
        "Set your brand": f"{new_business}/brand",
        "Enter your business details": f"{new_business}/settings/details",
        "Create an API key": f"{new_business}/developers/keys/new",
    }


def test_the_setup_has_no_links_to_pages_that_the_role_does_not_allow(site: Site) -> None:
    reader = site.staff("reader@acorn.example", "read_only")
    page = reader.get(site.at(""))
    assert not page.soup.select("ul.todo a")
    for link in page.soup.select("main a[href^='/']"):
        reader.get(link["href"])


# --- navigation
def test_the_menu_names_the_section_of_every_page(site: Site) -> None:
    ada = site.ada_at_acorn
    sections = {
        "": "Home",
        f"/sales/customers/{ada.customer_id}": "Customers",
        "/sales/invite": "Customers",
        "/sales/failing": "Subscriptions",
        "/sales/refunds": "Payments",
        "/sales/reconciliation": "Payments",
        "/addons/new": "Products",
        "/settings/details": "Portal rules",
        "/settings/payments": "Payment accounts",
        "/settings/payments/new": "Payment accounts",
        "/taxes": "Taxes",
    }
    for path, section in sections.items():
        page = site.sam.get(site.at(path))
        assert page.soup.select_one("details.sections summary").get_text(strip=True) == section, path
        assert [item.get_text(strip=True) for item in page.soup.select("nav.nav a[aria-current]")] == [section], path


# --- sign-in
def test_the_console_has_a_sign_in_page_for_merchants(site: Site) -> None:
    visitor = Visitor(site.app)
    page = visitor.get("/console")
    assert page.soup.h1.get_text() == "Sign in to the console" and page.soup.title.get_text().startswith("Sign in to the console")
    assert "For businesses: manage your customers" in page.text and "bought with" not in page.text
    assert page.soup.find("a", string="Sign in as a customer")["href"] == "/login"
    page = visitor.get(site.at("/brand"))
    assert page.soup.find("input", {"name": "next"})["value"] == site.at("/brand")
    customers = visitor.get("/login")
    assert customers.soup.h1.get_text() == "See everything you bought, in one place"
    assert customers.soup.select_one("main a[href='/console']")


def test_the_merchants_sign_in_page_does_not_tell_which_addresses_are_known(site: Site) -> None:
    with site.services.database.open(everything("a test forgets earlier emails"), write=True) as db:
        db.execute(delete(RateLimitCount))  # Sam may have had an email less than 30 seconds ago
    answers = []
    for address in (site.SAM, "nobody@nowhere.example"):
        visitor = Visitor(site.app)
        visitor.get("/console")
        page = visitor.submit("/login", email=address)
        answers.append(page.text.replace(address, "ADDRESS"))
        assert "on the team of the business" in page.text and "receipt" not in page.text
        assert page.soup.find("a", string="Use another address")["href"] == "/console"
    assert answers[0] == answers[1]


# --- empty lists
EMPTY = {
    "/sales/customers": "/sales/customers/new",
    "/sales/subscriptions": "/developers/keys",
    "/sales/payments": "/sales/subscriptions",
    "/sales/refunds": "/sales/payments",
    "/sales/reconciliation": "/sales/payments",
    "/sales/failing": "/sales/subscriptions",
    "/products": "/products/new",
    "/collections": "/collections/new",
    "/developers/keys": "/developers/keys/new",
    "/developers/webhooks": "/developers/webhooks/new",
    "/developers/webhooks/deliveries": "/developers/webhooks",
    "/developers/apps": "/developers/apps/new",
}


@pytest.mark.parametrize(("path", "leads_to"), EMPTY.items())
def test_an_empty_list_says_so_and_leads_on(site: Site, new_business: str, path: str, leads_to: str) -> None:
    page = site.sam.get(new_business + path)
    empty = page.soup.select_one("p.empty")
    assert empty and empty.strong.get_text() and empty.a["href"] == new_business + leads_to
    assert not page.soup.select("form.search"), "nothing to search yet"


def test_a_list_without_matches_keeps_its_search(site: Site, new_business: str) -> None:
    page = site.sam.get(f"{new_business}/sales/payments?q=none@nowhere.example")
    assert page.soup.select("form.search") and page.soup.select_one("p.empty a").get_text() == "Show all"


# --- errors
@pytest.mark.parametrize("status", sorted(error_pages.WORDS))
def test_every_error_page_says_what_happened_and_leads_on(site: Site, status: int) -> None:
    with site.app.test_request_context("/profile"):
        text, code = error_pages.page(status)
    soup = BeautifulSoup(text, "html.parser")
    assert code == status and len(soup.find_all("h1")) == 1 and str(status) not in soup.main.get_text()
    main = soup.select("main a.btn.main")
    assert len(main) == 1
    if status in (409, 429, 500, 503):
        assert main[0].get_text() == "Try again" and main[0]["href"] == "/profile"


def test_an_error_after_a_form_leads_back_to_the_form(site: Site) -> None:
    with site.app.test_request_context("/profile", method="POST", headers={"Referer": "http://localhost/profile/addresses?a=1"}):
        assert 'href="/profile/addresses?a=1">Go back</a>' in error_pages.page(413)[0]
    with site.app.test_request_context("/profile", method="POST", headers={"Referer": "http://localhost//elsewhere.example/"}):
        assert 'href="/elsewhere.example/">Go back</a>' in error_pages.page(413)[0]
    with site.app.test_request_context("/profile", method="POST", headers={"Referer": "http://elsewhere.example/"}):
        assert "Go back</a>" not in error_pages.page(413)[0]


def test_an_expired_link_leads_to_a_new_one(site: Site) -> None:
    page = Visitor(site.app).get("/login/link/" + "x" * 32, expect=404)
    assert page.soup.h1.get_text() == "This link has expired" and page.soup.select_one("main a.btn.main")["href"] == "/login"
