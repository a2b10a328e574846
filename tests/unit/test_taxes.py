"""Tax treatment: rates as data, reverse charge between businesses in two EU states, and invalid combinations."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from billing.customers.tax_rates import check_tax_rates
from billing.pricing.taxes import EU, Treatment, is_reverse_charge, is_vat_id, parse, treatment
from core.errors import Invalid

IDS = {"DE": "DE136695976", "AT": "ATU13585627", "GR": "EL094259216", "NL": "NL004495445B01", "FR": "FR40303265045"}


def site(rates: dict[str, Any], country: str | None = None, tax_id: str | None = None) -> Any:
    return SimpleNamespace(tax_setup=None, tax_rates=rates, tax_country=country, tax_id=tax_id, zone="UTC")


@pytest.mark.parametrize("country", sorted(IDS))
def test_vat_ids_are_read_with_and_without_their_prefix(country: str) -> None:
    assert is_vat_id(IDS[country], country) and is_vat_id(IDS[country][2:], country)
    other = "AT" if country != "AT" else "DE"
    assert not is_vat_id(IDS[country], other) and not is_vat_id("123", country)


@pytest.mark.parametrize("buyer", sorted(IDS))
def test_a_business_in_another_state_accounts_for_the_tax(buyer: str) -> None:
    found = treatment(site({"*": 1900}, "DE", IDS["DE"]), buyer, IDS[buyer])
    assert found == (Treatment("S", 1900) if buyer == "DE" else Treatment("AE", 0, "VATEX-EU-AE"))


@pytest.mark.parametrize(("seller", "seller_id", "buyer", "buyer_id"), [
    ("DE", None, "AT", IDS["AT"]), (None, IDS["DE"], "AT", IDS["AT"]), ("DE", IDS["DE"], "AT", None),
    ("DE", IDS["DE"], "AT", "ATU13585628"),
    ("DE", IDS["DE"], "DE", IDS["DE"]), ("GB", "GB980780684", "AT", IDS["AT"]), ("DE", IDS["DE"], "GB", "GB980780684"),
    ("DE", IDS["DE"], "AT", IDS["FR"]), ("DE", IDS["DE"], None, IDS["AT"]), ("DE", IDS["AT"], "FR", IDS["FR"]),
])  # fmt: skip
def test_reverse_charge_applies_to_no_other_sale(
    seller: str | None, seller_id: str | None, buyer: str | None, buyer_id: str | None
) -> None:
    assert not is_reverse_charge(seller, seller_id, buyer, buyer_id)


def test_the_union_has_27_states() -> None:
    assert len(EU) == 27 and "GR" in EU and not {"GB", "XI", "EL", "CH", "NO"} & EU


def test_a_country_may_have_other_rates_for_single_categories() -> None:
    rates = {"DE": {"bps": 1900, "categories": {"e_book": 700, "edtech": {"code": "E", "reason": "VATEX-EU-132"}}}, "FR": 0, "*": 0}
    found = [treatment(site(rates), "DE", None, category) for category in ("saas", "e_book", "edtech")]
    assert found == [Treatment("S", 1900), Treatment("S", 700), Treatment("E", 0, "VATEX-EU-132")]
    assert [treatment(site(rates), country).code for country in ("FR", "US", None)] == ["Z", "O", "O"]
    assert treatment(site({}), "FR") == Treatment("O")


@pytest.mark.parametrize("entry", [
    {"bps": 1900, "code": "E", "reason": "x"}, {"bps": 0, "code": "S"}, {"bps": 0, "code": "E"}, {"bps": 1900, "reason": "x"},
    {"bps": 0, "code": "X"}, -1, 10_001, "many",
])  # fmt: skip
def test_categories_outside_en_16931_are_refused(entry: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        parse(entry)
    with pytest.raises(Invalid):
        check_tax_rates({"DE": entry})
    with pytest.raises(Invalid):
        check_tax_rates({"DE": {"bps": 1900, "categories": {"saas": entry}}})


def test_unknown_countries_are_refused() -> None:
    check_tax_rates({"DE": 1900, "*": 0})
    with pytest.raises(Invalid):
        check_tax_rates({"XX": 1900})


def test_an_exemption_reason_is_stored_with_its_code() -> None:
    assert parse({"code": "G"}) == Treatment("G", 0, "VATEX-EU-G") and parse({"code": "O"}).reason == "VATEX-EU-O"
    assert parse(0) == Treatment("O") and parse(0, "Z") == Treatment("Z")
