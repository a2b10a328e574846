"""A file sets up the taxes of a business: with the errors of the console by line, and without replacing what is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from billing.customers.businesses import create_business
from billing.customers.tax_settings import save_general
from billing.model.parties import Business
from billing.pricing.tax_setup import hosted_account
from billing.pricing.taxes import treatment
from core.errors import Invalid
from core.scope import everything, system
from core.services import Services
from tenants.imports.import_file import check, write
from tests.conftest import on_sqlite

pytestmark = on_sqlite
SETUP = {
    "registrations": [{"country": "DE", "number": "DE136695976"}, {"scheme": "oss", "country": "DE"}],
    "rates": [{"country": "US", "region": "New York", "bps": 888}],
    "exempt": {"edtech": "VATEX-EU-132"},
    "prices_include_tax": True,
}


@pytest.fixture
def acorn(services: Services) -> str:
    with services.database.open(everything("a business for an import"), write=True) as db:
        business = create_business(db, name="Acorn", currency="EUR")
        business.address = {"country": "DE"}
        return business.business_id


def load(services: Services, business_id: str, folder: Path, *lines: dict[str, Any]) -> Any:
    file = folder / "taxes.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = check(services.database, business_id, file)
    return found, write(services.database, services.settings, business_id, "import", file, found)


def line(**more: Any) -> dict[str, Any]:
    return {"type": "tax_settings", "data": {**SETUP, **more}}


def business(services: Services, business_id: str) -> Business:
    with services.database.open(everything("read an import")) as db:
        return db.scalar(select(Business).where(Business.business_id == business_id))


def test_tax_settings_are_imported_once(services: Services, acorn: str, tmp_path: Path) -> None:
    found, counts = load(services, acorn, tmp_path, line(color="red"))
    assert (found.kinds, counts.new, found.ignored) == ({"tax_settings": 1}, 1, {"tax_settings.color": 1})
    set_up = business(services, acorn)
    assert (treatment(set_up, "FR", category="saas").bps, treatment(set_up, "US", region="NY").bps) == (2000, 888)
    assert treatment(set_up, "DE", category="edtech").reason == "VATEX-EU-132" and set_up.tax_setup["prices_include_tax"]
    _, counts = load(services, acorn, tmp_path, line())
    assert (counts.new, counts.same) == (0, 1) and business(services, acorn).tax_setup == set_up.tax_setup


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rates": [{"country": "DE", "bps": 1900}, {"country": "XX", "bps": 1}]}, "rates.1.country: Choose a country."),
        ({"rates": [{"country": "DE", "bps": 10_001}]}, "rates.0.bps: Input should be less than or equal to 10000"),
        ({"rates": [{"country": "DE", "bps": 0, "code": "E"}]}, "rates.0.reason: Enter why these sales are exempt."),
        ({"registrations": [{"country": "US"}]}, "registrations.0.region: Choose the state."),
        ({"registrations": [{"country": "DE", "valid_from": "soon"}]}, "registrations.0.valid_from: Enter a date"),
        ({"category": "wood"}, "category: Choose an option from the list."),
        ({"calculator": "stripe"}, "calculator: Stripe Tax needs a payment account at Stripe."),
        ({"calculator": "magic"}, "calculator: Input should be 'table' or 'stripe'"),
    ],
)
def test_a_wrong_value_is_named_by_line_and_field(services: Services, acorn: str, tmp_path: Path, wrong: dict[str, Any], says: str) -> None:
    buyer = {"type": "customer", "data": {"customer_id": "cus_1", "email": "ada@marlow.example", "name": "Ada"}}
    with pytest.raises(Invalid) as refused:
        load(services, acorn, tmp_path, buyer, line(**wrong))
    assert list(refused.value.fields) == ["line 2"] and says in refused.value.fields["line 2"], refused.value.fields
    assert not business(services, acorn).tax_setup


def test_a_second_line_is_refused(services: Services, acorn: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid) as refused:
        load(services, acorn, tmp_path, line(), line())
    assert "line 1 already has this value" in refused.value.fields["line 2"]


def test_tax_settings_of_a_business_are_not_replaced(services: Services, acorn: str, tmp_path: Path) -> None:
    with services.database.open(system(acorn), write=True) as db:
        save_general(db, {"not_registered": True})
    with pytest.raises(Invalid) as refused:
        load(services, acorn, tmp_path, line())
    assert "already has other tax settings" in refused.value.fields["line 1"]
    assert business(services, acorn).tax_setup["not_registered"] and hosted_account(business(services, acorn)) is None
