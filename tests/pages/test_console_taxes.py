"""Settings → Taxes in the console and by API: what is typed is stored, errors lose nothing, and the next price has the tax."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from billing.model.parties import Business
from billing.pricing.tax_setup import is_set_up
from core.outbox import Event
from core.scope import everything, system
from tenants.api_keys import new_key
from tests.pages.console_setup import Site

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both

GERMAN = "DE136695976"


@pytest.fixture
def site(sqlite: Any, tmp_path: Any) -> Iterator[Site]:
    urls, drop = sqlite.fresh()
    item = Site.open(urls, tmp_path)
    with item.services.database.open(everything("a business without taxes"), write=True) as db:
        acorn = db.scalar(select(Business).where(Business.business_id == item.acorn))
        acorn.tax_setup, acorn.tax_rates = {}, {}
        acorn.address, acorn.tax_id, acorn.zone = {"street": "Ring 1", "city": "Leipzig", "country": "DE"}, GERMAN, "Europe/Berlin"
    yield item
    item.services.database.dispose()
    drop()


def acorn(site: Site) -> Business:
    found: Business = site.row(Business, Business.business_id == site.acorn)
    return found


def test_a_business_sets_up_its_taxes(site: Site) -> None:
    sam = site.sam
    assert "No taxes are set up." in sam.get(site.at("")).text
    page = sam.get(site.at("/taxes"))
    assert "No taxes are set up." in page.text and "established in Germany" in page.text

    sam.get(site.at("/taxes/registrations/new"))
    page = site.save("/taxes/registrations/new", scheme="local", country="DE", number=GERMAN, valid_from="2026-01-01")
    assert "Saved." in page.text and GERMAN in page.text and "Active" in page.text
    sam.get(site.at("/taxes/registrations/new"))
    page = site.save("/taxes/registrations/new", scheme="oss", country="DE", number=GERMAN)
    assert "European Union, OSS" in page.text and "Show 29 rates" in page.text
    assert "No taxes are set up." not in sam.get(site.at("")).text
    assert {row["scheme"] for row in acorn(site).tax_setup["registrations"]} == {"local", "oss"}

    page = sam.get(site.at("/taxes?country=FR&category=saas"))
    assert "France: 20%" in page.text and "covered by your OSS registration" in page.text and "€120.00" in page.text
    page = sam.get(site.at("/taxes?country=FR&category=saas&tax_id=FR40303265045"))
    assert "France: 0%" in page.text and "reverse charge" in page.text
    assert "not taxable in the EU" in sam.get(site.at("/taxes?country=US&region=NY")).text
    assert [event.type for event in site.rows(Event, Event.type == "business.taxes_changed")]


def test_errors_keep_what_was_typed(site: Site) -> None:
    sam = site.sam
    sam.get(site.at("/taxes/rates/new"))
    page = site.save("/taxes/rates/new", expect=422, country="US", region="NY", rate="8.8755", reason="x", valid_from="2027-05-01")
    assert "Enter a rate from 0 to 100 percent, with at most two decimals." in page.text
    form = page.soup.find("form", action=site.at("/taxes/rates/new"))
    assert form.find(id="rate")["value"] == "8.8755" and form.find(id="valid_from")["value"] == "2027-05-01"
    assert form.find("option", selected=True, value="NY") and form.find("option", selected=True, value="US")
    page = site.save("/taxes/rates/new", rate="8.88", reason="")
    assert "New York, United States" in page.text and "8.88%" in page.text
    [rate] = acorn(site).tax_setup["rates"]
    assert (rate["bps"], rate["region"], rate["valid_from"]) == (888, "NY", "2027-05-01")

    sam.get(site.at(f"/taxes/rates/{rate['id']}"))
    page = site.save(f"/taxes/rates/{rate['id']}", expect=422, valid_to="2027-04-01")
    assert "The last day is before the first day." in page.text
    page = site.save(f"/taxes/rates/{rate['id']}", valid_to="2028-04-30", rate="9")
    assert "9%" in page.text
    sam.get(site.at(f"/taxes/rates/{rate['id']}"))
    page = site.save(f"/taxes/rates/{rate['id']}/removal")
    assert "Remove New York, United States, 9%?" in page.text
    site.save(f"/taxes/rates/{rate['id']}/removal")
    assert acorn(site).tax_setup["rates"] == []
    sam.get(site.at(f"/taxes/rates/{rate['id']}"), expect=404)


def test_a_state_without_a_rate_says_so(site: Site) -> None:
    site.sam.get(site.at("/taxes/registrations/new"))
    page = site.save("/taxes/registrations/new", expect=422, scheme="local", country="US", region="")
    assert "Choose the state." in page.text
    page = site.save("/taxes/registrations/new", region="TX")
    assert "Texas, United States" in page.text and "Needs a rate" in page.text
    site.sam.get(site.at("/taxes/registrations/new"))
    page = site.save("/taxes/registrations/new", expect=422, scheme="local", country="US", region="TX")
    assert "There is already an entry" in page.text


def test_exemptions_and_the_defaults_of_new_products(site: Site) -> None:
    site.sam.get(site.at("/taxes"))
    page = site.save("/taxes", prices_include_tax="1", category="saas", exempt_edtech="VATEX-EU-132")
    assert "Saved." in page.text
    setup = acorn(site).tax_setup
    assert (setup["prices_include_tax"], setup["category"], setup["exempt"]) == (True, "saas", {"edtech": "VATEX-EU-132"})
    form = site.sam.get(site.at("/products/new")).soup
    assert form.find("input", attrs={"name": "tax_inclusive"}).has_attr("checked")
    assert form.find("option", selected=True, value="saas")
    assert not is_set_up(acorn(site))
    site.sam.get(site.at("/taxes"))
    site.save("/taxes", not_registered="1")
    assert is_set_up(acorn(site)) and "No taxes are set up." not in site.sam.get(site.at("")).text


def test_only_owners_change_taxes(site: Site) -> None:
    reader = site.staff("reader@acorn.example", "read_only")
    assert "Add registration" not in reader.get(site.at("/taxes")).text
    reader.get(site.at("/taxes/registrations/new"), expect=403)


class TestApi:
    def call(self, site: Site, method: str, sent: Any = None, business: str = "acorn") -> Any:
        with site.services.database.open(system(getattr(site, business)), write=True) as db:
            _row, key = new_key(db, getattr(site, business), "A program", settings=site.services.settings)
        headers = {"Authorization": f"Bearer {key}"}
        return site.app.test_client().open("/api/tax-settings", method=method, json=sent, headers=headers, base_url="http://localhost")

    def test_a_set_up_is_replaced_and_read_back(self, site: Site) -> None:
        sent = {
            "registrations": [{"country": "DE", "number": GERMAN}, {"scheme": "oss", "country": "DE"}],
            "rates": [{"country": "US", "region": "New York", "bps": 888}, {"country": "DE", "bps": 2000, "valid_from": "2030-01-01"}],
            "exempt": {"edtech": "VATEX-EU-132"},
        }
        answer = self.call(site, "PUT", sent)
        assert answer.status_code == 200, answer.text
        found = self.call(site, "GET").get_json()
        assert found == answer.get_json() and found["established"] == "DE"
        assert [(row["scheme"], row["country"]) for row in found["registrations"]] == [("local", "DE"), ("oss", "DE")]
        assert [(row["country"], row["region"], row["bps"]) for row in found["rates"]] == [("US", "NY", 888), ("DE", None, 2000)]
        again = self.call(site, "PUT", {name: found[name] for name in ("registrations", "rates", "exempt")})
        assert again.get_json() == found, "what was read can be sent back"
        assert "France: 20%" in site.sam.get(site.at("/taxes?country=FR&category=saas")).text
        assert self.call(site, "GET", business="birch").get_json()["registrations"] == []

    @pytest.mark.parametrize(("sent", "field"), [
        ({"rates": [{"country": "XX", "bps": 1}]}, "rates.0.country"), ({"rates": [{"country": "DE", "bps": 10_001}]}, "rates.0.bps"),
        ({"registrations": [{"country": "US"}]}, "registrations.0.region"), ({"exempt": {"edtech": ""}}, "exempt_edtech"),
        ({"rates": [{"country": "DE", "bps": 0, "code": "E"}]}, "rates.0.reason"),
        ({"rates": [{"country": "DE", "bps": 1, "valid_from": "2027-02-30"}]}, "rates.0.valid_from"),
        ({"unknown": 1}, "unknown"),
    ])  # fmt: skip
    def test_what_cannot_be_used_is_named_and_changes_nothing(self, site: Site, sent: Any, field: str) -> None:
        before = acorn(site).tax_setup
        answer = self.call(site, "PUT", sent)
        assert answer.status_code == 422 and field in answer.text
        assert acorn(site).tax_setup == before
