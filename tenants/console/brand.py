"""The brand of a business, with a preview. `core/brand.py` keeps text readable with any accent color."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Response, flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.customers import brand as customer_brand
from billing.customers.portal_settings import the_business
from core.brand import DEFAULT_ACCENT, FONTS, RADII, brand_tokens, clean_brand, clean_logo, logo_path, parse_color
from core.errors import N_, Invalid
from core.links import here
from core.logo import MAX_BYTES
from core.request_context import db
from core.request_limits import takes_upload
from portal.confirmation import unconfirmed
from tenants.console.access import bp, current_member, needs
from tenants.console.portal_preview import framed, portal_preview

FIELDS = ("accent", "radius", "font", "mode")


@bp.get("/<business_id>/brand")
@needs("settings.read")
def brand() -> ResponseReturnValue:
    return _page(_stored())


@bp.post("/<business_id>/brand")
@needs("brand.write")
def change_brand() -> ResponseReturnValue:
    """Save the brand, or show a preview for the other button."""
    typed = {name: request.form.get(name, "") for name in FIELDS}
    try:
        chosen = clean_brand(typed["accent"], typed["radius"], typed["font"], typed["mode"])
    except Invalid as wrong:
        return _page(typed, {name: _(message) for name, message in wrong.fields.items()}), 422
    if "preview" in request.form:
        return _page(typed, is_preview=True)
    customer_brand.change_brand(db(), **{**chosen, "radius": str(chosen["radius"])})
    flash(_("Saved. Customers see the change immediately."), "good")
    return redirect(here("console.brand"), 303)


@bp.post("/<business_id>/brand/logo")
@takes_upload(2 * MAX_BYTES)  # twice the limit, so that a slightly larger file gets an error message beside the field
@needs("brand.write")
def change_logo() -> ResponseReturnValue:
    """Store the logo. The image is decoded and encoded again; the uploaded file itself is not kept."""
    sent = request.files.get("logo")
    raw = sent.read() if sent else b""
    try:
        if not raw:
            raise Invalid(fields={"logo": N_("Choose an image file first.")})
        png = clean_logo(raw)
    except Invalid as wrong:
        return _page(_stored(), {name: _(message) for name, message in wrong.fields.items()}), 422
    customer_brand.put_logo(db(), png)
    flash(_("Logo saved."), "good")
    return redirect(here("console.brand"), 303)


@bp.post("/<business_id>/brand/logo/removal")
@needs("brand.write")
def remove_logo() -> ResponseReturnValue:
    confirmation = unconfirmed(
        _("Remove the logo?"),
        _("Remove logo"),
        here("console.brand"),
        _("The first letter of your name is shown instead. The image is deleted."),
        page="tenants/console/confirm.html",
    )
    if confirmation:
        return confirmation
    customer_brand.drop_logo(db())
    flash(_("Logo removed. The first letter of your name is shown instead."), "good")
    return redirect(here("console.brand"), 303)


@bp.get("/<business_id>/brand/preview")
@needs("settings.read")
def brand_preview() -> Response:
    """Return the preview of the form's values, for the frames beside the form. Invalid values are replaced by the defaults."""
    typed = {name: request.args.get(name, "") for name in FIELDS}
    scheme = "dark" if request.args.get("scheme") == "dark" else "light"
    return portal_preview(_as_stored(typed), scheme)


@bp.get("/<business_id>/brand/contrast")
@needs("settings.read")
def brand_contrast() -> Response:
    """Return the contrast ratios of the form's values, for the frame below the previews."""
    typed = {name: request.args.get(name, "") for name in FIELDS}
    return framed(render_template("tenants/console/brand_contrast.html", contrasts=_contrasts(_as_stored(typed))))


def _stored() -> dict[str, str]:
    stored = the_business(db()).brand or {}
    return {
        "accent": stored.get("accent") or DEFAULT_ACCENT,
        "radius": str(stored.get("radius") or 4),
        "font": stored.get("font") or "system",
        "mode": stored.get("mode") or "system",
    }


def _as_stored(typed: Mapping[str, str]) -> dict[str, Any]:
    """Return the form's values as they are stored, with the logo that is stored now."""
    radius, logo = typed["radius"], (the_business(db()).brand or {}).get("logo")
    return {
        "accent": typed["accent"] if parse_color(typed["accent"]) else DEFAULT_ACCENT,
        "radius": int(radius) if radius in {str(item) for item in RADII} else None,
        "font": typed["font"],
        "mode": typed["mode"],
        "logo": logo,
    }


def _page(typed: Mapping[str, str], errors: dict[str, str] | None = None, is_preview: bool = False) -> str:
    business, values = the_business(db()), urlencode({name: typed[name] for name in FIELDS})
    return render_template(
        "tenants/console/brand.html",
        typed=typed,
        errors=errors or {},
        is_preview=is_preview,
        base=here("console.brand"),
        logo=logo_path(business.business_id, business.brand),
        may_write=current_member().may("brand.write"),
        fonts=[(name, font_labels()[name]) for name in FONTS],
        picked=typed["accent"] if parse_color(typed["accent"]) else DEFAULT_ACCENT,
        preview=f"{here('console.brand_preview')}?{values}",
        contrast=f"{here('console.brand_contrast')}?{values}",
    )


def _contrasts(shown: dict[str, Any]) -> list[tuple[str, str, str, float]]:
    """Return (use, color, how the color was chosen, contrast ratio)."""
    tokens = brand_tokens(shown)
    ratios, light, dark = tokens["contrast"], tokens["link_light"], tokens["link_dark"]
    chosen = _("your accent color")
    return [
        (_("Text on the accent color"), tokens["on_brand"], _("chosen automatically for the best contrast"), ratios["words"]),
        (_("Links, light color scheme"), light, chosen if light == tokens["brand"] else _("darkened automatically"), ratios["link_light"]),
        (_("Links, dark color scheme"), dark, chosen if dark == tokens["brand"] else _("lightened automatically"), ratios["link_dark"]),
    ]


def font_labels() -> dict[str, str]:
    return {
        "system": _("Font of the device (fastest)"),
        "humanist": _("Humanist, warm and open"),
        "geometric": _("Geometric, even and cool"),
        "rounded": _("Rounded, friendly"),
        "serif": _("Serif, like a book"),
        "slab": _("Slab, like a typewriter"),
    }
