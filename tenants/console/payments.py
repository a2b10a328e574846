"""Sales → Payments: lists of payments and refunds, and the page of one payment."""

from __future__ import annotations

from flask import render_template
from flask.typing import ResponseReturnValue

from billing.charging.refunds import is_paid_externally
from billing.history import staff_lists
from billing.history.disputes import disputes_of
from billing.history.tax_evidence import evidence_of, recorded_sale
from billing.subscriptions.consents import consents_of
from core import dispute_words
from core.links import here
from core.request_context import db
from portal.phrases import card_of, consent_words, why_declined
from tenants.activity import names_of
from tenants.console.access import bp, current_member, needs
from tenants.console.event_sentences import author
from tenants.console.lists import chips, list_query
from tenants.console.tax_evidence_view import view_of_evidence


@bp.get("/<business_id>/sales/payments")
@needs("money.read")
def payments() -> ResponseReturnValue:
    wanted, base = list_query(staff_lists.PAYMENT_STATES), here("console.payments")
    found = staff_lists.payments(db(replica=True), wanted.text, wanted.status, wanted.before)
    rows, newest, older = wanted.cut(base, found, lambda item: (item.payment.created_at, item.payment.id))
    return render_template(
        "tenants/console/payments.html",
        rows=rows,
        newest=newest,
        older=older,
        query=wanted,
        base=base,
        card_of=card_of,
        refunds_url=here("console.refunds"),
        exception_url=here("console.reconciliation") if staff_lists.is_waiting(db()) else "",
        chips=chips("payment", staff_lists.PAYMENT_STATES, wanted, base),
    )


@bp.get("/<business_id>/sales/payments/<payment_id>")
@needs("money.read")
def payment(payment_id: str) -> ResponseReturnValue:
    item, back = staff_lists.payment(db(), payment_id), staff_lists.refunds_of(db(), payment_id)
    paid, buyer = item.payment, item.customer.name or item.customer.email
    names = names_of(db(), [paid.author, *(row.author for row in back)])
    return render_template(
        "tenants/console/payment.html",
        entry=item,
        paid=paid,
        customer=item.customer,
        refunds=back,
        disputes=disputes_of(db(), payment_id),
        disputes_url=here("console.disputes"),
        reason=dispute_words.reason,
        begun_by=author(paid.author, names, buyer) if paid.author and paid.author["type"] != "system" else "",
        refunded_by={row.id: author(row.author, names, buyer) for row in back},
        base=here("console.payments"),
        subscriptions_url=here("console.subscriptions"),
        card=card_of(paid.method),
        consents=consents_of(db(), payment_id=payment_id),
        consent_words=consent_words(),
        decline_reason=why_declined(paid.error_code) if paid.status == "failed" else "",
        exception_url=here("console.reconciliation"),
        evidence=view_of_evidence(evidence_of(db(), paid.invoice_id), recorded_sale(db(), paid.invoice_id)),
        is_waiting=(paid.unknown or paid.invoice_id is None) and any(waits.exception.id == paid.id for waits in staff_lists.waiting(db())),
        may_refund=current_member().may("money.refund") and paid.left_minor > 0 and not is_paid_externally(paid),
    )


@bp.get("/<business_id>/sales/refunds")
@needs("money.read")
def refunds() -> ResponseReturnValue:
    wanted, base = list_query(staff_lists.REFUND_STATES), here("console.refunds")
    found = staff_lists.refunds(db(replica=True), wanted.text, wanted.status, wanted.before)
    rows, newest, older = wanted.cut(base, found, lambda item: (item.refund.created_at, item.refund.id))
    return render_template(
        "tenants/console/refunds.html",
        rows=rows,
        newest=newest,
        older=older,
        query=wanted,
        base=base,
        payments_url=here("console.payments"),
        chips=chips("refund", staff_lists.REFUND_STATES, wanted, base),
    )
