"""Payments and refunds as staff find them, and one payment with everything that came of it."""

from __future__ import annotations

from flask import render_template
from flask.typing import ResponseReturnValue

from billing.queries import sales
from core.web import db, here
from portal.words import card_of, why_declined
from tenants.activity import names_of
from tenants.console.door import bp, me, needs
from tenants.console.lists import asked, chips
from tenants.console.telling import author


@bp.get("/<business_id>/sales/payments")
@needs("money.read")
def payments() -> ResponseReturnValue:
    wanted, base = asked(sales.PAYMENT_STATES), here("console.payments")
    found = sales.payments(db(replica=True), wanted.words, wanted.status, wanted.before)
    rows, newest, older = wanted.cut(base, found, lambda one: (one.payment.created_at, one.payment.id))
    return render_template(
        "tenants/console/payments.html", rows=rows, newest=newest, older=older, asked=wanted, base=base, card_of=card_of,
        refunds_url=here("console.refunds"), parked_url=here("console.parked") if sales.is_waiting(db()) else "",
        chips=chips("payment", sales.PAYMENT_STATES, wanted, base))


@bp.get("/<business_id>/sales/payments/<payment_id>")
@needs("money.read")
def payment(payment_id: str) -> ResponseReturnValue:
    one, back = sales.payment(db(), payment_id), sales.refunds_of(db(), payment_id)
    paid, buyer = one.payment, one.customer.name or one.customer.email
    names = names_of(db(), [paid.author, *(row.author for row in back)])
    return render_template(
        "tenants/console/payment.html", one=one, paid=paid, customer=one.customer, back=back,
        begun_by=author(paid.author, names, buyer) if paid.author and paid.author["type"] != "system" else "",
        refunded_by={row.id: author(row.author, names, buyer) for row in back},
        base=here("console.payments"), subscriptions_url=here("console.subscriptions"), card=card_of(paid.method),
        why=why_declined(paid.error_code) if paid.status == "failed" else "", parked_url=here("console.parked"),
        is_waiting=(paid.unknown or paid.invoice_id is None) and any(waits.parked.id == paid.id for waits in sales.waiting(db())),
        may_refund=me().may("money.refund") and paid.status == "succeeded" and paid.refunded_minor < paid.amount_minor)


@bp.get("/<business_id>/sales/refunds")
@needs("money.read")
def refunds() -> ResponseReturnValue:
    wanted, base = asked(sales.REFUND_STATES), here("console.refunds")
    found = sales.refunds(db(replica=True), wanted.words, wanted.status, wanted.before)
    rows, newest, older = wanted.cut(base, found, lambda one: (one.refund.created_at, one.refund.id))
    return render_template(
        "tenants/console/refunds.html", rows=rows, newest=newest, older=older, asked=wanted, base=base,
        payments_url=here("console.payments"), chips=chips("refund", sales.REFUND_STATES, wanted, base))
