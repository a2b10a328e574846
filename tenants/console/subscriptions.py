"""What customers subscribed to, as staff see it: found, looked at, ended for a customer who asked, and the reason kept."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing import lifecycle
from billing.commands import cancelling
from billing.commands.ending import cancel_now
from billing.elsewhere import can
from billing.queries import forwarded, held_keys, sales
from billing.queries import subscriptions as query
from core.errors import Conflict, Invalid
from core.pages import words
from core.web import db, here, house, scope
from portal.cancellation import reasons
from portal.elsewhere import wishes
from portal.lines import ends_at
from portal.proof import is_fresh, prove
from portal.words import card, interval
from tenants.console.door import bp, me, needs
from tenants.console.lists import asked, chips
from tenants.console.staff_changes import allowed


@bp.get("/<business_id>/sales/subscriptions")
@needs("subscriptions.read")
def subscriptions() -> ResponseReturnValue:
    wanted, base = asked(sales.SUBSCRIPTION_STATES), here("console.subscriptions")
    found = sales.subscriptions(db(replica=True), wanted.words, wanted.status, wanted.before)
    rows, newest, older = wanted.cut(base, found, lambda one: (one.subscription.created_at, one.subscription.id))
    return render_template(
        "tenants/console/subscriptions.html", rows=rows, newest=newest, older=older, asked=wanted, base=base, interval=interval,
        chips=chips("subscription", sales.SUBSCRIPTION_STATES, wanted, base))


@bp.get("/<business_id>/sales/subscriptions/<subscription_id>")
@needs("subscriptions.read")
def subscription(subscription_id: str) -> ResponseReturnValue:
    row, sold = query.one(db(), subscription_id), sales.subscription(db(), subscription_id)
    return render_template(
        "tenants/console/subscription.html", row=row, sold=sold, customer=sold.customer, base=here("console.subscriptions"),
        payments=sales.payments_of(db(), subscription_id), payments_url=here("console.payments"), interval=interval,
        card=card(row.brand, row.last4, row.kind), ends_at=ends_at(row), reasons=dict(reasons()),
        may=allowed(row, me().face.archived_at is not None) if me().may("subscriptions.change") else {},
        invite_url=f"{here('console.customers')}/{row.customer_id}/invite" if me().may("customers.invite") else "",
        asked_of_it=_delegated(row), may_end=me().may("subscriptions.cancel") and can(row.collected_by, "cancel")
        and lifecycle.may(lifecycle.SUBSCRIPTION, row.status, "cancel"))


@bp.get("/<business_id>/sales/subscriptions/<subscription_id>/cancellation")
@needs("subscriptions.cancel")
def cancellation(subscription_id: str) -> ResponseReturnValue:
    return _ask(subscription_id, request.args)


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/cancellation")
@needs("subscriptions.cancel")
def cancel(subscription_id: str) -> ResponseReturnValue:
    """At the period's end; or, with `when=now`, at once, on a fresh proof. The command of the second opens sessions of its own."""
    form, url = request.form, f"{here('console.subscriptions')}/{subscription_id}"
    with house().database.open(scope()) as reading:
        row = query.one(reading, subscription_id)
    if not can(row.collected_by, "end" if form.get("when") == "now" else "cancel"):
        raise Conflict("NOT_COLLECTED_HERE", "This subscription is billed by another system. Cancel it there.")
    why = (form.get("feedback") or None, form.get("comment") or None)
    try:
        if form.get("when") == "now":
            if not is_fresh():
                return prove(f"{url}/cancellation?when=now")
            cancel_now(house().till, scope(), row.id, *why)
            if row.collected_by != "us":
                return _was_asked(url)
            flash(_("%(name)s has ended. Nothing more is taken.", name=row.name), "good")
        else:
            cancelling.cancel_at_period_end(db(), row.id, *why)
            if row.collected_by != "us":
                return _was_asked(url)
            day = ends_at(row)
            when = words().date(day, "sentence") if day else _("its period's end")
            flash(_("%(name)s ends on %(date)s. It can be taken back until then.", name=row.name, date=when), "good")
    except Invalid as wrong:
        return _ask(subscription_id, form, wrong.fields), 422
    return redirect(url, 303)


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/cancellation/revocation")
@needs("subscriptions.cancel")
def keep(subscription_id: str) -> ResponseReturnValue:
    row = query.one(db(), subscription_id)
    cancelling.keep(db(), row.id)
    if row.collected_by != "us":
        return _was_asked(f"{here('console.subscriptions')}/{row.id}")
    flash(_("%(name)s goes on.", name=row.name), "good")
    return redirect(f"{here('console.subscriptions')}/{row.id}", 303)


def _was_asked(url: str) -> ResponseReturnValue:
    """Another system bills it: it was asked, and the subscription's page says what came of that."""
    flash(_("We have asked the billing system. This page shows its answer."), "good")
    return redirect(url, 303)


def _delegated(row: query.SubscriptionRow) -> tuple[str, str, str] | None:
    """(state, what was asked for, why it was refused) of the last action that was sent to another billing system."""
    act = forwarded.latest(db(), row.business_id, row.id) if row.collected_by != "us" else None
    return (act.status, wishes(act.verb), act.error or "") if act is not None else None


def _ask(subscription_id: str, typed: Any, errors: dict[str, str] | None = None) -> str:
    with house().database.open(scope()) as reading:
        row, sold = query.one(reading, subscription_id), sales.subscription(reading, subscription_id)
        with_keys = held_keys.has_keys(reading, row.id)
    may_schedule = lifecycle.may(lifecycle.SUBSCRIPTION, row.status, "schedule_cancel") and not row.cancel_at_period_end
    return render_template(
        "tenants/console/cancellation.html", row=row, customer=sold.customer, url=f"{here('console.subscriptions')}/{row.id}",
        base=here("console.subscriptions"), reasons=reasons(), typed=typed, ends_at=ends_at(row), may_schedule=may_schedule,
        errors={name: _(said) for name, said in (errors or {}).items()}, is_fresh=is_fresh(), interval=interval, has_keys=with_keys)
