"""Settings → Refunds: which payments customers refund themselves, and how refund requests are answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.customers import refund_policy as command
from core.errors import Invalid
from core.links import here
from core.request_context import db
from portal.self_refund_phrases import kind_labels
from tenants.console.access import bp, current_member, needs
from tenants.emails import notify_owners

TEXTS = ("days", "months", "answer_days", "amount", "keys")


@bp.get("/<business_id>/settings/refunds")
@needs("settings.read")
def refund_settings() -> ResponseReturnValue:
    return _page(command.current_policy(db()).stored())


@bp.post("/<business_id>/settings/refunds")
@needs("settings.write")
def change_refund_settings() -> ResponseReturnValue:
    typed = _typed()
    try:
        changed = command.change_refund_policy(db(), typed)
    except Invalid as wrong:
        return _page(typed, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    if changed:
        notify_owners(db(), "rules_changed", "refunds")
    flash(_("Saved. The change takes effect immediately.") if changed else _("No changes."), "good")
    return redirect(here("console.refund_settings"), 303)


def _typed() -> dict[str, Any]:
    form = request.form
    return {
        "is_on": bool(form.get("is_on")),
        "takes_requests": bool(form.get("takes_requests")),
        "kinds": form.getlist("kinds"),
        **{name: form.get(name, "") for name in TEXTS},
    }


def _page(typed: Mapping[str, Any], errors: dict[str, str] | None = None) -> str:
    return render_template(
        "tenants/console/refund_settings.html",
        typed=typed,
        errors=errors or {},
        base=here("console.settings"),
        kinds=kind_labels(),
        amounts=[("full", _("The full amount")), ("prorated", _("The unused time of the billing period"))],
        key_rules=[("not_activated", _("Only while no license key is activated")), ("any", _("Also with activated license keys"))],
        may_write=current_member().may("settings.write"),
    )
