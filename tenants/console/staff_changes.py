"""Changes that staff make to a subscription for its customer, independent of the portal rules: pause, resume, change the plan.

Each uses the customer's command with the member as actor, so that the event names the member. A change that charges
the customer's card requires a sign-in within the last thirty minutes.
"""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.customers.portal_settings import the_business
from billing.external.port import can
from billing.history import staff_lists
from billing.model import lifecycle
from billing.plan_changes import choices, staff_choices
from billing.plan_changes import confirm as command
from billing.plan_changes import quote as quote_plan_change_command
from billing.pricing import prices
from billing.subscriptions import pause as pause_subscription
from billing.subscriptions import queries as query
from billing.subscriptions.subscription_row import SubscriptionRow
from core import i18n
from core.errors import Conflict, Invalid
from core.links import here
from core.request_context import db, scope, services
from portal.billing_services import processor
from portal.phrases import interval
from portal.plan_slip import slip
from portal.renewals import next_charge
from portal.step_up import is_fresh, prove
from tenants.console.access import bp, needs


def allowed(row: SubscriptionRow, is_closed: bool) -> dict[str, bool]:
    """Return which of these changes the subscription's state allows. The subscription page uses this for its buttons."""

    def may(verb: str) -> bool:
        return lifecycle.may(lifecycle.SUBSCRIPTION, row.status, verb) and can(row.collected_by, verb) and not is_closed

    steady = not row.is_ending and not row.in_flight
    return {
        "pause": may("pause") and steady,
        "resume": may("resume"),
        "change_plan": may("change_plan") and steady and row.collected_by == "us" and not row.planned_product_id,
        "keep_plan": bool(row.planned_product_id) and row.collected_by == "us" and not is_closed,
    }


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/pause")
@needs("subscriptions.change")
def pause_for(subscription_id: str) -> ResponseReturnValue:
    row = query.get_subscription(db(), subscription_id)
    pause_subscription.pause(db(), row.id)
    flash(
        _("%(name)s is paused. Nothing is charged until it is resumed.", name=row.name)
        if row.collected_by == "us"
        else _("The request to pause was sent to the other billing system."),
        "good",
    )
    return redirect(_url(row.id), 303)


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/pause/removal")
@needs("subscriptions.change")
def resume_for(subscription_id: str) -> ResponseReturnValue:
    row = query.get_subscription(db(), subscription_id)
    pause_subscription.resume(db(), row.id)
    flash(
        _("%(name)s is active again.", name=row.name)
        if row.collected_by == "us"
        else _("The request to resume was sent to the other billing system."),
        "good",
    )
    return redirect(_url(row.id), 303)


@bp.get("/<business_id>/sales/subscriptions/<subscription_id>/plan-change")
@needs("subscriptions.change")
def staff_plan_change(subscription_id: str) -> ResponseReturnValue:
    return _choose(subscription_id, {})


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/plan-change")
@needs("subscriptions.change")
def quote_plan_change(subscription_id: str) -> ResponseReturnValue:
    """Create a quote and redirect to its review. Nothing is changed yet."""
    typed = request.form
    quantity, when = typed.get("quantity", "").strip(), typed.get("when") or None
    errors: dict[str, str] = {}
    if not typed.get("product_id"):
        errors["product_id"] = _("Choose a plan.")
    if not (quantity.isascii() and quantity.isdigit() and 0 < int(quantity[:7]) <= 100_000):
        errors["quantity"] = _("Enter a whole number, 1 or more.")
    if when not in (None, "immediately", "next_billing_date"):
        errors["when"] = _("Choose when the plan changes.")
    if errors:
        return _choose(subscription_id, typed, errors), 422
    try:
        made = quote_plan_change_command.quote(db(), subscription_id, typed["product_id"], int(quantity), effective_at=when, customer=False)
    except Invalid as wrong:
        return _choose(
            subscription_id, typed, {name: _(message) for name, message in wrong.fields.items()} or {"when": _(wrong.sentence)}
        ), 422
    return redirect(f"{_url(subscription_id)}/plan-change/{made.id}", 303)


@bp.get("/<business_id>/sales/subscriptions/<subscription_id>/plan-change/<quote_id>")
@needs("subscriptions.change")
def staff_slip(subscription_id: str, quote_id: str) -> ResponseReturnValue:
    row, sold = query.get_subscription(db(), subscription_id), staff_lists.subscription(db(), subscription_id)
    shown = choices.shown(db(), row.id, quote_id)
    paying = shown.payment
    link = paying.hosted_url if paying and paying.is_open and paying.status.startswith("requires_") else None
    if shown.is_settled and not link:
        return redirect(_url(row.id), 303)
    review = slip(row, shown, prices.total(next_charge(row, the_business(db()))))
    return render_template(
        "tenants/console/plan_change_review.html",
        row=row,
        customer=sold.customer,
        shown=shown,
        quote=shown.quote,
        slip=review,
        url=_url(row.id),
        base=here("console.subscriptions"),
        link=link,
        is_fresh=is_fresh(),
        each=interval,
    )


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/plan-change/<quote_id>/confirmation")
@needs("subscriptions.change")
def confirm_for(subscription_id: str, quote_id: str) -> ResponseReturnValue:
    """Confirm a quote. The command opens its own sessions. Idempotent: a second confirmation neither changes nor charges anything."""
    url = f"{_url(subscription_id)}/plan-change/{quote_id}"
    with services().database.open(scope()) as reading:
        row = query.get_subscription(reading, subscription_id)
        shown = choices.shown(reading, row.id, quote_id)
    if shown.quote.due_minor and shown.quote.used_at is None and not is_fresh():
        return prove(url)
    try:
        done = command.confirm(processor(), scope(), quote_id, locale=i18n.locale())
    except Conflict as stale:
        if stale.code != "QUOTE_STALE":
            raise
        flash(_("Something has changed since you reviewed this price. Nothing was charged. Review the new price below."), "wait")
        return redirect(f"{_url(subscription_id)}/plan-change/{stale.fields['quote_id']}", 303)
    if done.link:
        flash(_("The customer has to pay first. Send them the payment link below."), "wait")
        return redirect(url, 303)
    message = {
        "applied": _("Plan changed."),
        "succeeded": _("Paid. Plan changed."),
        "scheduled": _("The plan changes at the next billing date."),
    }.get(done.status)
    if done.status == "failed":
        flash(_("The bank declined the payment. The plan has not changed."), "due")
    else:
        flash(message or _("The plan changes as soon as the payment is settled."), "good" if message else "wait")
    return redirect(_url(subscription_id), 303)


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/plan-change/revocation")
@needs("subscriptions.change")
def keep_plan_for(subscription_id: str) -> ResponseReturnValue:
    row = query.get_subscription(db(), subscription_id)
    command.cancel_scheduled(db(), row.id)
    flash(_("The planned change is removed. %(name)s stays the current plan.", name=row.name), "good")
    return redirect(_url(row.id), 303)


def _choose(subscription_id: str, typed: Any, errors: dict[str, str] | None = None) -> str:
    row, sold = query.get_subscription(db(), subscription_id), staff_lists.subscription(db(), subscription_id)
    return render_template(
        "tenants/console/plan_change.html",
        row=row,
        customer=sold.customer,
        typed=typed,
        errors=errors or {},
        url=_url(row.id),
        base=here("console.subscriptions"),
        plans=staff_choices.plans_for(db(), row.id),
        each=interval,
    )


def _url(subscription_id: str) -> str:
    return f"{here('console.subscriptions')}/{subscription_id}"
