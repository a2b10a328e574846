"""Invoices and refunds: as a page, and as the PDF that was issued."""

from __future__ import annotations

import re
from collections.abc import Callable

from flask import Response, redirect, render_template
from flask.typing import ResponseReturnValue

from billing.documents import notes_of
from billing.queries import documents as query
from core.errors import Unavailable
from core.web import db, exists_here, here, house
from portal import bp
from portal.standing import account
from portal.words import card_of, country_name, reason

LOOK_AGAIN = 4  # seconds


@bp.get("/invoices")
def invoices() -> ResponseReturnValue:
    return redirect(here("billing_history"), 308)


@bp.get("/invoices/<invoice_id>")
def invoice(invoice_id: str) -> ResponseReturnValue:
    found = query.invoice(db(), invoice_id)
    paid = found.paid_by
    failed = next((one for one in found.payments if one.status == "failed"), None)
    pay_url = ""
    if found.invoice.status == "open" and not found.under_way and found.invoice.subscription_id and exists_here("payment_method"):
        pay_url = f"{here('subscriptions')}/{found.invoice.subscription_id}/payment-method"
    way, may_act = found.under_way, exists_here("payment_method")
    other_url = f"{here('subscriptions')}/{way.subscription_id}/payment-method" if way and way.charge_type == "renewal" and may_act else ""
    return render_template(
        "portal/invoice.html", other_url=other_url,
        confirm_url=(way.hosted_url if may_act and way.hosted_url else here("payment", payment_id=way.id)) if way else "",
        found=found, invoice=found.invoice, said=found.snapshot, country_name=country_name, paid=paid, failed=failed,
        why=reason(failed.error_code) if failed else "", card=card_of(paid.method) if paid else "", pay_url=pay_url,
        account=account(found.invoice.business_id, found.invoice.customer_id), refunds_url=here("refunds"),
        corrections=query.corrections(db(), invoice_id), notes=notes_of(found.snapshot))


@bp.get("/invoices/<invoice_id>/corrections/<correction_id>.pdf")
def invoice_correction_pdf(invoice_id: str, correction_id: str) -> ResponseReturnValue:
    return _pdf(*house().documents.correction_pdf(db(), correction_id))


@bp.get("/invoices/<invoice_id>.pdf")
def invoice_pdf(invoice_id: str) -> ResponseReturnValue:
    return _printed(lambda: house().documents.invoice_pdf(db(), invoice_id))


@bp.get("/refunds")
def refunds() -> ResponseReturnValue:
    return redirect(here("billing_history", state="refunded"), 308)


@bp.get("/refunds/<refund_id>")
def refund(refund_id: str) -> ResponseReturnValue:
    found, payment, paid = query.refund(db(), refund_id)
    return render_template("portal/refund.html", refund=found, payment=payment, invoice=paid, card=card_of(payment.method),
                           account=account(found.business_id, found.customer_id), invoices_url=here("invoices"))


@bp.get("/refunds/<refund_id>.pdf")
def refund_pdf(refund_id: str) -> ResponseReturnValue:
    return _printed(lambda: house().documents.refund_pdf(db(), refund_id))


def _printed(find: Callable[[], tuple[bytes, str]]) -> ResponseReturnValue:
    """The document; or, where another system issued it and has not answered yet, a page that looks again by itself."""
    try:
        return _pdf(*find())
    except Unavailable as absent:
        is_coming = absent.code == "DOCUMENT_BEING_FETCHED"
        headers = {"Cache-Control": "private, no-store"} | ({"Refresh": str(LOOK_AGAIN)} if is_coming else {})
        return render_template("portal/document_fetched.html", is_coming=is_coming), 202 if is_coming else 503, headers


def _pdf(pdf: bytes, number: str) -> Response:
    answer = Response(pdf, mimetype="application/pdf")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", number) or "document"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}.pdf"'
    answer.headers["Cache-Control"] = "private, no-store"
    return answer
