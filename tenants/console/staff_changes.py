"""What staff do to a subscription for its customer, whatever the portal's rules allow customers: pause, resume, change the plan.

Each is the customer's own command under the member's name, so that its event says who did it. A change that charges
the customer's card asks for a proof younger than thirty minutes.
"""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing import lifecycle, pricing
from billing.commands import pausing, plan_quote
from billing.commands import plan_change as command
from billing.commands.rules import the_business
from billing.elsewhere import can
from billing.queries import plan_choices, sales, staff_plans
from billing.queries import subscriptions as query
from billing.queries.subscriptions import SubscriptionRow
from core import i18n
from core.errors import Conflict, Invalid
from core.web import db, here, house, scope
from portal.plan_slip import slip
from portal.proof import is_fresh, prove
from portal.renewals import next_charge
from portal.words import interval
from tenants.console.door import bp, needs


def allowed(row: SubscriptionRow, is_closed: bool) -> dict[str, bool]:
    """Which of these a subscription's state allows now. The page and its buttons ask this."""
    def may(verb: str) -> bool:
        return lifecycle.may(lifecycle.SUBSCRIPTION, row.status, verb) and can(row.collected_by, verb) and not is_closed

    steady = not row.is_ending and not row.in_flight
    return {
        "pause": may("pause") and steady, "resume": may("resume"),
        "change_plan": may("change_plan") and steady and row.collected_by == "us" and not row.planned_product_id,
        "keep_plan": bool(row.planned_product_id) and row.collected_by == "us" and not is_closed,
    }


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/pause")
@needs("subscriptions.change")
def pause_for(subscription_id: str) -> ResponseReturnValue:
    row = query.one(db(), subscription_id)
    pausing.pause(db(), row.id)
    flash(_("%(name)s is paused. Nothing is charged until it is resumed.", name=row.name) if row.collected_by == "us"
          else _("We asked the billing system that charges this subscription to pause it."), "good")
    return redirect(_url(row.id), 303)


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/pause/removal")
@needs("subscriptions.change")
def resume_for(subscription_id: str) -> ResponseReturnValue:
    row = query.one(db(), subscription_id)
    pausing.resume(db(), row.id)
    flash(_("%(name)s is active again.", name=row.name) if row.collected_by == "us"
          else _("We asked the billing system that charges this subscription to resume it."), "good")
    return redirect(_url(row.id), 303)


@bp.get("/<business_id>/sales/subscriptions/<subscription_id>/plan-change")
@needs("subscriptions.change")
def staff_plan_change(subscription_id: str) -> ResponseReturnValue:
    return _choose(subscription_id, {})


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/plan-change")
@needs("subscriptions.change")
def quote_plan_change(subscription_id: str) -> ResponseReturnValue:
    """Nothing is changed yet: the figures come first."""
    typed = request.form
    quantity, when = typed.get("quantity", "").strip(), typed.get("when") or None
    errors: dict[str, str] = {}
    if not typed.get("product_id"):
        errors["product_id"] = _("Choose a plan.")
    if not (quantity.isascii() and quantity.isdigit() and 0 < int(quantity[:7]) <= 100_000):
        errors["quantity"] = _("Write a whole number, 1 or more.")
    if when not in (None, "immediately", "next_billing_date"):
        errors["when"] = _("Choose when it changes.")
    if errors:
        return _choose(subscription_id, typed, errors), 422
    try:
        made = plan_quote.quote(db(), subscription_id, typed["product_id"], int(quantity), effective_at=when, customer=False)
    except Invalid as wrong:
        return _choose(subscription_id, typed, {name: _(said) for name, said in wrong.fields.items()} or {"when": _(wrong.sentence)}), 422
    return redirect(f"{_url(subscription_id)}/plan-change/{made.id}", 303)


@bp.get("/<business_id>/sales/subscriptions/<subscription_id>/plan-change/<quote_id>")
@needs("subscriptions.change")
def staff_slip(subscription_id: str, quote_id: str) -> ResponseReturnValue:
    row, sold = query.one(db(), subscription_id), sales.subscription(db(), subscription_id)
    shown = plan_choices.shown(db(), row.id, quote_id)
    paying = shown.payment
    link = paying.hosted_url if paying and paying.is_open and paying.status.startswith("requires_") else None
    if shown.is_settled and not link:
        return redirect(_url(row.id), 303)
    told = slip(row, shown, pricing.total(next_charge(row, the_business(db()))))  # type: ignore[arg-type]
    return render_template(
        "tenants/console/plan_slip.html", row=row, customer=sold.customer, shown=shown, quote=shown.quote, slip=told, url=_url(row.id),
        base=here("console.subscriptions"), link=link, is_fresh=is_fresh(), each=interval)


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/plan-change/<quote_id>/confirmation")
@needs("subscriptions.change")
def confirm_for(subscription_id: str, quote_id: str) -> ResponseReturnValue:
    """The command opens sessions of its own. Sent twice, it changes and charges once."""
    url = f"{_url(subscription_id)}/plan-change/{quote_id}"
    with house().database.open(scope()) as reading:
        row = query.one(reading, subscription_id)
        shown = plan_choices.shown(reading, row.id, quote_id)
    if shown.quote.due_minor and shown.quote.used_at is None and not is_fresh():
        return prove(url)
    try:
        done = command.confirm(house().till, scope(), quote_id, locale=i18n.locale())
    except Conflict as stale:
        if stale.code != "QUOTE_STALE":
            raise
        flash(_("Something changed since these figures were shown. Here are the new ones; nothing was taken."), "wait")
        return redirect(f"{_url(subscription_id)}/plan-change/{stale.fields['quote_id']}", 303)
    if done.link:
        flash(_("The customer has to pay first. Send them the payment link below."), "wait")
        return redirect(url, 303)
    said = {"applied": _("The plan is changed."), "succeeded": _("Paid. The plan is changed."),
            "scheduled": _("The plan changes at the next billing date.")}.get(done.status)
    if done.status == "failed":
        flash(_("The bank declined the payment. The plan stays as it is."), "due")
    else:
        flash(said or _("The plan changes as soon as the payment is settled."), "good" if said else "wait")
    return redirect(_url(subscription_id), 303)


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/plan-change/revocation")
@needs("subscriptions.change")
def keep_plan_for(subscription_id: str) -> ResponseReturnValue:
    row = query.one(db(), subscription_id)
    command.cancel_scheduled(db(), row.id)
    flash(_("%(name)s stays as it is. The planned change is removed.", name=row.name), "good")
    return redirect(_url(row.id), 303)


def _choose(subscription_id: str, typed: Any, errors: dict[str, str] | None = None) -> str:
    row, sold = query.one(db(), subscription_id), sales.subscription(db(), subscription_id)
    return render_template(
        "tenants/console/plan_change.html", row=row, customer=sold.customer, typed=typed, errors=errors or {}, url=_url(row.id),
        base=here("console.subscriptions"), plans=staff_plans.plans_for(db(), row.id), each=interval)


def _url(subscription_id: str) -> str:
    return f"{here('console.subscriptions')}/{subscription_id}"
