"""Change the tax set-up of a business: registrations, rates, exemptions (billing/pricing/tax_setup.py). The console, the API, imports and
the command line use these functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from billing.customers.portal_settings import the_business
from billing.customers.tax_calculator import CALCULATOR_KEYS, clean_calculator
from billing.customers.tax_rows import CATEGORIES, MOST_EXEMPT, Problems, clean_general, clean_rate, clean_registration
from billing.model.parties import Business
from billing.pricing.tax_setup import OSS, is_set_up, setup_of
from core.db import ScopedSession
from core.errors import N_, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit

__all__ = [
    "CATEGORIES", "MOST_EXEMPT", "MOST_RATES", "MOST_REGISTRATIONS", "check_import", "remove", "replace_setup", "save_calculator",
    "save_general", "save_rate", "save_registration",
]  # fmt: skip

MOST_REGISTRATIONS, MOST_RATES = 100, 500


def save_registration(db: ScopedSession, typed: Mapping[str, Any], registration_id: str | None = None) -> dict[str, Any]:
    """Add or change a registration. `typed`: scheme, country, region, number, valid_from, valid_to.

    Raises Invalid with a message per field, NotFound.
    """
    problems: Problems = {}
    row = clean_registration(typed, problems)
    return _save(db, "registrations", row, problems, registration_id, MOST_REGISTRATIONS)


def save_rate(db: ScopedSession, typed: Mapping[str, Any], rate_id: str | None = None) -> dict[str, Any]:
    """Add or change a rate. `typed`: country (`*`: all others), region, category, bps, code, reason, valid_from, valid_to.

    Raises Invalid with a message per field, NotFound.
    """
    problems: Problems = {}
    row = clean_rate(typed, problems)
    return _save(db, "rates", row, problems, rate_id, MOST_RATES)


def remove(db: ScopedSession, kind: str, row_id: str) -> None:
    """Remove a registration or a rate (`kind`: registrations, rates). Issued invoices keep their tax. Raises NotFound."""
    business = the_business(db, write=True)
    rows = list(setup_of(business).get(kind) or ())
    kept = [row for row in rows if row.get("id") != row_id]
    if len(kept) == len(rows):
        raise NotFound()
    _store(db, business, {**setup_of(business), kind: kept}, [kind])


def save_general(db: ScopedSession, typed: Mapping[str, Any]) -> bool:
    """Set `prices_include_tax`, `category`, `not_registered` and `exempt` (category → reason). Return whether something changed.

    Raises Invalid with a message per field; `exempt_<category>` for a reason.
    """
    problems: Problems = {}
    new = clean_general(typed, problems)
    if problems:
        raise Invalid(fields=problems)
    business = the_business(db, write=True)
    setup = dict(setup_of(business))
    changed = [name for name, value in new.items() if setup.get(name) != value and (value or setup.get(name))]
    if changed:
        _store(db, business, {**setup, **new}, changed)
    return bool(changed)


def save_calculator(db: ScopedSession, typed: Mapping[str, Any]) -> bool:
    """Choose who calculates the tax. `typed`: calculator (table, stripe), calculator_account. Return whether something changed.

    Raises Invalid with a message per field. Whether Stripe Tax is ready is checked before: `tax_calculator.check`.
    """
    problems: Problems = {}
    business = the_business(db, write=True)
    chosen = clean_calculator(db, business, typed, problems)
    if problems:
        raise Invalid(fields=problems)
    setup = dict(setup_of(business))
    new = {name: value for name, value in setup.items() if name not in CALCULATOR_KEYS} | chosen
    if new != setup:
        _store(db, business, new, ["calculator"])
    return new != setup


def replace_setup(db: ScopedSession, sent: Mapping[str, Any]) -> Business:
    """Replace the whole set-up, as the API and imports do. Rows get an id. Raises Invalid; fields are paths like rates.0.bps."""
    business = the_business(db, write=True)
    new = _clean_setup(db, business, sent)
    if setup_of(business) != new:
        _store(db, business, new, ["tax_setup"])
    return business


def check_import(db: ScopedSession, sent: Mapping[str, Any]) -> bool:
    """Check a set-up that is to be imported. Return whether it would change anything.

    Raises Invalid: fields are paths like rates.0.bps, or `type` if the business has another set-up, which an import does not replace.
    """
    business = the_business(db)
    new, present = _clean_setup(db, business, sent), setup_of(business)
    is_same = _without_ids(new) == _without_ids(present)
    if not is_same and is_set_up(business):
        raise Invalid(fields={"type": N_("This business already has other tax settings. Change them in Settings → Taxes.")})
    return not is_same


def _without_ids(setup: Mapping[str, Any]) -> dict[str, Any]:
    rows = {
        kind: [{name: row[name] for name in row if name != "id"} for row in setup.get(kind) or ()] for kind in ("registrations", "rates")
    }
    return {name: value for name, value in {**setup, **rows}.items() if value}


def _clean_setup(db: ScopedSession, business: Business, sent: Mapping[str, Any]) -> dict[str, Any]:
    problems: Problems = {}
    new: dict[str, Any] = {}
    for kind, clean, prefix, most in (
        ("registrations", clean_registration, "txg", MOST_REGISTRATIONS),
        ("rates", clean_rate, "txr", MOST_RATES),
    ):
        rows = list(sent.get(kind) or ())
        if len(rows) > most:
            problems[kind] = N_("There are too many entries.")
            continue
        new[kind] = []
        for number, item in enumerate(rows):
            wrong: Problems = {}
            row = clean(item, wrong)
            problems |= {f"{kind}.{number}.{name}": text for name, text in wrong.items()}
            new[kind].append({"id": str(item.get("id") or new_id(prefix)), **row})
        if len({row["id"] for row in new[kind]}) < len(new[kind]):
            problems[kind] = N_("Two entries have the same id.")
    new |= clean_general(sent, problems) | clean_calculator(db, business, sent, problems)
    if problems:
        raise Invalid("INVALID_REQUEST_BODY", "; ".join(f"{name}: {text}" for name, text in problems.items()), fields=problems)
    return new


def _save(db: ScopedSession, kind: str, row: dict[str, Any], problems: Problems, row_id: str | None, most: int) -> dict[str, Any]:
    if problems:
        raise Invalid(fields=problems)
    business = the_business(db, write=True)
    setup = setup_of(business)
    rows = [dict(item) for item in setup.get(kind) or ()]
    if row_id is not None and all(item.get("id") != row_id for item in rows):
        raise NotFound()
    if any(_key(item) == _key(row) for item in rows if item.get("id") != row_id):
        raise Invalid(fields={"country": N_("There is already an entry for this country with the same first day. Change that one.")})
    if row_id is None and len(rows) >= most:
        raise Invalid(fields={"country": N_("There are too many entries.")})
    saved = {"id": row_id or new_id("txg" if kind == "registrations" else "txr"), **row}
    rows = [saved if item.get("id") == row_id else item for item in rows] + ([] if row_id else [saved])
    _store(db, business, {**setup, kind: rows}, [kind])
    return saved


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    place = None if row.get("scheme") == OSS else row.get("country")
    return (row.get("scheme"), place, row.get("region"), row.get("category"), row.get("valid_from"))


def _store(db: ScopedSession, business: Business, setup: Mapping[str, Any], fields: list[str]) -> None:
    business.tax_setup, business.tax_rates = dict(setup), {}
    emit(db, "business.taxes_changed", business_id=business.business_id, noun=business.business_id, data={"fields": sorted(fields)})
