"""Share invite: the static link for everybody, a dynamic one for one customer: shown once, or sent to their address."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.links import create_dynamic_link, mail_portal_link
from billing.queries import customers as query
from core.errors import Conflict, Invalid
from core.security import token_page
from core.web import db, external, here, house
from tenants import invites
from tenants.console.door import bp, me, needs
from tenants.returning import clean_return_url


@bp.get("/<business_id>/sales/invite")
@needs("customers.invite")
def share() -> ResponseReturnValue:
    return render_template("tenants/console/share.html", static_link=_static_link(), base=here("console.customers"))


@bp.get("/<business_id>/sales/customers/<customer_id>/invite")
@needs("customers.invite")
def invite_customer(customer_id: str) -> ResponseReturnValue:
    return _page(customer_id)


@bp.post("/<business_id>/sales/customers/<customer_id>/invite")
@needs("customers.invite")
def make_invite(customer_id: str) -> ResponseReturnValue:
    """"mail": a letter with a link of its own. "show": the link stands on this answer and nowhere else, ever."""
    typed = request.form.get("return_url", "").strip()
    query.one(db(), customer_id)
    shop = invites.business(db())
    if shop.archived_at is not None:
        raise Conflict("BUSINESS_ARCHIVED", "This business is closed.")
    try:
        back = clean_return_url(house().settings, shop, typed)
    except Invalid as wrong:
        return _page(customer_id, typed=typed, error=_(wrong.fields["return_url"])), 422
    if request.form.get("how") == "show":
        row, url = create_dynamic_link(db(), me().business_id, customer_id, return_url=back)
        token_page()
        return _page(customer_id, link=url, link_id=row.id, expires_at=row.expires_at)
    mail_portal_link(db(), me().business_id, customer_id, return_url=back)
    flash(_("The letter is on its way. Its link works once, within 24 hours."), "good")
    return redirect(f"{here('console.customers')}/{customer_id}/invite", 303)


@bp.post("/<business_id>/sales/customers/<customer_id>/invite/<link_id>/revocation")
@needs("customers.invite")
def revoke_invite(customer_id: str, link_id: str) -> ResponseReturnValue:
    query.one(db(), customer_id)
    invites.revoke(db(), me().business_id, customer_id, link_id)
    flash(_("The link is taken back. Whoever has it finds a page that says so."), "good")
    return redirect(f"{here('console.customers')}/{customer_id}/invite", 303)


def _static_link() -> str:
    return external(f"/login/{me().business_id}")


def _page(customer_id: str, typed: str = "", error: str = "", link: str = "", **more: object) -> str:
    row, base = query.one(db(), customer_id), here("console.customers")
    return render_template(
        "tenants/console/invite.html", customer=row, base=base, url=f"{base}/{customer_id}", static_link=_static_link(), link=link,
        links=invites.links_of(db(), me().business_id, customer_id), typed=typed, error=error, **more)
