"""Settings → Taxes: where the business is registered, its rates and exemptions, and which tax a customer would pay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.customers import tax_settings as command
from billing.customers.portal_settings import the_business
from billing.pricing.tax_setup import is_set_up, setup_of
from core.errors import Invalid, NotFound
from core.links import here
from core.request_context import db, services
from portal.billing_details import countries
from portal.confirmation import unconfirmed
from tenants.console import product_form
from tenants.console import tax_view as view
from tenants.console.access import bp, current_member, needs
from tenants.console.tax_calculator import calculator_view
from tenants.emails import notify_owners


@bp.get("/<business_id>/taxes")
@needs("settings.read")
def taxes() -> ResponseReturnValue:
    return _page()


@bp.post("/<business_id>/taxes")
@needs("settings.write")
def change_taxes() -> ResponseReturnValue:
    form = request.form
    exempt = {name: form.get(f"exempt_{name}", "") for name in command.CATEGORIES if form.get(f"exempt_{name}", "").strip()}
    typed = {name: form.get(name) for name in ("prices_include_tax", "category", "not_registered")}
    try:
        changed = command.save_general(db(), {**typed, "exempt": exempt})
    except Invalid as wrong:
        return _page(form, _messages(wrong)), 422
    _saved(changed)
    return redirect(here("console.taxes"), 303)


@bp.get("/<business_id>/taxes/registrations/new")
@needs("settings.write")
def new_tax_registration() -> ResponseReturnValue:
    return _registration({"country": the_business(db()).tax_country or "", "scheme": request.args.get("scheme", "local")})


@bp.post("/<business_id>/taxes/registrations/new")
@needs("settings.write")
def add_tax_registration() -> ResponseReturnValue:
    return _save_registration(None)


@bp.get("/<business_id>/taxes/registrations/<registration_id>")
@needs("settings.write")
def tax_registration(registration_id: str) -> ResponseReturnValue:
    return _registration(_row("registrations", registration_id), row_id=registration_id)


@bp.post("/<business_id>/taxes/registrations/<registration_id>")
@needs("settings.write")
def change_tax_registration(registration_id: str) -> ResponseReturnValue:
    _row("registrations", registration_id)
    return _save_registration(registration_id)


@bp.post("/<business_id>/taxes/registrations/<registration_id>/removal")
@needs("settings.write")
def remove_tax_registration(registration_id: str) -> ResponseReturnValue:
    row = _row("registrations", registration_id)
    return _remove("registrations", registration_id, view.place(row))


@bp.get("/<business_id>/taxes/rates/new")
@needs("settings.write")
def new_tax_rate() -> ResponseReturnValue:
    return _rate({"country": request.args.get("country", ""), "region": request.args.get("region", "")})


@bp.post("/<business_id>/taxes/rates/new")
@needs("settings.write")
def add_tax_rate() -> ResponseReturnValue:
    return _save_rate(None)


@bp.get("/<business_id>/taxes/rates/<rate_id>")
@needs("settings.write")
def tax_rate(rate_id: str) -> ResponseReturnValue:
    row = _row("rates", rate_id)
    return _rate({**row, "rate": view.percent_input(row["bps"])}, row_id=rate_id)


@bp.post("/<business_id>/taxes/rates/<rate_id>")
@needs("settings.write")
def change_tax_rate(rate_id: str) -> ResponseReturnValue:
    _row("rates", rate_id)
    return _save_rate(rate_id)


@bp.post("/<business_id>/taxes/rates/<rate_id>/removal")
@needs("settings.write")
def remove_tax_rate(rate_id: str) -> ResponseReturnValue:
    row = _row("rates", rate_id)
    return _remove("rates", rate_id, f"{view.place(row)}, {view.percent(row['bps'])}")


def _save_registration(row_id: str | None) -> ResponseReturnValue:
    try:
        command.save_registration(db(), request.form, row_id)
    except Invalid as wrong:
        return _registration(request.form, _messages(wrong), row_id), 422
    _saved(True)
    return redirect(here("console.taxes"), 303)


def _save_rate(row_id: str | None) -> ResponseReturnValue:
    form = request.form
    bps = view.read_percent(form.get("rate", ""))
    code = form.get("code", "") if not bps else ""
    try:
        command.save_rate(db(), {**form, "bps": bps, "code": code}, row_id)
    except Invalid as wrong:
        errors = {"rate" if name == "bps" else name: text for name, text in _messages(wrong).items()}
        return _rate(form, errors, row_id), 422
    _saved(True)
    return redirect(here("console.taxes"), 303)


def _remove(kind: str, row_id: str, name: str) -> ResponseReturnValue:
    confirmation = unconfirmed(
        _("Remove %(name)s?", name=name),
        _("Remove"),
        here("console.taxes"),
        _("Future invoices are taxed without it. Invoices already issued do not change."),
        page="tenants/console/confirm.html",
    )
    if confirmation:
        return confirmation
    command.remove(db(), kind, row_id)
    _saved(True)
    return redirect(here("console.taxes"), 303)


def _row(kind: str, row_id: str) -> Mapping[str, Any]:
    """Return a registration or a rate. Raises NotFound."""
    for row in setup_of(the_business(db())).get(kind) or ():
        if row.get("id") == row_id:
            found: Mapping[str, Any] = row
            return found
    raise NotFound()


def _saved(changed: bool) -> None:
    if changed:
        notify_owners(db(), "rules_changed", "taxes")
    flash(_("Saved. Future invoices are taxed this way.") if changed else _("No changes."), "good")


def _page(typed: Mapping[str, Any] | None = None, errors: dict[str, str] | None = None) -> str:
    business = the_business(db())
    setup = setup_of(business)
    general = {**setup, **{f"exempt_{name}": reason for name, reason in (setup.get("exempt") or {}).items()}}
    return render_template(
        "tenants/console/taxes.html",
        business=business,
        is_set_up=is_set_up(business),
        calculator=calculator_view(business),
        home=view.country_name(business.tax_country),
        registrations=view.registrations(setup, business),
        rates=view.own_rates(setup, business),
        defaults=view.default_rows(setup, business),
        typed=general if typed is None else typed,
        errors=errors or {},
        categories=product_form.choices()["tax_categories"],
        countries=countries(),
        regions=view.regions(),
        preview=view.preview(business, request.args),
        asked=request.args,
        checks_ids=bool(services().settings.vies_url),
        base=here("console.taxes"),
        details_url=f"{here('console.settings')}/details",
        may_write=current_member().may("settings.write"),
    )


def _registration(typed: Mapping[str, Any], errors: dict[str, str] | None = None, row_id: str | None = None) -> str:
    return render_template(
        "tenants/console/tax_registration.html",
        typed=typed,
        errors=errors or {},
        row_id=row_id,
        schemes=view.schemes(),
        countries=countries(),
        regions=view.regions(),
        base=here("console.taxes"),
    )


def _rate(typed: Mapping[str, Any], errors: dict[str, str] | None = None, row_id: str | None = None) -> str:
    return render_template(
        "tenants/console/tax_rate.html",
        typed=typed,
        errors=errors or {},
        row_id=row_id,
        countries=[*countries(), ("*", _("Every country that nothing else covers"))],
        regions=view.regions(),
        categories=[("", _("All categories")), *product_form.choices()["tax_categories"]],
        codes=view.codes(),
        base=here("console.taxes"),
    )


def _messages(wrong: Invalid) -> dict[str, str]:
    return {name: _(sentence) for name, sentence in wrong.fields.items()}
