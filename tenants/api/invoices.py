"""Invoices and refunds as PDF. Payment ids are visible in return URLs, so an id alone gives no access (safety 5.1)."""

from __future__ import annotations

from flask import Response, g, request

from billing.documents.links import Noun, business_of_token
from billing.history import api_lists as read
from billing.history.public_invoices import open_business_of
from core.errors import NotFound
from core.request_context import services
from core.scope import Scope, system
from tenants.api.authentication import bp, without_key
from tenants.api.request_parsing import Query
from tenants.api.route_spec import route_spec


class TokenQuery(Query):
    token: str | None = None


@bp.get("/invoices/payments/<payment_id>", endpoint="invoice_pdf")
@without_key
@route_spec(form="pdf", query=TokenQuery)
def of_payment(payment_id: str) -> Response:
    """Return the invoice of a payment as PDF.

    Requires an API key of the business or the `token` of the document's link, unless the business makes these links public.
    """
    with services().database.open(_scope("payments", payment_id)) as db:
        return _pdf(*services().documents.invoice_pdf(db, read.invoice_of(db, payment_id)))


@bp.get("/invoices/refunds/<refund_id>", endpoint="refund_pdf")
@without_key
@route_spec(form="pdf", query=TokenQuery, errors=(409,))
def of_refund(refund_id: str) -> Response:
    """Return the credit note of a refund as PDF. Access works as for invoices."""
    with services().database.open(_scope("refunds", refund_id)) as db:
        return _pdf(*services().documents.refund_pdf(db, refund_id))


def _scope(noun: Noun, id: str) -> Scope:
    """Return the scope to read the document in: that of the API key, of the token, or of a business with public document links.

    Raises NotFound if there is none.
    """
    if g.caller is not None:
        scope: Scope = g.caller.scope
        return scope
    if token := request.args.get("token"):
        business_id = business_of_token(services().settings, token, noun, id)
    else:
        business_id = open_business_of(services().database, noun, id)
    if business_id is None:
        raise NotFound()
    return system(business_id)


def _pdf(pdf: bytes, name: str) -> Response:
    answer = Response(pdf, mimetype="application/pdf")
    answer.headers["Content-Disposition"] = f'inline; filename="{name}.pdf"'
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer
