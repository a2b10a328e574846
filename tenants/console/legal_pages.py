"""The links to terms and privacy in the footer, and the public texts about accessibility and cancelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.customers import legal_pages as command
from billing.customers.portal_settings import the_business
from billing.model import policy
from core.errors import Invalid
from core.links import here
from core.request_context import db
from core.web_links import MOST_TEXT
from tenants.console.access import bp, current_member, needs
from tenants.emails import notify_owners


@bp.get("/<business_id>/settings/legal")
@needs("settings.read")
def legal_pages() -> ResponseReturnValue:
    business = the_business(db())
    return _page({name: policy.setting(business, name) for name in (*command.LINKS, *command.TEXTS)})


@bp.post("/<business_id>/settings/legal")
@needs("settings.write")
def change_legal_pages() -> ResponseReturnValue:
    try:
        changed = command.change_legal_pages(db(), request.form)
    except Invalid as wrong:
        return _page(request.form, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    if changed:
        notify_owners(db(), "rules_changed", "legal")
    flash(_("Saved. The change takes effect immediately.") if changed else _("No changes."), "good")
    return redirect(here("console.legal_pages"), 303)


def _page(typed: Mapping[str, Any], errors: dict[str, str] | None = None) -> str:
    return render_template(
        "tenants/console/legal.html",
        typed=typed,
        errors=errors or {},
        most=MOST_TEXT,
        base=here("console.settings"),
        public_url=f"/legal/{current_member().business_id}",
        may_write=current_member().may("settings.write"),
    )
