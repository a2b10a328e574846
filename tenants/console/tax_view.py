"""Texts of the tax pages: countries, rates and cases in words, and the tax that a customer would pay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from flask_babel import gettext as _

from billing.customers.tax_rows import CATEGORIES
from billing.model.parties import Business
from billing.model.regions import REGIONS
from billing.pricing import prices, taxes
from billing.pricing.default_rates import DefaultRate, current_rates, needs_rate
from billing.pricing.tax_setup import OSS, tax_day
from core.amount_input import read_amount, write_amount
from core.formatting import locale_of
from core.template_context import formatter
from tenants.console import product_form

Row = Mapping[str, Any]
EXAMPLE_MINOR_UNITS = 100_00


@dataclass(frozen=True)
class RegistrationRow:
    """`state`: active, starts or ended. `needs_rate`: no tax is charged, because no rate is known."""

    row: Row
    place: str
    valid: str
    state: str
    needs_rate: bool


@dataclass(frozen=True)
class RateRow:
    """`row_id` is None for a rate of the table. `source`: where a rate of the table is from."""

    row_id: str | None
    place: str
    category: str
    rate: str
    valid: str
    source: str


@dataclass(frozen=True)
class TaxPreview:
    """The tax of a customer. `before`, `with_tax`: what a price before tax becomes. `included`: the tax in a price with tax."""

    place: str
    rate: str
    sentence: str
    before: int
    with_tax: int
    included: int


def schemes() -> list[tuple[str, str]]:
    return [("local", _("In one country or state")), (OSS, _("EU OSS: consumers in every EU country"))]


def regions() -> list[tuple[str, str]]:
    """Return the regions that rates can name, after an empty choice."""
    names = locale_of(formatter().locale).territories
    return [("", _("Whole country"))] + [
        (code, f"{name} ({names.get(country, country)})") for country, all in REGIONS.items() for code, name in all.items()
    ]


def codes() -> list[tuple[str, str]]:
    """Return the codes of a rate of 0."""
    return [
        ("", _("Zero rate")),
        ("E", _("Exempt from tax")),
        ("O", _("Not subject to tax")),
        ("G", _("Export outside the EU")),
        ("K", _("Supply to another EU country")),
    ]


def country_name(code: str | None) -> str:
    return str(locale_of(formatter().locale).territories.get(code or "", code or ""))


def place(row: Row) -> str:
    if row.get("scheme") == OSS:
        return _("European Union, OSS")
    if row.get("country") == "*":
        return _("Every other country")
    region = REGIONS.get(row.get("country") or "", {}).get(row.get("region") or "")
    return f"{region}, {country_name(row.get('country'))}" if region else country_name(row.get("country"))


def percent(bps: int) -> str:
    return formatter().percent(bps)


def percent_input(bps: int) -> str:
    return write_amount(bps, "EUR", formatter().locale)


def read_percent(text: str) -> int | None:
    """Return a percentage with at most two decimals in basis points, None for anything else."""
    try:
        return read_amount(text.replace("%", "").strip(), "EUR", formatter().locale)
    except ValueError:
        return None


def registrations(setup: Row, business: Business) -> list[RegistrationRow]:
    today = tax_day(business, None)
    return [
        RegistrationRow(
            row,
            place(row),
            _validity(row),
            "starts" if (row.get("valid_from") or today) > today else "ended" if (row.get("valid_to") or today) < today else "active",
            needs_rate(row, setup),
        )
        for row in setup.get("registrations") or ()
    ]


def own_rates(setup: Row, business: Business) -> list[RateRow]:
    rows = sorted(setup.get("rates") or (), key=lambda row: (row["country"] == "*", place(row), row.get("valid_from") or ""))
    return [
        RateRow(row["id"], place(row), _category(row.get("category")), percent(row["bps"]), _validity(row), row.get("reason") or "")
        for row in rows
    ]


def default_rows(setup: Row, business: Business) -> list[RateRow]:
    """Return the rates of the table for the countries that the registrations cover, today and later."""
    today = tax_day(business, None)
    current = [row for row in setup.get("registrations") or () if (row.get("valid_to") or today) >= today]
    covered = {row.get("country") for row in current} | (set(taxes.EU) if any(row.get("scheme") == OSS for row in current) else set())
    rows = sorted((rate for rate in current_rates(today) if rate.country in covered), key=_by_name)
    return [
        RateRow(
            None, country_name(rate.country), _category(rate.category), percent(rate.bps),
            _validity({"valid_from": rate.valid_from, "valid_to": rate.valid_to}),
            _("%(source)s, checked %(day)s", source=rate.source, day=day_words(rate.checked))
            if rate.checked
            else _("%(source)s, not checked. Compare it with the law.", source=rate.source),
        )
        for rate in rows
    ]  # fmt: skip


def _by_name(rate: DefaultRate) -> tuple[str, str, str]:
    return country_name(rate.country).casefold(), rate.category or "", rate.valid_from


def _category(name: str | None) -> str:
    return str(dict(product_form.choices()["tax_categories"]).get(name or "", name)) if name else _("All categories")


def _validity(row: Row) -> str:
    begins, ends = row.get("valid_from"), row.get("valid_to")
    if begins and ends:
        return _("%(first)s to %(last)s", first=day_words(begins), last=day_words(ends))
    return _("from %(day)s", day=day_words(begins)) if begins else _("until %(day)s", day=day_words(ends)) if ends else _("Always")


def day_words(text: str) -> str:
    return formatter().date(date.fromisoformat(text), "table")


def preview(business: Business, asked: Mapping[str, str]) -> TaxPreview | None:
    """Return the tax that a customer would pay today. None if no country was chosen."""
    country = asked.get("country") or ""
    if country not in locale_of("en").territories or len(country) != 2:
        return None
    region, category = asked.get("region") or None, asked.get("category") or CATEGORIES[0]
    tax_id = (asked.get("tax_id") or "").strip()[:50] or None
    found = taxes.treatment(business, country, tax_id, category, region=region)
    added = prices.line("", 1, EXAMPLE_MINOR_UNITS, found, False)
    within = prices.line("", 1, EXAMPLE_MINOR_UNITS, found, True)
    return TaxPreview(
        place({"country": country, "region": region}), percent(found.bps), case_sentence(found.case),
        EXAMPLE_MINOR_UNITS, added.gross_minor, within.tax_minor,
    )  # fmt: skip


def case_sentence(case: str | None) -> str:
    """Return why this tax applies."""
    return {
        taxes.DOMESTIC: _("Sale in your own country, at its rate."),
        taxes.LOCAL: _("You are registered there, so its rate applies."),
        taxes.OSS: _("EU consumer, covered by your OSS registration: the rate of the customer's country applies."),
        taxes.ORIGIN: _("EU consumer without an OSS registration: the rate of your own country applies."),
        taxes.REVERSE_CHARGE: _("EU business with a valid VAT ID: reverse charge, the customer accounts for the tax."),
        taxes.EXEMPT: _("This tax category is exempt."),
        taxes.OUTSIDE: _("Customer outside the EU: not taxable in the EU."),
        taxes.OWN_RATE: _("You entered a rate for this country."),
        taxes.UNTAXED: _("No registration and no rate covers this country. No tax is charged."),
        taxes.CALCULATED: _("Calculated by Stripe Tax."),
        taxes.NO_RATE: _("You are registered there, but no rate is known. No tax is charged until you enter one."),
    }.get(case or "", "")
