"""Pay what is due for a subscription, or choose its payment method if nothing is due. Both use one page.

A POST runs the command first, in its own database sessions. The session of the request is opened afterwards to draw the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.visit_rows import Account
from billing.pricing import prices
from billing.renewals import method_queries as method_query
from billing.renewals import pay_dues as dues_payment
from billing.renewals import payment_methods as saved
from billing.renewals.payment_queries import declined_methods
from billing.subscriptions import queries as query
from billing.subscriptions.subscription_row import SubscriptionRow
from core import i18n
from core.errors import BusinessArchived, Conflict, Invalid, Unavailable
from core.links import here
from core.request_context import db, scope, services
from core.template_context import formatter
from portal import bp, external_billing
from portal.billing_services import processor
from portal.hosted_pages import allow_form_targets, needs_proof, return_url
from portal.phrases import bank_confirms, card, expires, method_name, why_declined
from portal.renewals import is_charged, next_charge
from portal.request_accounts import account
from portal.step_up import prove
from portal.subscription_rows import may_cancel, may_change_method

NEW = "new"


@dataclass
class PaymentChoice:
    """One choice of "Pay with": a saved method (`value` is its id) or a new one."""

    value: str
    label: str
    expires: str
    hint: str
    checked: bool = False


@bp.get("/subscriptions/<subscription_id>/payment-method")
def payment_method(subscription_id: str) -> ResponseReturnValue:
    row = query.get_subscription(db(), subscription_id)
    theirs = account(row.business_id, row.customer_id)
    if not may_change_method(row, theirs):
        return redirect(f"{here('subscriptions')}/{row.id}", 303)
    if row.collected_by != "us":
        return external_billing.method_page(row, theirs)
    return _page(row, theirs)


@bp.post("/subscriptions/<subscription_id>/payment-method")
def choose_payment_method(subscription_id: str) -> ResponseReturnValue:
    with services().database.open(scope()) as reading:
        row = query.get_subscription(reading, subscription_id)
        dues = dues_payment.dues(reading, subscription_id)
    theirs = account(row.business_id, row.customer_id)
    if theirs.archived_at:
        raise BusinessArchived(sentence=_("%(business)s has closed and no longer takes payments.", business=theirs.name))
    if row.collected_by != "us" and may_change_method(row, theirs):
        return prove(request.path) if needs_proof() else external_billing.open_method_page(row, theirs)
    chosen, due = request.form.get("method", ""), request.form.get("due", "")
    if not chosen:
        return _page(row, theirs, error=_("Choose a payment method.")), 422
    if due and dues and due != f"{dues.invoice_id} {dues.due_minor}":
        return _page(row, theirs, problem=_("The amount has changed. You weren’t charged. The new amount is shown below.")), 409
    if chosen == NEW and needs_proof():
        return prove(request.path)
    method_id = None if chosen == NEW else chosen
    try:
        if due:
            done = dues_payment.pay_dues(
                processor(),
                scope(),
                row.id,
                payment_method_id=method_id,
                locale=i18n.locale(),
                use_from_now_on="later" in request.form,
                return_url=return_url(),
            )
            return _redirect_after(done.status, done.payment_id, done.link)
        changed = saved.change_method(
            processor(), scope(), row.id, payment_method_id=method_id, return_url=return_url(), locale=i18n.locale()
        )
    except (Conflict, Invalid, Unavailable) as wrong:
        with services().database.open(scope()) as reading:
            row = query.get_subscription(reading, subscription_id)
        return _page(row, theirs, problem=_(wrong.sentence)), wrong.status
    if changed.payment_id:
        return _redirect_after(changed.status, changed.payment_id, changed.link)
    name = next((method_name(method) for method in _methods(row) if method.id == method_id), "")
    flash(_("%(card)s is now used for %(name)s.", card=name or _("The chosen method"), name=row.name), "good")
    return redirect(f"{here('subscriptions')}/{row.id}", 303)


def _redirect_after(status: str, payment_id: str, link: str | None) -> ResponseReturnValue:
    """Redirect after a payment attempt: to the provider's page, back to this page after a decline, or to the payment page."""
    if link:
        allow_form_targets(link)
        return redirect(link, 303)
    if status == "failed":
        return redirect(request.path, 303)
    return redirect(here("payment", payment_id=payment_id), 303)


def _methods(row: SubscriptionRow) -> list[method_query.MethodRow]:
    owner = (row.business_id, row.customer_id)
    return [method for method in method_query.methods(db()) if (method.business_id, method.customer_id) == owner and method.is_chargeable]


def _page(row: SubscriptionRow, theirs: Account, error: str = "", problem: str = "") -> str:
    dues = dues_payment.dues(db(), row.id)
    link = dues.link if dues else None
    allow_form_targets(link)
    checking = bool(dues and dues.is_checking) or row.is_checking or row.awaits_bank
    then = 0
    if dues and dues.next_at:
        lines = next_charge(row.coming(), theirs, dues.next_at, dues.next_n - row.period_n - 1)
        then = max(prices.total(lines) - max(row.credit_minor, 0), 0)
    declined = declined_methods(db(), row.customer_id)
    method = (
        dues.method if dues and dues.method and declined.get(dues.method.id) == dues.failed_at else None
    )  # otherwise a card entered on a hosted page was declined
    return render_template(
        "portal/payment_method.html",
        row=row,
        account=theirs,
        dues=dues,
        is_checking=checking,
        bank_confirms=bank_confirms(row.payment_days or 1) if row.awaits_bank else "",
        choices=_choices(row, bool(dues), declined),
        url=f"{here('subscriptions')}/{row.id}",
        why=why_declined(dues.error_code) if dues else "",
        failed=card(method.brand, method.last4, method.kind) if method else "",
        next_minor=then,
        link=link if row.needs_confirming else None,
        error=error,
        problem=problem,
        payments_url=here("payment", payment_id=row.payment_id) if row.payment_id else "",
        is_charged=is_charged(row),
        may_cancel=may_cancel(row, theirs),
        current=card(row.brand, row.last4, row.kind),
        invoices_url=here("invoices"),
    )


def _choices(row: SubscriptionRow, paying_dues: bool, declined: dict[str, datetime]) -> list[PaymentChoice]:
    """Return the saved methods, then "another". The preselected method is never one that was declined last."""
    out = []
    for method in _methods(row):
        hints = []
        if method.id in declined:
            hints.append(_("Declined on %(date)s", date=formatter().date(declined[method.id], "day")))
        if method.id == row.method_id and not paying_dues:
            hints.append(_("Currently used"))
        others = list(dict.fromkeys(name for subscription_id, name in method.pays_for if subscription_id != row.id))
        if others:
            hints.append(_("Used for %(names)s", names=", ".join(others[:4])))
        out.append(
            PaymentChoice(
                method.id, method_name(method) or _("Saved method"), expires(method.expiry_month, method.expiry_year), ". ".join(hints)
            )
        )
    hint = _("You’ll enter it on our payment provider’s page and then return here. We never see the number.")
    if needs_proof():
        hint += " " + _("To confirm it’s you, we’ll email you first.")
    out.append(PaymentChoice(NEW, _("Another card or method"), "", hint))
    best = [choice for choice in out if choice.value not in declined]
    (next((choice for choice in out if choice.value == row.method_id), best[0]) if not paying_dues else best[0]).checked = True
    return out
