"""How the business's door looks: chosen here, tried in a preview, and readable whatever was chosen (`core/brand.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Response, flash, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.commands import branding
from billing.commands.rules import the_business
from core.bounds import takes_upload
from core.brand import DEFAULT_ACCENT, FONTS, RADII, SCHEMES, brand_css, brand_tokens, clean_brand, clean_logo, logo_path, parse_colour
from core.errors import Invalid
from core.logo import MAX_BYTES
from core.pages import words
from core.security import csp_nonce
from core.web import db, here
from portal.confirming import unconfirmed
from tenants.console.door import bp, me, needs

FIELDS = ("accent", "radius", "font", "mode")


@bp.get("/<business_id>/brand")
@needs("settings.read")
def brand() -> ResponseReturnValue:
    return _page(_stored())


@bp.post("/<business_id>/brand")
@needs("brand.write")
def change_brand() -> ResponseReturnValue:
    """Saves; or, by the other button, only shows how it would look."""
    typed = {name: request.form.get(name, "") for name in FIELDS}
    try:
        chosen = clean_brand(typed["accent"], typed["radius"], typed["font"], typed["mode"])
    except Invalid as wrong:
        return _page(typed, {name: _(said) for name, said in wrong.fields.items()}), 422
    if "preview" in request.form:
        return _page(typed, tried=True)
    branding.change_brand(db(), **{**chosen, "radius": str(chosen["radius"])})
    flash(_("Saved. Your customers see it at once."), "good")
    return redirect(here("console.brand"), 303)


@bp.post("/<business_id>/brand/logo")
@takes_upload(2 * MAX_BYTES)  # what is a little too large gets an answer beside the field
@needs("brand.write")
def change_logo() -> ResponseReturnValue:
    """Decoded and drawn anew before anything is written: of the file that was sent nothing is kept."""
    sent = request.files.get("logo")
    raw = sent.read() if sent else b""
    try:
        if not raw:
            raise Invalid(fields={"logo": "Choose a picture first."})
        png = clean_logo(raw)
    except Invalid as wrong:
        return _page(_stored(), {name: _(said) for name, said in wrong.fields.items()}), 422
    branding.put_logo(db(), png)
    flash(_("This is your logo now."), "good")
    return redirect(here("console.brand"), 303)


@bp.post("/<business_id>/brand/logo/removal")
@needs("brand.write")
def remove_logo() -> ResponseReturnValue:
    asking = unconfirmed(_("Remove the logo?"), _("Remove the logo"), here("console.brand"),
                         _("The first letter of your name is shown instead. The picture is deleted."),
                         page="tenants/console/confirm.html")
    if asking:
        return asking
    branding.drop_logo(db())
    flash(_("The logo is gone. The first letter of your name stands in its place."), "good")
    return redirect(here("console.brand"), 303)


@bp.get("/<business_id>/brand/preview")
@needs("settings.read")
def brand_preview() -> Response:
    """A page for the frame beside the form, made from the form's values. What is no colour, corner or typeface counts as ours."""
    typed = {name: request.args.get(name, "") for name in FIELDS}
    business, stored = me().face, _as_stored(typed)
    scheme = typed["mode"] if typed["mode"] in SCHEMES else "system"
    return framed(render_template(
        "tenants/console/brand_preview.html", style=brand_css(stored), business=business, due=words().money(5400, me().currency),
        small=words().money(480, me().currency), contrasts=_contrasts(stored),
        schemes=("light", "dark") if scheme == "system" else (scheme,)))


def framed(page: str) -> Response:
    """A page that stands in a frame of the console's, with nothing in it that runs or leads away."""
    answer = make_response(page)
    answer.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self' 'nonce-{csp_nonce()}'; img-src 'self'; frame-ancestors 'self'; base-uri 'none'; "
        "form-action 'none'")
    return answer


def _stored() -> dict[str, str]:
    kept = the_business(db()).brand or {}
    return {"accent": kept.get("accent") or DEFAULT_ACCENT, "radius": str(kept.get("radius") or 4), "font": kept.get("font") or "system",
            "mode": kept.get("mode") or "system"}


def _as_stored(typed: Mapping[str, str]) -> dict[str, Any]:
    radius = typed["radius"]
    return {"accent": typed["accent"], "radius": int(radius) if radius in {str(one) for one in RADII} else None, "font": typed["font"]}


def _page(typed: Mapping[str, str], errors: dict[str, str] | None = None, tried: bool = False) -> str:
    business = the_business(db())
    return render_template(
        "tenants/console/brand.html", typed=typed, errors=errors or {}, tried=tried, base=here("console.brand"),
        logo=logo_path(business.business_id, business.brand), may_write=me().may("brand.write"),
        fonts=[(name, font_words()[name]) for name in FONTS], picked=typed["accent"] if parse_colour(typed["accent"]) else DEFAULT_ACCENT,
        preview=f"{here('console.brand_preview')}?{urlencode({name: typed[name] for name in FIELDS})}")


def _contrasts(shown: dict[str, Any]) -> list[tuple[str, str, str, float]]:
    """(where, colour, what was done about it, ratio)."""
    tokens = brand_tokens(shown)
    ratios, light, dark = tokens["contrast"], tokens["link_light"], tokens["link_dark"]
    chosen = _("as you chose it")
    return [
        (_("Words on the accent"), tokens["on_brand"], _("picked by us, for the best contrast"), ratios["words"]),
        (_("Links on a light page"), light, chosen if light == tokens["brand"] else _("made darker by us"), ratios["link_light"]),
        (_("Links on a dark page"), dark, chosen if dark == tokens["brand"] else _("made lighter by us"), ratios["link_dark"]),
    ]


def font_words() -> dict[str, str]:
    return {"system": _("The reader\u2019s own (fastest)"), "humanist": _("Humanist, warm and open"),
            "geometric": _("Geometric, even and cool"), "rounded": _("Rounded, friendly"), "serif": _("Serif, like a book"),
            "slab": _("Slab, like a typewriter")}
