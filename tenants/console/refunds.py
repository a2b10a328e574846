"""Refund a payment: enter the amount, review it, refund. Requires a recent sign-in; the owners are notified."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.charging import reconciliation_exceptions
from billing.charging import refund as refund_payment
from billing.charging.refunds import DISPUTED, PAID_EXTERNALLY, is_paid_externally, refundable
from billing.customers.portal_settings import the_business
from billing.history import staff_lists
from billing.licenses import queries as license_queries
from billing.model import policy
from billing.model.payments import Payment
from core.amount_input import read_amount, write_amount
from core.errors import N_, Conflict
from core.links import here
from core.request_context import scope, services
from core.template_context import formatter
from portal.billing_services import processor
from portal.phrases import card_of
from tenants.console.access import bp, needs, needs_fresh_proof
from tenants.emails import notify_owners

REASON_LIMIT = 500


@bp.get("/<business_id>/sales/payments/<payment_id>/refund")
@needs("money.refund")
@needs_fresh_proof
def refund(payment_id: str) -> ResponseReturnValue:
    return _amount_page(payment_id, {})


@bp.post("/<business_id>/sales/payments/<payment_id>/refund")
@needs("money.refund")
@needs_fresh_proof
def make_refund(payment_id: str) -> ResponseReturnValue:
    """Show the review, or refund if `confirmed` has the reviewed amount. The command opens its own sessions.

    Idempotent: `after` is the number of refunds when the form was shown, so that a form sent twice refunds once.
    """
    form, formats = request.form, formatter()
    with services().database.open(scope()) as reading:
        item = staff_lists.payment(reading, payment_id)
        left = refundable(reading, item.payment)
    paid = item.payment
    if is_paid_externally(paid):
        raise Conflict("UNSUPPORTED_ACTION", PAID_EXTERNALLY)
    if left <= 0 < paid.amount_minor:
        flash(_(DISPUTED) if paid.disputed_minor else _("This payment has already been refunded in full."), "wait")
        return redirect(f"{here('console.payments')}/{payment_id}", 303)
    if form.get("change"):
        return _amount_page(payment_id, form)
    amount, errors = _amount(form, paid, left)
    reason = form.get("reason", "").strip()
    if len(reason) > REASON_LIMIT:
        errors["reason"] = _("Enter at most 500 characters.")
    if errors:
        return _amount_page(payment_id, form, errors), 422
    if form.get("confirmed") != str(amount):
        return _review_page(payment_id, form, amount)
    url = f"{here('console.payments')}/{payment_id}"
    seen = form.get("after", "")
    try:
        made = refund_payment.refund(
            processor(),
            scope(),
            payment_id,
            amount_minor=amount,
            reason=reason or None,
            after=int(seen) if seen.isdecimal() and len(seen) < 6 else -1,
        )
    except Conflict as wrong:
        flash(_(wrong.sentence), "wait")
        return redirect(url, 303)
    money = formats.money(made.amount_minor, made.currency)
    with services().database.open(scope(), write=True) as db:
        notify_owners(db, "refunded", f"{money}, {item.customer.name or item.customer.email}")
    if made.status == "succeeded":
        flash(_("%(amount)s was refunded to %(name)s.", amount=money, name=item.customer.name or item.customer.email), "good")
    elif made.status == "failed":
        flash(_("The bank rejected the refund. No money was refunded."), "due")
    else:
        flash(_("The refund of %(amount)s is in progress. Its state is shown below.", amount=money), "wait")
    return redirect(url, 303)


def _amount(form: Any, paid: Payment, left: int) -> tuple[int, dict[str, str]]:
    """Return (amount in minor units, errors) of the form.

    An entered amount implies a partial refund. It is refused if the full amount is selected and differs from it.
    """
    formats, typed, how = formatter(), form.get("amount", "").strip(), form.get("how", "")
    if how not in ("all", "part") and not (typed and not how):
        return left, {"how": _("Choose how much to refund.")}
    if how == "all" and not typed:
        return left, {}
    try:
        amount = read_amount(typed, paid.currency, formats.locale)
    except ValueError:
        return left, {"amount": _example(paid, formats.locale)}
    if how == "all" and amount != left:
        return left, {
            "how": _(
                "You chose the full amount, %(left)s, but entered %(amount)s. Choose one of them.",
                left=formats.money(left, paid.currency),
                amount=formats.money(amount, paid.currency),
            )
        }
    if not 0 < amount <= left:
        return left, {"amount": _("Enter an amount above 0 and at most %(left)s.", left=formats.money(left, paid.currency))}
    return amount, {}


def _amount_page(payment_id: str, typed: Any, errors: dict[str, str] | None = None) -> str:
    with services().database.open(scope()) as reading:
        item, back = staff_lists.payment(reading, payment_id), staff_lists.refunds_of(reading, payment_id)
        left = refundable(reading, item.payment)
    paid = item.payment
    if is_paid_externally(paid):
        raise Conflict("UNSUPPORTED_ACTION", PAID_EXTERNALLY)
    if paid.status != "succeeded" or left <= 0:
        raise Conflict("PAYMENT_ALREADY_REFUNDED", N_("Nothing is left to refund on this payment."))
    return render_template(
        "tenants/console/refund.html",
        entry=item,
        paid=paid,
        customer=item.customer,
        left=left,
        after=len(back),
        typed=typed,
        errors=errors or {},
        url=f"{here('console.payments')}/{payment_id}",
        base=here("console.payments"),
        card=card_of(paid.method),
        example=write_amount(left, paid.currency, formatter().locale),
    )


def _review_page(payment_id: str, typed: Any, amount: int) -> str:
    """Return the review page with the amount on its button. Nothing is written."""
    with services().database.open(scope()) as reading:
        item, back = staff_lists.payment(reading, payment_id), staff_lists.refunds_of(reading, payment_id)
        left = refundable(reading, item.payment)
        whole = item.payment.refunded_minor + amount >= item.payment.amount_minor
        has_keys = whole and item.payment.subscription_id is None and bool(license_queries.keys(reading, payment_id=payment_id))
        unbooked = reconciliation_exceptions.is_unbooked(reading, payment_id) and item.payment.charge_type == "renewal"
        revokes = policy.setting(the_business(reading), "keys_on_full_refund") == "revoke"
    return render_template(
        "tenants/console/refund_review.html",
        entry=item,
        paid=item.payment,
        customer=item.customer,
        amount=amount,
        left_after=left - amount,
        has_keys=has_keys,
        revokes=revokes,
        subscription_note=_subscription_note(unbooked),
        after=typed.get("after", len(back)),
        typed=typed,
        url=f"{here('console.payments')}/{payment_id}",
        base=here("console.payments"),
        card=card_of(item.payment.method),
    )


def _subscription_note(unbooked: bool) -> str:
    """Return what the refund means for the payment's subscription."""
    if unbooked:
        return _(
            "This renewal was not recorded in full. The period counts as unpaid: the subscription goes on hold, and the customer is "
            "not reminded to pay. Cancel the subscription separately if it should end."
        )
    return _("The subscription continues. You can cancel it separately.")


def _example(paid: Payment, locale: str) -> str:
    return _(
        "Enter an amount in %(currency)s, such as %(example)s.",
        currency=paid.currency,
        example=write_amount(paid.amount_minor, paid.currency, locale),
    )
