"""Invoices and refunds as PDF. Payment ids travel in return addresses, so an id alone opens nothing (safety 5.1)."""

from __future__ import annotations

from flask import Response, g, request

from billing.documents.links import Noun, business_of_token
from billing.queries import api as read
from billing.queries.open_links import open_business_of
from core.errors import NotFound
from core.scope import Scope, system
from core.web import house
from tenants.api.door import bp, without_key
from tenants.api.reading import Query
from tenants.api.saying import says


class TokenQuery(Query):
    token: str | None = None


@bp.get("/invoices/payments/<payment_id>", endpoint="invoice_pdf")
@without_key
@says(form="pdf", asks=TokenQuery)
def of_payment(payment_id: str) -> Response:
    with house().database.open(_scope("payments", payment_id)) as db:
        return _pdf(*house().documents.invoice_pdf(db, read.invoice_of(db, payment_id)))


@bp.get("/invoices/refunds/<refund_id>", endpoint="refund_pdf")
@without_key
@says(form="pdf", asks=TokenQuery, refuses=(409,))
def of_refund(refund_id: str) -> Response:
    with house().database.open(_scope("refunds", refund_id)) as db:
        return _pdf(*house().documents.refund_pdf(db, refund_id))


def _scope(noun: Noun, id: str) -> Scope:
    """Whose rows the document is looked for in: the key's business, the token's, or one that keeps its links open."""
    if g.caller is not None:
        scope: Scope = g.caller.scope
        return scope
    if token := request.args.get("token"):
        business_id = business_of_token(house().settings, token, noun, id)
    else:
        business_id = open_business_of(house().database, noun, id)
    if business_id is None:
        raise NotFound()
    return system(business_id)


def _pdf(pdf: bytes, name: str) -> Response:
    answer = Response(pdf, mimetype="application/pdf")
    answer.headers["Content-Disposition"] = f'inline; filename="{name}.pdf"'
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer
