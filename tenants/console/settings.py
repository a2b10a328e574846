"""Settings: portal rules, business details, and closing the business. The rules are read through `billing/model/policy.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.customers import portal_settings as command
from billing.customers.archive_business import archive_business
from billing.model import policy
from billing.model.parties import Business
from core import i18n
from core.errors import Invalid
from core.links import here
from core.request_context import db
from portal.billing_details import countries
from tenants.console.access import bp, current_member, needs, needs_fresh_proof
from tenants.console.setting_labels import rule_choices, rule_labels
from tenants.emails import notify_owners


@bp.get("/<business_id>/settings")
@needs("settings.read")
def settings() -> ResponseReturnValue:
    return _rules(_typed_rules(command.the_business(db())))


@bp.post("/<business_id>/settings")
@needs("settings.write")
def change_settings() -> ResponseReturnValue:
    try:
        changed = command.change_rules(db(), request.form)
    except Invalid as wrong:
        return _rules(request.form, _messages(wrong)), 422
    if changed:
        notify_owners(db(), "rules_changed", "rules")
    flash(_("Saved. The change takes effect immediately.") if changed else _("No changes."), "good")
    return redirect(here("console.settings"), 303)


@bp.get("/<business_id>/settings/details")
@needs("settings.read")
def details() -> ResponseReturnValue:
    return _details(_typed_details(command.the_business(db())))


@bp.post("/<business_id>/settings/details")
@needs("settings.write")
def change_details() -> ResponseReturnValue:
    try:
        changed = command.change_details(db(), request.form)
    except Invalid as wrong:
        return _details(request.form, _messages(wrong)), 422
    if changed:
        notify_owners(db(), "rules_changed", "details")
    flash(_("Saved. New invoices and emails use these details.") if changed else _("No changes."), "good")
    return redirect(here("console.details"), 303)


@bp.get("/<business_id>/settings/closing")
@needs("settings.write")
@needs_fresh_proof
def closing() -> ResponseReturnValue:
    return _closing()


@bp.post("/<business_id>/settings/closing")
@needs("settings.write")
@needs_fresh_proof
def close_business() -> ResponseReturnValue:
    """Close the business. The form requires its name, so that it cannot be closed by accident."""
    business = command.the_business(db())
    if " ".join(request.form.get("name", "").split()) != business.name:
        return _closing(
            request.form.get("name", ""), {"name": _("This is not the name of the business. Enter %(name)s.", name=business.name)}
        ), 422
    archive_business(db(), business.business_id)
    notify_owners(db(), "rules_changed", "closed")
    flash(_("%(name)s is closed. Customers keep access to their purchases and invoices.", name=business.name), "good")
    return redirect(here("console.closing"), 303)


def _rules(typed: Mapping[str, Any], errors: dict[str, str] | None = None) -> str:
    choices, business = rule_choices(), command.the_business(db())
    tries = policy.setting(business, "retry_schedule_hours")
    if tries not in command.RETRIES.values():
        hours = ", ".join(str(attempt) for attempt in tries)
        choices["retries"] = [("as_it_is", _("Current setting: after %(hours)s hours", hours=hours)), *choices["retries"]]
    return render_template(
        "tenants/console/settings.html",
        typed=typed,
        errors=errors or {},
        rules=choices,
        labels=rule_labels(),
        base=here("console.settings"),
        may_write=current_member().may("settings.write"),
    )


def _typed_rules(business: Business) -> dict[str, Any]:
    values = {name: policy.setting(business, name) for name in (*command.TOGGLES, *command.CHOICES, "grace_days")}
    tries = policy.setting(business, "retry_schedule_hours")
    known = next((name for name, hours in command.RETRIES.items() if hours == tries), "as_it_is")
    return {
        **values,
        "retries": known,
        "return_urls": "\n".join(policy.setting(business, "return_urls")),
        "portal_return_url": policy.setting(business, "portal_return_url") or "",
    }


def _details(typed: Mapping[str, Any], errors: dict[str, str] | None = None) -> str:
    return render_template(
        "tenants/console/details.html",
        typed=typed,
        errors=errors or {},
        base=here("console.settings"),
        countries=countries(),
        may_write=current_member().may("settings.write"),
        zones=i18n.zones(),
    )


def _typed_details(business: Business) -> dict[str, Any]:
    address = business.address or {}
    return {
        **{name: address.get(name) or "" for name in ("street", "city", "state", "zipcode", "country")},
        "name": business.name,
        "legal_name": business.legal_name,
        "tax_id": business.tax_id or "",
        "zone": business.zone,
        "support_email": business.support_email,
        "invoice_prefix": business.invoice_prefix,
    }


def _closing(typed: str = "", errors: dict[str, str] | None = None) -> str:
    return render_template(
        "tenants/console/closing.html", business=command.the_business(db()), typed=typed, errors=errors or {}, base=here("console.settings")
    )


def _messages(wrong: Invalid) -> dict[str, str]:
    return {name: _(sentence) for name, sentence in wrong.fields.items()}
