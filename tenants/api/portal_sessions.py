"""A business sends its customer to the portal: one link, one customer, 24 hours."""

from __future__ import annotations

from flask.typing import ResponseReturnValue

from auth.links import create_dynamic_link, mail_portal_link
from billing.queries import api as read
from core.web import db
from tenants.api.door import bp, caller
from tenants.api.reading import Query, query, return_url
from tenants.api.saying import says
from tenants.api.shapes import Shape, one


class SessionQuery(Query):
    send_email: bool = False
    return_url: str | None = None


class PortalLink(Shape):
    link: str


@bp.post("/customers/<customer_id>/customer-portal/session", endpoint="create_portal_session")
@says(PortalLink, asks=SessionQuery)
def create(customer_id: str) -> ResponseReturnValue:
    """`link` opens this customer of this business. send_email: the customer gets a letter too, with a token of its own."""
    asked, business_id = query(SessionQuery), caller().business_id
    back = return_url(asked.return_url, business_id)
    read.customer(db(), customer_id)
    _row, link = create_dynamic_link(db(), business_id, customer_id, return_url=back)
    if asked.send_email:
        mail_portal_link(db(), business_id, customer_id, return_url=back)
    return one(PortalLink(link=link))
