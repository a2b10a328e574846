"""Invoices and refunds as pages and as issued PDFs."""

from __future__ import annotations

import re
from collections.abc import Callable

from flask import Response, redirect, render_template
from flask.typing import ResponseReturnValue

from billing.documents import notes_of
from billing.history import documents as query
from billing.history.disputes import disputes_of
from billing.model import lifecycle
from billing.model.corrections import is_correctable
from core.errors import Unavailable
from core.links import exists_here, here
from core.request_context import db, services
from portal import bp
from portal.phrases import bank_confirms, card_of, country_name, decline_reason
from portal.request_accounts import account
from portal.self_refund_phrases import reason_label
from portal.self_refunds import refund_offer

REFRESH_SECONDS = 4


@bp.get("/invoices")
def invoices() -> ResponseReturnValue:
    return redirect(here("billing_history"), 308)


@bp.get("/invoices/<invoice_id>")
def invoice(invoice_id: str) -> ResponseReturnValue:
    found = query.invoice(db(), invoice_id)
    paid, theirs = found.paid_by, account(found.invoice.business_id, found.invoice.customer_id)
    failed = next((payment for payment in found.payments if payment.status == "failed"), None)
    pay_url = ""
    is_payable = lifecycle.may(lifecycle.INVOICE, found.invoice.status, "pay") and not found.under_way
    if is_payable and found.invoice.subscription_id and exists_here("payment_method"):
        path = "payment-method" if found.invoice.account_id is None else f"invoice-payment?invoice={found.invoice.id}"
        pay_url = f"{here('subscriptions')}/{found.invoice.subscription_id}/{path}"
    way, may_act = found.under_way, exists_here("payment_method")
    other_url = f"{here('subscriptions')}/{way.subscription_id}/payment-method" if way and way.charge_type == "renewal" and may_act else ""
    return render_template(
        "portal/invoice.html",
        other_url=other_url,
        confirm_url=(way.hosted_url if may_act and way.hosted_url else here("payment", payment_id=way.id)) if way else "",
        found=found,
        invoice=found.invoice,
        snapshot=found.snapshot,
        country_name=country_name,
        paid=paid,
        failed=failed,
        bank_confirms=bank_confirms(way.working_days or 1) if way and way.awaits_bank else "",
        why=decline_reason(failed.error_code) if failed else "",
        card=card_of(paid.method) if paid else "",
        pay_url=pay_url,
        account=theirs,
        may_correct=is_correctable(found.invoice) and not theirs.archived_at and exists_here("invoice_correction"),
        refunds_url=here("refunds"),
        corrections=query.corrections(db(), invoice_id),
        notes=notes_of(found.snapshot),
        disputes=disputes_of(db(), paid.id) if paid else [],
        refund_offer=refund_offer(db(), paid),
    )


@bp.get("/invoices/<invoice_id>/corrections/<correction_id>.pdf")
def invoice_correction_pdf(invoice_id: str, correction_id: str) -> ResponseReturnValue:
    return _pdf(*services().documents.correction_pdf(db(), correction_id))


@bp.get("/invoices/<invoice_id>.pdf")
def invoice_pdf(invoice_id: str) -> ResponseReturnValue:
    return _pdf_or_wait(lambda: services().documents.invoice_pdf(db(), invoice_id))


@bp.get("/refunds")
def refunds() -> ResponseReturnValue:
    return redirect(here("billing_history", state="refunded"), 308)


@bp.get("/refunds/<refund_id>")
def refund(refund_id: str) -> ResponseReturnValue:
    found, payment, paid = query.refund(db(), refund_id)
    return render_template(
        "portal/refund.html",
        refund=found,
        payment=payment,
        invoice=paid,
        card=card_of(payment.method),
        reason=reason_label(found.reason),
        account=account(found.business_id, found.customer_id),
        invoices_url=here("invoices"),
    )


@bp.get("/refunds/<refund_id>.pdf")
def refund_pdf(refund_id: str) -> ResponseReturnValue:
    return _pdf_or_wait(lambda: services().documents.refund_pdf(db(), refund_id))


def _pdf_or_wait(find: Callable[[], tuple[bytes, str]]) -> ResponseReturnValue:
    """Return the PDF. While an external billing system has not delivered it, return a page that refreshes automatically."""
    try:
        return _pdf(*find())
    except Unavailable as absent:
        is_coming = absent.code == "DOCUMENT_BEING_FETCHED"
        headers = {"Cache-Control": "private, no-store"} | ({"Refresh": str(REFRESH_SECONDS)} if is_coming else {})
        return render_template("portal/document_fetched.html", is_coming=is_coming), 202 if is_coming else 503, headers


def _pdf(pdf: bytes, number: str) -> Response:
    answer = Response(pdf, mimetype="application/pdf")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", number) or "document"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}.pdf"'
    answer.headers["Cache-Control"] = "private, no-store"
    return answer
