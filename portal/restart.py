"""Restart a subscription that has ended: review the price, then confirm it. Only the amount that was shown is charged."""

from __future__ import annotations

from dataclasses import dataclass

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import rate_limits
from billing.charging.discount_redemption import DiscountRefused
from billing.model.restarts import restart_of
from billing.pricing import prices
from billing.renewals import method_queries
from billing.renewals.payment_queries import declined_methods
from billing.subscriptions import queries as query
from billing.subscriptions import restart as command
from billing.subscriptions.restart import OfferChanged, RestartOrder
from billing.subscriptions.restart_offer import RestartOffer, check, may_restart, offer
from billing.subscriptions.subscription_row import SubscriptionRow
from core import i18n
from core.db import ScopedSession
from core.errors import Conflict, Invalid, Unavailable
from core.links import exists_here, here
from core.request_context import db, scope, services
from core.scope import system
from portal import bp
from portal.billing_services import processor
from portal.hosted_pages import allow_form_targets, needs_proof, return_url
from portal.phrases import expires, interval, method_name
from portal.plan_codes import code_limits, normalize, refund_limits, refusal_sentence
from portal.request_accounts import account, open_account
from portal.step_up import is_fresh, prove

NEW = "new"


@dataclass(frozen=True)
class MethodChoice:
    value: str
    label: str
    expires: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Typed:
    """What was submitted. `codes`: the discount codes of the price that was shown. `code`: a newly entered one."""

    method: str = ""
    codes: tuple[str, ...] = ()
    code: str = ""


@bp.get("/subscriptions/<subscription_id>/restart")
def restart(subscription_id: str) -> ResponseReturnValue:
    row = query.get_subscription(db(), subscription_id)
    if newer := newer_url(db(), row):
        return redirect(newer, 303)
    open_account(row.business_id, row.customer_id)
    return _page(row, _offer(row, ()), Typed())


@bp.post("/subscriptions/<subscription_id>/restart")
def restart_now(subscription_id: str) -> ResponseReturnValue:
    """Restart as shown, or show the price with a newly entered code. No session of this request is open: the command has its own."""
    form, request_scope = request.form, scope()
    with services().database.open(request_scope) as reading:
        row = query.get_subscription(reading, subscription_id)
        open_account(row.business_id, row.customer_id)
        if newer := newer_url(reading, row):
            return redirect(newer, 303)
    typed = Typed(form.get("method", ""), tuple(map(normalize, form.getlist("codes"))), normalize(form.get("discount_code", "")))
    wanted = tuple(dict.fromkeys((*typed.codes, *filter(None, [typed.code]))))
    if wanted and (refusal := _refuse_codes(row, typed, wanted)):
        return refusal
    made = _offer(row, wanted)
    if wanted != typed.codes or form.get("do") == "code":
        return _page(row, made, Typed(typed.method, wanted))
    if not typed.method:
        return _page(row, made, typed, errors={"method": _("Choose a payment method.")}), 422
    method_id = None if typed.method == NEW else typed.method
    if (method_id is None and needs_proof()) or (method_id and made.total_minor and not is_fresh()):
        return prove(_url(row.id))
    order = RestartOrder(form.get("shown", ""), method_id, typed.codes, return_url())
    try:
        done = command.restart(processor(), request_scope, row.id, order, locale=i18n.locale())
    except OfferChanged as changed:
        problem = _("The price has changed. Please review the new price. You weren’t charged.")
        return _page(row, changed.offer, typed, problem=problem), 409
    except DiscountRefused as gone:
        problem = refusal_sentence(gone, gone.which, row.name) + " " + _("You weren’t charged.")
        return _page(row, _offer(row, ()), Typed(typed.method), problem=problem), 422
    except (Conflict, Invalid, Unavailable) as wrong:
        if isinstance(wrong, Conflict) and wrong.code != "NO_ELIGIBLE_PAYMENT_METHODS":
            raise
        return _page(row, _offer(row, typed.codes), typed, problem=_(wrong.sentence)), wrong.status
    return _after(row, done)


def _after(row: SubscriptionRow, done: command.StartedRestart) -> ResponseReturnValue:
    if done.link:
        allow_form_targets(done.link)
        return redirect(done.link, 303)
    if done.status == "failed":
        flash(_("The bank declined the payment. You weren’t charged. Choose another method or try again."), "due")
        return redirect(_url(row.id), 303)
    return redirect(here("payment", payment_id=done.payment_id), 303)


def _refuse_codes(row: SubscriptionRow, typed: Typed, wanted: tuple[str, ...]) -> ResponseReturnValue | None:
    """Return the page with the error if a code cannot be used. Wrong codes, of the form too, count against the limits of codes."""
    limits, rest = code_limits(row), Typed(typed.method)
    if not rate_limits.spend(services().database, limits):
        too_many = _("Too many wrong codes. Please wait an hour before you try another.")
        return _page(row, _offer(row, ()), rest, errors={"discount_code": too_many}), 429
    try:
        _offer(row, wanted)
    except DiscountRefused as wrong:
        problem = refusal_sentence(wrong, typed.code, row.name)
        return _page(row, _offer(row, ()), rest, errors={"discount_code": problem}), 422
    refund_limits(limits)
    return None


def restart_links(reading: ScopedSession, row: SubscriptionRow) -> tuple[str, str]:
    """Return the addresses of the page that restarts an ended subscription, and of the subscription that took it up; empty if none."""
    if not exists_here("restart"):
        return "", newer_url(reading, row)
    newer = newer_url(reading, row)
    return (_url(row.id) if not newer and may_restart(reading, row.id) else ""), newer


def newer_url(reading: ScopedSession, row: SubscriptionRow) -> str:
    found = restart_of(reading, row.business_id, row.id)
    return f"{here('subscriptions')}/{found.new_subscription_id}" if found else ""


def _offer(row: SubscriptionRow, codes: tuple[str, ...]) -> RestartOffer:
    """Return what the restart costs. The business's scope reads the discount codes; the caller has found the row in the customer's."""
    with services().database.open(system(row.business_id, scope().actor)) as reading:
        return offer(reading, check(reading, row.id), codes)


def _methods(row: SubscriptionRow) -> list[MethodChoice]:
    """Return the saved methods that can be charged, the one that paid last first, then another."""
    owner = (row.business_id, row.customer_id)
    with services().database.open(scope()) as reading:
        found = [item for item in method_queries.methods(reading) if (item.business_id, item.customer_id) == owner and item.is_chargeable]
        declined = declined_methods(reading, row.customer_id)
    found.sort(key=lambda item: (item.id in declined, item.id != row.method_id))
    saved = [MethodChoice(item.id, method_name(item) or _("Saved method"), expires(item.expiry_month, item.expiry_year)) for item in found]
    hint = _("You’ll enter it on our payment provider’s page and then return here. We never see the number.")
    return [*saved, MethodChoice(NEW, _("Another card or method"), "", hint)]


def _page(row: SubscriptionRow, made: RestartOffer, typed: Typed, errors: dict[str, str] | None = None, problem: str = "") -> str:
    choices = _methods(row)
    allow_form_targets()
    new = made.subscription
    return render_template(
        "portal/restart.html",
        row=row,
        account=account(row.business_id, row.customer_id),
        url=f"{here('subscriptions')}/{row.id}",
        made=made,
        new=new,
        lines=made.lines,
        taxes=prices.tax_rows(made.lines),
        each=interval(new.interval, new.interval_count),
        choices=choices,
        chosen=typed.method if typed.method in {choice.value for choice in choices} else choices[0].value,
        typed=typed,
        errors=errors or {},
        problem=problem,
        is_other=made.product.id != row.product_id,
        asks_to_sign_in=bool(made.total_minor) and not is_fresh(),
    )


def _url(subscription_id: str) -> str:
    return f"{here('subscriptions')}/{subscription_id}/restart"
