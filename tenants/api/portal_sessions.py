"""Creates links that sign one customer in to the portal for 24 hours."""

from __future__ import annotations

from flask.typing import ResponseReturnValue

from auth.portal_links import create_dynamic_link, mail_portal_link
from billing.history import api_lists as read
from core.request_context import db
from tenants.api.authentication import bp, caller
from tenants.api.request_parsing import Query, query, return_url
from tenants.api.route_spec import route_spec
from tenants.api.shapes import Shape, json_response


class SessionQuery(Query):
    send_email: bool = False
    return_url: str | None = None


class PortalLink(Shape):
    link: str


@bp.post("/customers/<customer_id>/customer-portal/session", endpoint="create_portal_session")
@route_spec(PortalLink, query=SessionQuery)
def create(customer_id: str) -> ResponseReturnValue:
    """Create a link that signs this customer in to the portal of this business. The link is valid for 24 hours.

    With `send_email` the customer is also emailed a separate link.
    """
    params, business_id = query(SessionQuery), caller().business_id
    url = return_url(params.return_url, business_id)
    read.customer(db(), customer_id)
    _row, link = create_dynamic_link(db(), business_id, customer_id, return_url=url)
    if params.send_email:
        mail_portal_link(db(), business_id, customer_id, return_url=url)
    return json_response(PortalLink(link=link))
