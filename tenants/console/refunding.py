"""Giving money back: all or a part of a payment, with the reason kept. Wants a fresh proof; the owners get word of it."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.commands import refunding
from billing.payments import Payment
from billing.queries import sales
from core.amounts import read_amount, write_amount
from core.errors import Conflict
from core.pages import words
from core.web import here, house, scope
from portal.words import card_of
from tenants.console.door import bp, fresh, needs
from tenants.letters import tell_owners

REASON_LIMIT = 500


@bp.get("/<business_id>/sales/payments/<payment_id>/refund")
@needs("money.refund")
@fresh
def refund(payment_id: str) -> ResponseReturnValue:
    return _ask(payment_id, {})


@bp.post("/<business_id>/sales/payments/<payment_id>/refund")
@needs("money.refund")
@fresh
def make_refund(payment_id: str) -> ResponseReturnValue:
    """The command opens sessions of its own. `after` is how many refunds the form was made on: sent twice, it refunds once."""
    form, said = request.form, words()
    with house().database.open(scope()) as reading:
        one = sales.payment(reading, payment_id)
    paid, left, errors = one.payment, one.payment.amount_minor - one.payment.refunded_minor, {}
    amount = left
    if form.get("how") == "part":
        try:
            amount = read_amount(form.get("amount", ""), paid.currency, said.locale)
            if not 0 < amount <= left:
                errors["amount"] = _("More than nothing, and at most %(left)s.", left=said.money(left, paid.currency))
        except ValueError:
            errors["amount"] = _example(paid, said.locale)
    elif form.get("how") != "all":
        errors["how"] = _("Choose how much goes back.")
    reason = form.get("reason", "").strip()
    if len(reason) > REASON_LIMIT:
        errors["reason"] = _("Please keep it under 500 characters.")
    if errors:
        return _ask(payment_id, form, errors), 422
    url = f"{here('console.payments')}/{payment_id}"
    seen = form.get("after", "")
    try:
        made = refunding.refund(house().till, scope(), payment_id, amount_minor=amount, reason=reason or None,
                                after=int(seen) if seen.isdecimal() and len(seen) < 6 else -1)
    except Conflict as wrong:
        flash(_(wrong.sentence), "wait")
        return redirect(url, 303)
    money = said.money(made.amount_minor, made.currency)
    with house().database.open(scope(), write=True) as db:
        tell_owners(db, "refunded", f"{money}, {one.customer.name or one.customer.email}")
    if made.status == "succeeded":
        flash(_("%(amount)s went back to %(name)s.", amount=money, name=one.customer.name or one.customer.email), "good")
    elif made.status == "failed":
        flash(_("The bank did not take the refund. Nothing went back."), "due")
    else:
        flash(_("The refund of %(amount)s is on its way. Its state is shown below.", amount=money), "wait")
    return redirect(url, 303)


def _ask(payment_id: str, typed: Any, errors: dict[str, str] | None = None) -> str:
    with house().database.open(scope()) as reading:
        one, back = sales.payment(reading, payment_id), sales.refunds_of(reading, payment_id)
    paid = one.payment
    left = paid.amount_minor - paid.refunded_minor
    if paid.status != "succeeded" or left <= 0:
        raise Conflict("PAYMENT_ALREADY_REFUNDED", "There is nothing left of this payment to give back.")
    return render_template(
        "tenants/console/refund.html", one=one, paid=paid, customer=one.customer, left=left, after=len(back), typed=typed,
        errors=errors or {}, url=f"{here('console.payments')}/{payment_id}", base=here("console.payments"), card=card_of(paid.method),
        example=write_amount(left, paid.currency, words().locale))


def _example(paid: Payment, locale: str) -> str:
    return _("Write an amount in %(currency)s, such as %(example)s.", currency=paid.currency,
             example=write_amount(paid.amount_minor, paid.currency, locale))
