"""The answer of actions that may need a payment: the pending payment and its page (reference §2.3)."""

from __future__ import annotations

from billing.charging.payment_processor import PAGE_LIFE
from billing.history import api_lists as read
from core.request_context import services
from tenants.api.authentication import caller
from tenants.api.shapes import Shape, Stamp


class PaymentPageShape(Shape):
    """A pending payment. `payment_link` is the page where the customer pays, until `expires_on`. All null: nothing is pending."""

    client_secret: str | None = None  # always null: there is no card form to embed, customers pay on the hosted page
    expires_on: Stamp | None = None
    payment_id: str | None = None
    payment_link: str | None = None


def payment_page_shape(payment_id: str | None, link: str | None) -> PaymentPageShape:
    """Return the pending payment and, if there is a page to pay on, when it expires."""
    if payment_id is None or link is None:
        return PaymentPageShape(payment_id=payment_id, payment_link=link)
    with services().database.open(caller().scope) as db:
        created_at = read.payment(db, payment_id).payment.created_at
    return PaymentPageShape(payment_id=payment_id, payment_link=link, expires_on=created_at + PAGE_LIFE)
