"""See what a customer sees: for a reason the customer can read, for half an hour, and without being able to change anything.

The pages are the customer's own, hung a third time. The door lets nothing but their plain pages through (no form, no way to a
bank, no search by key), opens the database for reading, and knows no person: what a person sees of themselves is not here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

import portal
from auth import sessions
from auth.sessions import Visit
from billing.queries import customers as query
from core import clock
from core.errors import Forbidden, Invalid, NotFound
from core.scope import Actor, customer_of
from core.web import SAFE_METHODS, Door, db, enter, greet, here, house, open_for_request
from portal.looking import Looking, look, looking
from portal.standing import account_of, settle
from portal.visitor import Reader
from tenants import portal as business_door
from tenants import views
from tenants.console.door import bp, come_in, me, needs
from tenants.console.lobby import person

door = Blueprint("view_as", __name__, url_prefix="/console/<business_id>/view/<view_id>")
door.register_blueprint(portal.bp)  # at import: a second application must not nest it again
door.add_url_rule("/", "home", business_door.home)

OPEN = frozenset({"home"} | {f"portal.{name}" for name in (
    "subscriptions", "subscription", "purchases", "purchase", "billing_history", "invoices", "invoice", "refunds", "refund",
    "invoice_pdf", "invoice_correction_pdf", "refund_pdf", "payment_methods", "license_keys", "profile", "activity",
)})
"""Pages that only show. A new page is closed here until somebody has thought about it."""


@door.url_value_preprocessor
def take_ids(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    g.business_id, g.view_id = (values or {}).pop("business_id", None), (values or {}).pop("view_id", None)


@door.url_defaults
def put_ids(_endpoint: str, values: dict[str, Any]) -> None:
    for name in ("business_id", "view_id"):
        if g.get(name):
            values.setdefault(name, g.get(name))


@door.before_request
def open_the_door() -> ResponseReturnValue | None:
    if turned_away := come_in(str(g.business_id)):
        return turned_away
    visit, member = person(), me()
    if not member.may("view_as"):
        raise NotFound()
    view = views.running(house().database, member.business_id, g.view_id, membership_id=member.id, session_id=visit.session_id)
    if view is None:
        raise NotFound(sentence=_("This look is over. Begin another one from the customer's page."))
    scope = replace(customer_of(member.business_id, view.customer_id), actor=Actor("staff", member.id))
    # drawn as for somebody who is known: whether they are is the person's (docs/decisions/0009-who-is-known.md)
    rows = [replace(row, accepted=True) for row in sessions.rows_of(scope, member.business_id)]
    if not rows:
        raise NotFound()
    g.visit = Visit(session_id="", identity_id=None, created_at=clock.wall(), proved_at=None, customers=rows)
    face, base = rows[0].business, f"/console/{member.business_id}"
    enter(Door(kind="business", title=face.name, home_url=f"{base}/view/{view.id}/", brand=face.brand, business=face,
               business_id=member.business_id, seller=face.seller, support_email=face.support_email))
    settle([account_of(row) for row in rows])
    look(Looking(rows[0].name, view.started_at, view.expires_at, f"{base}/sales/customers/{view.customer_id}/view/{view.id}/end"))
    greet(Reader(rows[0].name, rows[0].email, rows[0].locale, face.zone))
    open_for_request(scope, reads_only=True)
    if request.method not in SAFE_METHODS or (request.endpoint or "").removeprefix("view_as.") not in OPEN:
        raise Forbidden(sentence=_("You only look here: forms, payments and changes are the customer's own."))
    return None


@door.context_processor
def who_looks() -> dict[str, Any]:
    return {"looking": looking()}


@bp.get("/<business_id>/sales/customers/<customer_id>/view")
@needs("view_as")
def view_as(customer_id: str) -> ResponseReturnValue:
    return _form(customer_id)


@bp.post("/<business_id>/sales/customers/<customer_id>/view")
@needs("view_as")
def begin_view(customer_id: str) -> ResponseReturnValue:
    typed = request.form.get("reason", "")
    try:
        row = views.begin(db(), customer_id, typed, membership_id=me().id, session_id=person().session_id)
    except Invalid as wrong:
        return _form(customer_id, typed[:400], _(wrong.fields["reason"])), 422
    return redirect(f"/console/{me().business_id}/view/{row.id}/", 303)


@bp.post("/<business_id>/sales/customers/<customer_id>/view/<view_id>/end")
@needs("view_as")
def end_view(customer_id: str, view_id: str) -> ResponseReturnValue:
    views.end(db(), customer_id, view_id, membership_id=me().id)
    flash(_("You look no longer."), "good")
    return redirect(f"{here('console.customers')}/{customer_id}", 303)


def _form(customer_id: str, reason: str = "", error: str = "") -> str:
    base = here("console.customers")
    return render_template("tenants/console/view_as.html", customer=query.one(db(), customer_id), base=base, url=f"{base}/{customer_id}",
                           reason=reason, error=error, minutes=int(views.LIFE.total_seconds() // 60))
