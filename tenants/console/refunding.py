"""Refunding a payment: how much, a review that names the amount, then the refund. Wants a fresh proof; the owners get word of it."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing import policy
from billing.commands import refunding
from billing.commands.rules import the_business
from billing.payments import Payment
from billing.queries import held_keys, sales
from billing.refunds import refundable
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
    """Without `confirmed`, the review; with the amount that it named, the refund. The command opens sessions of its own.

    `after` is how many refunds the form was made on: sent twice, it refunds once.
    """
    form, said = request.form, words()
    with house().database.open(scope()) as reading:
        one = sales.payment(reading, payment_id)
        left = refundable(reading, one.payment)
    paid = one.payment
    if left <= 0 < paid.amount_minor:
        flash(_("All of it was refunded already."), "wait")
        return redirect(f"{here('console.payments')}/{payment_id}", 303)
    if form.get("change"):
        return _ask(payment_id, form)
    amount, errors = _amount(form, paid, left)
    reason = form.get("reason", "").strip()
    if len(reason) > REASON_LIMIT:
        errors["reason"] = _("Please keep it under 500 characters.")
    if errors:
        return _ask(payment_id, form, errors), 422
    if form.get("confirmed") != str(amount):
        return _review(payment_id, form, amount)
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


def _amount(form: Any, paid: Payment, left: int) -> tuple[int, dict[str, str]]:
    """What the form asks for. An amount that was typed chooses "a part"; typed beside "all of it" it contradicts, and is refused."""
    said, typed, how = words(), form.get("amount", "").strip(), form.get("how", "")
    if how not in ("all", "part") and not (typed and not how):
        return left, {"how": _("Choose how much to refund.")}
    if how == "all" and not typed:
        return left, {}
    try:
        amount = read_amount(typed, paid.currency, said.locale)
    except ValueError:
        return left, {"amount": _example(paid, said.locale)}
    if how == "all" and amount != left:
        return left, {"how": _("You chose all of it, %(left)s, and typed %(amount)s. Choose one of them.",
                               left=said.money(left, paid.currency), amount=said.money(amount, paid.currency))}
    if not 0 < amount <= left:
        return left, {"amount": _("More than nothing, and at most %(left)s.", left=said.money(left, paid.currency))}
    return amount, {}


def _ask(payment_id: str, typed: Any, errors: dict[str, str] | None = None) -> str:
    with house().database.open(scope()) as reading:
        one, back = sales.payment(reading, payment_id), sales.refunds_of(reading, payment_id)
        left = refundable(reading, one.payment)
    paid = one.payment
    if paid.status != "succeeded" or left <= 0:
        raise Conflict("PAYMENT_ALREADY_REFUNDED", "There is nothing left of this payment to give back.")
    return render_template(
        "tenants/console/refund.html", one=one, paid=paid, customer=one.customer, left=left, after=len(back), typed=typed,
        errors=errors or {}, url=f"{here('console.payments')}/{payment_id}", base=here("console.payments"), card=card_of(paid.method),
        example=write_amount(left, paid.currency, words().locale))


def _review(payment_id: str, typed: Any, amount: int) -> str:
    """What is about to happen, with the amount on the button. Nothing is written."""
    with house().database.open(scope()) as reading:
        one, back = sales.payment(reading, payment_id), sales.refunds_of(reading, payment_id)
        left = refundable(reading, one.payment)
        whole = one.payment.refunded_minor + amount >= one.payment.amount_minor
        has_keys = whole and one.payment.subscription_id is None and bool(held_keys.keys(reading, payment_id=payment_id))
        revokes = policy.setting(the_business(reading), "keys_on_full_refund") == "revoke"
    return render_template(
        "tenants/console/refund_review.html", one=one, paid=one.payment, customer=one.customer, amount=amount, left_after=left - amount,
        has_keys=has_keys, revokes=revokes, after=typed.get("after", len(back)), typed=typed,
        url=f"{here('console.payments')}/{payment_id}", base=here("console.payments"), card=card_of(one.payment.method))


def _example(paid: Payment, locale: str) -> str:
    return _("Write an amount in %(currency)s, such as %(example)s.", currency=paid.currency,
             example=write_amount(paid.amount_minor, paid.currency, locale))
