"""Create a business: name, currency, country, time zone and contact email."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import available_timezones

from babel import Locale
from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from core import i18n
from core.errors import Invalid
from core.money import DISPUTED
from core.request_context import services
from portal.billing_details import countries
from tenants import create_business
from tenants.console.access import bp, outside_business
from tenants.console.businesses import person

FIELDS = ("name", "currency", "country", "zone", "support_email")
USUAL = ("EUR", "USD", "GBP", "CHF", "JPY", "CAD", "AUD", "INR", "BRL")


@bp.get("/new")
@outside_business
def new_business() -> ResponseReturnValue:
    person()
    return _page({}, {})


@bp.post("/new")
@outside_business
def begin_business() -> ResponseReturnValue:
    typed = {name: request.form.get(name, "").strip() for name in FIELDS}
    try:
        business_id = create_business.create_own_business(services().database, person(), **typed)
    except Invalid as wrong:
        return _page(typed, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    flash(_("%(name)s is created. Add a product or your first customer.", name=typed["name"]), "good")
    return redirect(f"/console/{business_id}", 303)


def _page(typed: dict[str, str], errors: dict[str, str]) -> str:
    return render_template(
        "tenants/console/new_business.html",
        values=typed,
        errors=errors,
        currencies=currencies(i18n.locale()),
        countries=countries(),
        zones=zones(),
    )


@lru_cache(maxsize=32)
def currencies(locale: str) -> list[tuple[str, str]]:
    """Return (code, label), the most common currencies first. Unsupported currencies are left out."""
    names = Locale.parse(locale).currencies
    current = [code for code in sorted(Locale("en").currencies) if code not in DISPUTED and code in _circulating()]
    order = [*USUAL, *(code for code in current if code not in USUAL)]
    return [(code, f"{code} · {names.get(code, code)}") for code in order]


@lru_cache(maxsize=1)
def _circulating() -> frozenset[str]:
    """Return the codes of currencies that are legal tender somewhere today."""
    from babel.core import get_global

    kept = (entry for entries in get_global("territory_currencies").values() for entry in entries)
    return frozenset(code for code, _since, until, is_tender in kept if until is None and is_tender)


@lru_cache(maxsize=1)
def zones() -> list[tuple[str, str]]:
    places = ("Africa/", "America/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/")
    found = sorted(name for name in available_timezones() if name.startswith(places))
    return [("UTC", "UTC"), *((name, name.replace("_", " ")) for name in found)]
