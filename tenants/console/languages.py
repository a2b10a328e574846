"""The languages of a business's portal: which ones its customers may choose, and which one is for everybody else."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import urlencode

from flask import Response, flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.commands import speaking as command
from billing.commands.rules import the_business
from core import i18n
from core.brand import brand_css, scheme_of
from core.errors import Invalid
from core.languages import among
from core.pages import words
from core.web import db, here
from tenants.console.brand import framed
from tenants.console.door import bp, me, needs
from tenants.letters import tell_owners


@bp.get("/<business_id>/settings/languages")
@needs("settings.read")
def languages() -> ResponseReturnValue:
    face = me().face
    return _page(among(face.languages), face.locale)


@bp.post("/<business_id>/settings/languages")
@needs("settings.write")
def change_languages() -> ResponseReturnValue:
    """Saves; or, by the other button, only shows what customers would see."""
    chosen, default = request.form.getlist("languages"), request.form.get("locale", "")
    try:
        if "preview" in request.form:
            return _page(command.check_languages(chosen, default), default, tried=True)
        changed = command.change_languages(db(), chosen, default)
    except Invalid as wrong:
        return _page(chosen, default, {name: _(said) for name, said in wrong.fields.items()}), 422
    if changed:
        tell_owners(db(), "rules_changed", "languages")
    flash(_("Saved. Your portal speaks them from now on.") if changed else _("Nothing was different."), "good")
    return redirect(here("console.languages"), 303)


@bp.get("/<business_id>/settings/languages/preview")
@needs("settings.read")
def languages_preview() -> Response:
    """A page for the frame beside the form: a little of the portal in one language, with the chooser as customers would have it."""
    business = the_business(db())
    names = among(request.args.getlist("languages"))
    with i18n.speaking(request.args.get("in")) as now:
        scheme = scheme_of(business.brand)
        return framed(render_template(
            "tenants/console/brand_preview.html", style=brand_css(business.brand), business=me().face,
            due=words().money(5400, me().currency), small=words().money(480, me().currency), contrasts=[],
            tongues=[(name, i18n.own_name(name), name == now) for name in names],
            schemes=(scheme if scheme in ("light", "dark") else "light",)))


def _page(chosen: Collection[str], default: str, errors: dict[str, str] | None = None, tried: bool = False) -> str:
    asked = here("console.languages") + "/preview?" + urlencode([("languages", name) for name in among(chosen)])
    shown: list[tuple[str, str, Any]] = [(name, i18n.own_name(name), f"{asked}&in={name}") for name in among(chosen)]
    return render_template(
        "tenants/console/languages.html", tongues=[(name, i18n.own_name(name)) for name in i18n.supported()], chosen=chosen,
        default=default, errors=errors or {}, tried=tried, shown=shown, seen=f"{asked}&in={default}", base=here("console.settings"),
        may_write=me().may("settings.write"))
