"""The page for people who do not know any more which address they bought with."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import doors, recovery
from auth.devices import device_words
from auth.views import bp
from core.web import house


@bp.route("/login/recovery", methods=["GET", "POST"])
def recover() -> ResponseReturnValue:
    return _page(None)


@bp.route("/login/<business_id>/recovery", methods=["GET", "POST"])
def recover_at_business(business_id: str) -> ResponseReturnValue:
    return _page(business_id)


def _page(business_id: str | None) -> ResponseReturnValue:
    face = doors.face_or_404(business_id) if business_id else None
    doors.stand_at(face)
    action = f"/login/{business_id}/recovery" if business_id else "/login/recovery"
    if request.method != "POST":
        return render_template("auth/recovery.html", business=face, action=action, error="", is_done=False)
    typed = request.form.get("receipt", "").strip()
    if not 3 <= len(typed) <= recovery.LONGEST:
        return render_template("auth/recovery.html", business=face, action=action, is_done=False,
                               error=_("Type a licence key or an invoice number, as it stands on your receipt.")), 422
    recovery.ask(house().database, house().settings, typed, business_id=business_id, device=device_words(request.user_agent.string),
                 source=doors.source())
    return render_template("auth/recovery.html", business=face, action=action, error="", is_done=True)
