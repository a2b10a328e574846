"""The page behind the link in a reminder that switches this kind of reminder off. Mail programs may also post to it (RFC 8058)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from auth import sign_in_context
from billing.customers.optional_notices import switch_off
from billing.model.business_profile import public_profile
from core.errors import NotFound
from core.request_context import services
from core.scope import customer_of
from core.security import csrf_exempt, token_page
from portal.notice_links import read_token
from portal.notifications import notice_labels

if TYPE_CHECKING:
    from flask import Flask

    from core.services import Services

bp = Blueprint("notices", __name__)


@bp.route("/notices/<token>", methods=["GET", "POST"])
@csrf_exempt
def off(token: str) -> ResponseReturnValue:
    """A GET only shows the question: mail scanners open links. Whoever has the link may switch this reminder off, and nothing else."""
    token_page()
    found = read_token(services().settings, token)
    profile = public_profile(services().database, found[0]) if found else None
    if found is None or profile is None:
        raise NotFound()
    business_id, customer_id, reminder = found
    sign_in_context.require_sign_in_context(profile)
    if request.method == "POST":
        with services().database.open(customer_of(business_id, customer_id), write=True) as db:
            switch_off(db, customer_id, reminder)
    label = notice_labels()[reminder]
    return render_template("portal/notice_off.html", business=profile, label=label, is_done=request.method == "POST")


def register(app: Flask, services: Services) -> None:
    app.register_blueprint(bp)
