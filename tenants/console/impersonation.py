"""View the portal as a customer: for half an hour, read-only, with a reason that the customer can read.

The customer's pages are registered a third time under this blueprint. Only plain pages are allowed: no forms, no redirect to a
bank, no search by license key. The database is opened read-only. No person is signed in, so account pages are not available.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

import portal
from auth import visit_rows
from auth.sessions import Visit
from billing.customers import queries as query
from core import clock
from core.errors import Forbidden, Invalid, NotFound
from core.links import here
from core.request_context import Door, db, enter, open_for_request, services, set_visitor
from core.request_limits import SAFE_METHODS
from core.scope import Actor, customer_of
from portal.impersonation import ImpersonationNotice, current_impersonation, set_impersonation
from portal.reader import Reader
from portal.request_accounts import set_accounts
from tenants import business_portal as business_door
from tenants import impersonation
from tenants.console.access import bp, current_member, load_member, needs
from tenants.console.businesses import person

door = Blueprint("impersonation", __name__, url_prefix="/console/<business_id>/view/<view_id>")
door.register_blueprint(portal.bp)  # at import: a second application must not nest it again
door.add_url_rule("/", "home", business_door.home)

OPEN = frozenset(
    {"home"}
    | {
        f"portal.{name}"
        for name in (
            "subscriptions",
            "subscription",
            "purchases",
            "purchase",
            "billing_history",
            "invoices",
            "invoice",
            "refunds",
            "refund",
            "invoice_pdf",
            "invoice_correction_pdf",
            "refund_pdf",
            "payment_methods",
            "license_keys",
            "profile",
            "activity",
        )
    }
)
"""Read-only pages. A new page is not available here until it is added to this list."""


@door.url_value_preprocessor
def take_ids(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    g.business_id, g.view_id = (values or {}).pop("business_id", None), (values or {}).pop("view_id", None)


@door.url_defaults
def put_ids(_endpoint: str, values: dict[str, Any]) -> None:
    for name in ("business_id", "view_id"):
        if g.get(name):
            values.setdefault(name, g.get(name))


@door.before_request
def authorize_view() -> ResponseReturnValue | None:
    if redirection := load_member(str(g.business_id)):
        return redirection
    visit, member = person(), current_member()
    if not member.may("impersonate"):
        raise NotFound()
    view = impersonation.running(services().database, member.business_id, g.view_id, membership_id=member.id, session_id=visit.session_id)
    if view is None:
        raise NotFound(sentence=_("This session has ended. To view as the customer again, open the customer's page."))
    scope = replace(customer_of(member.business_id, view.customer_id), actor=Actor("staff", member.id))
    # shown as accepted: whether the person has accepted the business is theirs to know (docs/decisions/0009-who-is-known.md)
    rows = [replace(row, accepted=True) for row in visit_rows.rows_of(scope, member.business_id)]
    if not rows:
        raise NotFound()
    g.visit = Visit(session_id="", identity_id=None, created_at=clock.wall(), proved_at=None, customers=rows)
    profile, base = rows[0].business, f"/console/{member.business_id}"
    enter(Door.of_business("business", profile, f"{base}/view/{view.id}/"))
    set_accounts(rows)
    set_impersonation(
        ImpersonationNotice(
            rows[0].customer_name, view.started_at, view.expires_at, f"{base}/sales/customers/{view.customer_id}/view/{view.id}/end"
        )
    )
    set_visitor(Reader(rows[0].customer_name, rows[0].email, rows[0].locale, profile.zone))
    open_for_request(scope, reads_only=True)
    if request.method not in SAFE_METHODS or (request.endpoint or "").removeprefix("impersonation.") not in OPEN:
        raise Forbidden(sentence=_("You are viewing as a customer. Only the customer can submit forms, pay or make changes."))
    return None


@door.context_processor
def template_values() -> dict[str, Any]:
    return {"impersonation": current_impersonation()}


@bp.get("/<business_id>/sales/customers/<customer_id>/view")
@needs("impersonate")
def impersonate(customer_id: str) -> ResponseReturnValue:
    return _form(customer_id)


@bp.post("/<business_id>/sales/customers/<customer_id>/view")
@needs("impersonate")
def start_impersonation(customer_id: str) -> ResponseReturnValue:
    typed = request.form.get("reason", "")
    try:
        row = impersonation.begin(db(), customer_id, typed, membership_id=current_member().id, session_id=person().session_id)
    except Invalid as wrong:
        return _form(customer_id, typed[:400], _(wrong.fields["reason"])), 422
    return redirect(f"/console/{current_member().business_id}/view/{row.id}/", 303)


@bp.post("/<business_id>/sales/customers/<customer_id>/view/<view_id>/end")
@needs("impersonate")
def end_impersonation(customer_id: str, view_id: str) -> ResponseReturnValue:
    impersonation.end(db(), customer_id, view_id, membership_id=current_member().id)
    flash(_("You have stopped viewing as the customer."), "good")
    return redirect(f"{here('console.customers')}/{customer_id}", 303)


def _form(customer_id: str, reason: str = "", error: str = "") -> str:
    base = here("console.customers")
    return render_template(
        "tenants/console/impersonation.html",
        customer=query.get_customer(db(), customer_id),
        base=base,
        url=f"{base}/{customer_id}",
        reason=reason,
        error=error,
        minutes=int(impersonation.LIFE.total_seconds() // 60),
    )
