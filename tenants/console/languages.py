"""The languages of a business's portal: those customers can choose, and the default."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import urlencode

from flask import Response, flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.customers import languages as command
from billing.customers.portal_settings import the_business
from core import i18n
from core.errors import Invalid
from core.languages import among
from core.links import here
from core.request_context import db
from tenants.console.access import bp, current_member, needs
from tenants.console.portal_preview import portal_preview
from tenants.emails import notify_owners


@bp.get("/<business_id>/settings/languages")
@needs("settings.read")
def languages() -> ResponseReturnValue:
    profile = current_member().profile
    return _page(among(profile.languages), profile.locale)


@bp.post("/<business_id>/settings/languages")
@needs("settings.write")
def change_languages() -> ResponseReturnValue:
    """Save the languages, or show a preview for the other button."""
    chosen, default = request.form.getlist("languages"), request.form.get("locale", "")
    try:
        if "preview" in request.form:
            return _page(command.check_languages(chosen, default), default, is_preview=True)
        changed = command.change_languages(db(), chosen, default)
    except Invalid as wrong:
        return _page(chosen, default, {name: _(message) for name, message in wrong.fields.items()}), 422
    if changed:
        notify_owners(db(), "rules_changed", "languages")
    flash(_("Saved. Your portal now offers these languages.") if changed else _("No changes."), "good")
    return redirect(here("console.languages"), 303)


@bp.get("/<business_id>/settings/languages/preview")
@needs("settings.read")
def languages_preview() -> Response:
    """Return a preview of the portal in one language, with the language menu, for the frame beside the form."""
    names = among(request.args.getlist("languages"))
    with i18n.speaking(request.args.get("in")) as now:
        return portal_preview(the_business(db()).brand or {}, "light", [(name, i18n.own_name(name), name == now) for name in names])


def _page(chosen: Collection[str], default: str, errors: dict[str, str] | None = None, is_preview: bool = False) -> str:
    preview_url = here("console.languages") + "/preview?" + urlencode([("languages", name) for name in among(chosen)])
    shown: list[tuple[str, str, Any]] = [(name, i18n.own_name(name), f"{preview_url}&in={name}") for name in among(chosen)]
    return render_template(
        "tenants/console/languages.html",
        language_options=[(name, i18n.own_name(name)) for name in i18n.supported()],
        chosen=chosen,
        default=default,
        errors=errors or {},
        is_preview=is_preview,
        shown=shown,
        preview_url=f"{preview_url}&in={default}",
        base=here("console.settings"),
        may_write=current_member().may("settings.write"),
    )
