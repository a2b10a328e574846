"""The page for people who forgot which address they bought with."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import recovery, sign_in_context
from auth.devices import device_words
from auth.sign_in_views import bp
from core.request_context import services


@bp.route("/login/recovery", methods=["GET", "POST"])
def recover() -> ResponseReturnValue:
    return _page(None)


@bp.route("/login/<business_id>/recovery", methods=["GET", "POST"])
def recover_at_business(business_id: str) -> ResponseReturnValue:
    return _page(business_id)


def _page(business_id: str | None) -> ResponseReturnValue:
    profile = sign_in_context.profile_or_404(business_id) if business_id else None
    sign_in_context.require_sign_in_context(profile)
    action = f"/login/{business_id}/recovery" if business_id else "/login/recovery"
    if request.method != "POST":
        return render_template("auth/recovery.html", business=profile, action=action, error="", is_done=False)
    typed = request.form.get("receipt", "").strip()
    if not 3 <= len(typed) <= recovery.LONGEST:
        return render_template(
            "auth/recovery.html",
            business=profile,
            action=action,
            is_done=False,
            error=_("Enter a license key or an invoice number exactly as on your receipt."),
        ), 422
    recovery.request_recovery(
        services().database,
        services().settings,
        typed,
        business_id=business_id,
        device=device_words(request.user_agent.string),
        source=sign_in_context.source(),
    )
    return render_template("auth/recovery.html", business=profile, action=action, error="", is_done=True)
