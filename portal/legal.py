"""Public pages about accessibility and cancelling: of the deployment at `/legal/…`, of a business at `/legal/<business_id>/…`.

At a business's own domain, `/legal/…` is the page of that business.
"""

from __future__ import annotations

from flask import Blueprint, Flask, g, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import sign_in_context
from billing.model.business_profile import BusinessProfile
from billing.rights.table import cancel_labels
from core import i18n
from core.request_context import current_door, services
from portal.markdown import safe_html

bp = Blueprint("legal", __name__)


@bp.get("/legal/accessibility")
def accessibility() -> ResponseReturnValue:
    return _accessibility(_of_domain())


@bp.get("/legal/<business_id>/accessibility")
def accessibility_of_business(business_id: str) -> ResponseReturnValue:
    return _accessibility(sign_in_context.profile_or_404(business_id))


@bp.get("/legal/cancelling")
def cancelling() -> ResponseReturnValue:
    return _cancelling(_of_domain())


@bp.get("/legal/<business_id>/cancelling")
def cancelling_of_business(business_id: str) -> ResponseReturnValue:
    return _cancelling(sign_in_context.profile_or_404(business_id))


def register(app: Flask) -> None:
    app.register_blueprint(bp)
    app.jinja_env.globals["legal_links"] = legal_links


def legal_links() -> list[tuple[str, str]]:
    """Return (address, label) of the legal pages and links at this door, for the footer of every page."""
    door, legal = current_door(), services().settings.legal
    root = f"/legal/{door.business_id}" if door.business_id else "/legal"
    terms, privacy = (door.terms_url, door.privacy_url) if door.business_id else (legal.terms_url, legal.privacy_url)
    links = [(terms, _("Terms")), (privacy, _("Privacy"))]
    own = [(f"{root}/cancelling", _("How cancelling works")), (f"{root}/accessibility", _("Accessibility"))]
    return [(address, label) for address, label in (*links, *own) if address]


def _accessibility(profile: BusinessProfile | None) -> str:
    sign_in_context.require_sign_in_context(profile)
    settings = services().settings
    text = profile.accessibility_text if profile else settings.legal.accessibility
    support = (profile.support_email if profile else "") or settings.support_email
    return render_template("legal/accessibility.html", business=profile, text=safe_html(text), support=support)


def _cancelling(profile: BusinessProfile | None) -> str:
    """The business's text comes first. The steps always follow, because they are true in any case."""
    sign_in_context.require_sign_in_context(profile)
    return render_template(
        "legal/cancelling.html",
        business=profile,
        text=safe_html(profile.cancelling_text if profile else services().settings.legal.cancelling),
        form_url=f"/cancel/{profile.business_id}" if profile else "/cancel",
        label=cancel_labels(i18n.locale(), profile.country if profile else None)[0],
        sign_in_url=f"/login/{profile.business_id}" if profile else "/login",
    )


def _of_domain() -> BusinessProfile | None:
    domain = g.get("domain")
    return sign_in_context.profile_or_404(domain.business_id) if domain is not None else None
