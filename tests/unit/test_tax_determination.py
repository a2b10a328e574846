"""Which tax applies, by registration: domestic, OSS, without OSS, reverse charge, outside the EU, exempt, regions and dates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.model.regions import region_code
from billing.pricing.default_rates import all_rates, countries, default_rate
from billing.pricing.tax_setup import from_rates, is_set_up, to_rates
from billing.pricing.taxes import EU, REASONS, Treatment, full_vat_id, is_reverse_charge, parse, treatment

GERMAN, AUSTRIAN = "DE136695976", "ATU13585627"
AT = datetime(2027, 3, 1, 12, tzinfo=UTC)
HOME = {"id": "1", "scheme": "local", "country": "DE", "number": GERMAN}
OSS = {"id": "2", "scheme": "oss", "country": "DE", "number": GERMAN}


def seller(country: str | None = "DE", tax_id: str | None = GERMAN, zone: str = "Europe/Berlin", **setup: Any) -> Any:
    return SimpleNamespace(tax_setup=setup, tax_rates={}, tax_country=country, tax_id=tax_id, zone=zone)


def told(found: Treatment) -> tuple[str, int, str | None]:
    return found.code, found.bps, found.case


@pytest.mark.parametrize(("registrations", "country", "tax_id", "expected"), [
    ([HOME], "DE", None, ("S", 1900, "domestic")),
    ([HOME], "DE", GERMAN, ("S", 1900, "domestic")),
    ([HOME, OSS], "FR", None, ("S", 2000, "oss")),
    ([HOME, OSS], "HU", None, ("S", 2700, "oss")),
    ([HOME], "FR", None, ("S", 1900, "origin")),
    ([HOME, OSS], "AT", AUSTRIAN, ("AE", 0, "reverse_charge")),
    ([HOME, OSS], "AT", "ATU13585628", ("S", 2000, "oss")),
    ([HOME, OSS], "US", None, ("O", 0, "outside")),
    ([HOME, OSS], "GB", "GB980780684", ("O", 0, "outside")),
    ([HOME, {"scheme": "local", "country": "GB"}], "GB", None, ("S", 2000, "local")),
    ([HOME, OSS], None, None, ("S", 1900, "domestic")),
    ([], "DE", None, ("O", 0, "untaxed")),
    ([{"scheme": "local", "country": "JP"}], "JP", None, ("O", 0, "no_rate")),
])  # fmt: skip
def test_the_registration_decides(
    registrations: list[Any], country: str | None, tax_id: str | None, expected: tuple[str, int, str]
) -> None:
    assert told(treatment(seller(registrations=registrations), country, tax_id, "saas", at=AT)) == expected


def test_a_seller_outside_the_eu_with_oss_charges_consumers_only() -> None:
    site = seller("US", None, registrations=[{"scheme": "oss", "country": "IE", "number": "EU372000041"}])
    assert told(treatment(site, "DE", None, "saas", at=AT)) == ("S", 1900, "oss")
    assert told(treatment(site, "DE", GERMAN, "saas", at=AT)) == ("AE", 0, "reverse_charge")
    assert told(treatment(site, "US", None, "saas", at=AT)) == ("O", 0, "untaxed")


def test_e_books_have_the_reduced_rate_of_their_country() -> None:
    site = seller(registrations=[HOME, OSS])
    assert [treatment(site, country, None, "e_book", at=AT).bps for country in ("DE", "FR", "DK")] == [700, 550, 2500]


def test_an_exempt_category_is_not_taxed_and_has_its_reason() -> None:
    site = seller(registrations=[HOME, OSS], exempt={"edtech": "VATEX-EU-132"})
    for country, tax_id in (("DE", None), ("FR", None), ("AT", AUSTRIAN)):
        found = treatment(site, country, tax_id, "edtech", at=AT)
        assert (*told(found), found.reason) == ("E", 0, "exempt", "VATEX-EU-132")
    assert treatment(site, "DE", None, "saas", at=AT).bps == 1900
    assert treatment(site, "US", None, "edtech", at=AT).code == "O", "what is not taxed needs no exemption"


def test_states_have_their_own_rates() -> None:
    ny = {"scheme": "local", "country": "US", "region": "NY"}
    rates = [{"country": "US", "region": "NY", "bps": 888}, {"country": "US", "region": "NY", "category": "e_book", "bps": 0}]
    site = seller("US", None, "America/New_York", registrations=[ny], rates=rates)
    assert [told(treatment(site, "US", None, "saas", region=text, at=AT)) for text in ("NY", "new york", "US-NY")] == [
        ("S", 888, "own_rate")
    ] * 3
    assert treatment(site, "US", None, "e_book", region="NY", at=AT).code == "Z"
    assert told(treatment(site, "US", None, "saas", region="TX", at=AT)) == ("O", 0, "untaxed")
    assert told(treatment(seller("US", None, registrations=[ny]), "US", None, "saas", region="NY", at=AT)) == ("O", 0, "no_rate")


def test_own_rates_come_before_registrations_and_star_comes_last() -> None:
    site = seller(registrations=[HOME, OSS], rates=[{"country": "FR", "bps": 550}, {"country": "*", "bps": 100}])
    assert [told(treatment(site, country, at=AT)) for country in ("FR", "IT", "US")] == [
        ("S", 550, "own_rate"), ("S", 2200, "oss"), ("S", 100, "own_rate"),
    ]  # fmt: skip


def test_a_rate_begins_at_midnight_of_the_business() -> None:
    rates = [{"country": "DE", "bps": 1900}, {"country": "DE", "bps": 2000, "valid_from": "2027-01-01"}]
    new_year = datetime(2026, 12, 31, 23, tzinfo=UTC)  # midnight in Berlin
    berlin, london = seller(rates=rates), seller(rates=rates, zone="Europe/London")
    assert [treatment(berlin, "DE", at=new_year - timedelta(seconds=1)).bps, treatment(berlin, "DE", at=new_year).bps] == [1900, 2000]
    assert treatment(london, "DE", at=new_year).bps == 1900


def test_registrations_end_with_their_last_day() -> None:
    site = seller(registrations=[HOME | {"valid_from": "2027-01-01", "valid_to": "2027-06-30"}])
    days = [datetime(2026, 12, 31, 12, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 6, 30, 12, tzinfo=UTC)]
    assert [treatment(site, "DE", at=day).bps for day in (*days, datetime(2027, 7, 1, 12, tzinfo=UTC))] == [0, 1900, 1900, 0]


def test_the_table_has_one_rate_per_day_and_every_eu_state() -> None:
    assert countries() == EU | {"GB", "CH", "NO"}
    for country in countries():
        for category in (None, "e_book"):
            rows = sorted(
                (rate for rate in all_rates() if (rate.country, rate.category) == (country, category)), key=lambda r: r.valid_from
            )
            for before, after in zip(rows, rows[1:], strict=False):
                assert before.valid_to and date.fromisoformat(before.valid_to) + timedelta(days=1) == date.fromisoformat(after.valid_from)
            assert all(rate.source for rate in rows)
            assert all(date.fromisoformat(rate.checked) for rate in rows if rate.checked)
            assert category or rows[-1].checked, "the present standard rate was compared"
            assert not rows or rows[-1].valid_to is None
    assert {country: default_rate(country, "saas", "2027-01-01").bps for country in ("EE", "FI", "RO", "SK", "LU", "CH", "NO")} == {
        "EE": 2400, "FI": 2550, "RO": 2100, "SK": 2300, "LU": 1700, "CH": 810, "NO": 2500,
    }  # fmt: skip
    assert default_rate("CH", None, "2023-12-31").bps == 770 and default_rate("JP", None, "2027-01-01") is None


@pytest.mark.parametrize(("number", "country", "full"), [
    ("DE136695976", "DE", "DE136695976"), ("136695976", "DE", "DE136695976"), ("U13585627", "AT", "ATU13585627"),
    ("094259216", "GR", "EL094259216"), ("980780684", "GB", None), ("123", "DE", None), (None, "DE", None), ("DE136695976", None, None),
])  # fmt: skip
def test_vat_ids_are_sent_with_their_prefix(number: str | None, country: str | None, full: str | None) -> None:
    assert full_vat_id(number, country) == full


def test_regions_are_read_from_codes_and_names() -> None:
    assert [region_code("US", text) for text in ("ny", " New  York ", "US-CA", "Bavaria", "")] == ["NY", "NY", "CA", None, None]
    assert region_code("DE", "NY") is None and region_code("CA", "Quebec") == "QC"


def before_0033(business: Any, country: str | None, tax_id: str | None, category: str | None) -> Treatment:
    """The treatment as it was determined before businesses had a set-up."""
    if is_reverse_charge(business.tax_country, business.tax_id, country, tax_id):
        return Treatment("AE", 0, REASONS["AE"])
    rates: Mapping[str, Any] = business.tax_rates
    entry = rates.get(country or "", rates.get("*"))
    if isinstance(entry, Mapping):
        entry = (entry.get("categories") or {}).get(category or "", entry)
    return parse(entry, "Z" if (country or "") in rates else "O")


_plain = st.sampled_from(
    [0, 700, 1900, {"bps": 2000}, {"bps": 0, "code": "E", "reason": "x"}, {"bps": 0, "code": "G"}, {"bps": 0, "code": "Z"}]
)
_entries = _plain | st.builds(
    lambda base, own: {**(base if isinstance(base, dict) else {"bps": base}), "categories": own},
    _plain, st.dictionaries(st.sampled_from(["saas", "e_book"]), _plain, max_size=2),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["DE", "AT", "GB", "*"]), _entries, max_size=4))
def test_earlier_rates_give_the_same_treatment_as_a_set_up(rates: dict[str, Any]) -> None:
    for setup in (None, from_rates(rates)):
        business = SimpleNamespace(tax_setup=setup, tax_rates=rates, tax_country="DE", tax_id=GERMAN, zone="UTC")
        for country in ("DE", "AT", "GB", "US", None):
            for tax_id in (None, AUSTRIAN):
                for category in ("saas", "e_book", "edtech", None):
                    assert treatment(business, country, tax_id, category) == before_0033(business, country, tax_id, category)


def test_a_set_up_prints_as_rates_again() -> None:
    rates = {"DE": {"bps": 1900, "categories": {"e_book": {"bps": 700}}}, "FR": 2000, "*": 0}
    assert to_rates(from_rates(rates)) == rates
    assert is_set_up(seller(rates=[{"country": "*", "bps": 0}])) and is_set_up(seller(not_registered=True)) and not is_set_up(seller())
