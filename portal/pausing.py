"""Pausing and resuming: what stops, what waits, and when it goes on."""

from __future__ import annotations

from flask import flash, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing import lifecycle, policy, pricing
from billing.commands import pausing
from billing.queries import held_keys
from billing.queries import subscriptions as query
from billing.queries.subscriptions import SubscriptionRow
from core import clock
from core.errors import Conflict, Forbidden
from core.pages import words
from core.web import db, here
from portal import bp
from portal.elsewhere import asked
from portal.renewals import next_charge
from portal.standing import open_account
from portal.words import days_to, interval


@bp.get("/subscriptions/<subscription_id>/pause")
def pause(subscription_id: str) -> ResponseReturnValue:
    """Asks before it pauses, and before it goes on: both move the next payment."""
    row = query.one(db(), subscription_id)
    theirs = open_account(row.business_id, row.customer_id)
    if row.status != "paused":
        if not policy.allows(theirs, "pause"):  # type: ignore[arg-type]
            raise Forbidden("SUBSCRIPTION_CUSTOMER_PAUSE_DISABLED", "This business asks you to contact it to pause.")
        lifecycle.move(lifecycle.SUBSCRIPTION, row.status, "pause")
        if row.is_ending:
            raise Conflict("SUBSCRIPTION_NOT_ELIGIBLE_FOR_PAUSE", "This is about to end. Keep it first, then pause it.")
        if row.in_flight:
            raise Conflict("PREVIOUS_PAYMENT_PENDING", "A payment for this is under way. Wait until it is settled.")
    renews_at = row.next_billing_at
    if row.paused_at and row.next_billing_at:
        renews_at = clock.now() + (row.next_billing_at - row.paused_at)
    return render_template(
        "portal/pause.html", row=row, account=theirs, url=_of(row.id), left=days_to(renews_at), renews_at=renews_at,
        price=words().money(pricing.total(next_charge(row.coming(), theirs)), row.currency),
        interval=interval(row.interval, row.interval_count), has_keys=held_keys.has_keys(db(), row.id))


@bp.post("/subscriptions/<subscription_id>/pause")
def pause_now(subscription_id: str) -> ResponseReturnValue:
    row = _ours(subscription_id)
    pausing.pause(db(), row.id)
    if row.collected_by != "us":
        return asked(row)
    flash(_("%(name)s is paused. Nothing is taken until you resume it.", name=row.name), "good")
    return redirect(_of(row.id), 303)


@bp.post("/subscriptions/<subscription_id>/pause/resumption")
def resume(subscription_id: str) -> ResponseReturnValue:
    row = _ours(subscription_id)
    on = pausing.resume(db(), row.id)
    if row.collected_by != "us":
        return asked(row)
    day = words().date(on.next_billing_at, "sentence") if on.next_billing_at else ""
    flash(_("%(name)s goes on. It next renews on %(date)s.", name=row.name, date=day), "good")
    return redirect(_of(row.id), 303)


def _ours(subscription_id: str) -> SubscriptionRow:
    row = query.one(db(), subscription_id)
    open_account(row.business_id, row.customer_id)
    return row


def _of(subscription_id: str) -> str:
    return f"{here('subscriptions')}/{subscription_id}"
