"""{client_secret, expires_on, payment_id, payment_link}: what still has to happen for an act that may need a payment (reference §2.3)."""

from __future__ import annotations

from billing.queries import api as read
from billing.till import PAGE_LIFE
from core.web import house
from tenants.api.door import caller
from tenants.api.shapes import Shape, Stamp


class PageShape(Shape):
    client_secret: str | None = None  # there is no card form to embed: people pay on the hosted page
    expires_on: Stamp | None = None
    payment_id: str | None = None
    payment_link: str | None = None


def page_shape(payment_id: str | None, link: str | None) -> PageShape:
    """`expires_on`: when the page ends that nobody finished."""
    if payment_id is None or link is None:
        return PageShape(payment_id=payment_id, payment_link=link)
    with house().database.open(caller().scope) as db:
        began = read.payment(db, payment_id).payment.created_at
    return PageShape(payment_id=payment_id, payment_link=link, expires_on=began + PAGE_LIFE)
