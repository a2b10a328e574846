"""Share invite: a static link for all customers, or a personal link for one customer, shown once or emailed."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.portal_links import create_dynamic_link, mail_portal_link
from billing.customers import queries as query
from core.errors import N_, Conflict, Invalid
from core.links import external, here
from core.request_context import db, services
from core.security import token_page
from tenants import portal_links
from tenants.console.access import bp, current_member, needs
from tenants.return_urls import clean_return_url


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
    """Create a personal link. With `how=show`, the link is only in this response; otherwise it is emailed to the customer."""
    typed = request.form.get("return_url", "").strip()
    query.get_customer(db(), customer_id)
    business = portal_links.business(db())
    if business.archived_at is not None:
        raise Conflict("BUSINESS_ARCHIVED", N_("This business is closed."))
    try:
        back = clean_return_url(services().settings, business, typed)
    except Invalid as wrong:
        return _page(customer_id, typed=typed, error=_(wrong.fields["return_url"])), 422
    if request.form.get("how") == "show":
        row, url = create_dynamic_link(db(), current_member().business_id, customer_id, return_url=back)
        token_page()
        return _page(customer_id, link=url, link_id=row.id, expires_at=row.expires_at)
    mail_portal_link(db(), current_member().business_id, customer_id, return_url=back)
    flash(_("The email has been sent. Its link works once, within 24 hours."), "good")
    return redirect(f"{here('console.customers')}/{customer_id}/invite", 303)


@bp.post("/<business_id>/sales/customers/<customer_id>/invite/<link_id>/revocation")
@needs("customers.invite")
def revoke_invite(customer_id: str, link_id: str) -> ResponseReturnValue:
    query.get_customer(db(), customer_id)
    portal_links.revoke(db(), current_member().business_id, customer_id, link_id)
    flash(_("The link is revoked. It no longer works."), "good")
    return redirect(f"{here('console.customers')}/{customer_id}/invite", 303)


def _static_link() -> str:
    return external(f"/login/{current_member().business_id}")


def _page(customer_id: str, typed: str = "", error: str = "", link: str = "", **more: object) -> str:
    row, base = query.get_customer(db(), customer_id), here("console.customers")
    return render_template(
        "tenants/console/invite.html",
        customer=row,
        base=base,
        url=f"{base}/{customer_id}",
        static_link=_static_link(),
        link=link,
        links=portal_links.links_of(db(), current_member().business_id, customer_id),
        typed=typed,
        error=error,
        **more,
    )
