"""Pause and resume a subscription."""

from __future__ import annotations

from flask import flash, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.licenses import queries as license_queries
from billing.model import lifecycle, policy
from billing.pricing import prices
from billing.subscriptions import pause as pause_subscription
from billing.subscriptions import queries as query
from billing.subscriptions.subscription_row import SubscriptionRow
from core import clock
from core.errors import Conflict, Forbidden
from core.links import here
from core.request_context import db
from core.template_context import formatter
from portal import bp
from portal.external_billing import back_to_subscription
from portal.phrases import days_until, interval
from portal.renewals import next_charge, renews_after_resuming
from portal.request_accounts import open_account


@bp.get("/subscriptions/<subscription_id>/pause")
def pause(subscription_id: str) -> ResponseReturnValue:
    """Show the confirmation page for pausing or resuming. Both move the next payment."""
    row = query.get_subscription(db(), subscription_id)
    theirs = open_account(row.business_id, row.customer_id)
    resumes = lifecycle.may(lifecycle.SUBSCRIPTION, row.status, "resume")
    if not resumes:
        if not policy.allows(theirs, "pause"):
            raise Forbidden("SUBSCRIPTION_CUSTOMER_PAUSE_DISABLED", _("Contact the business to pause this subscription."))
        lifecycle.move(lifecycle.SUBSCRIPTION, row.status, "pause")
        if row.is_ending:
            raise Conflict(
                "SUBSCRIPTION_NOT_ELIGIBLE_FOR_PAUSE", _("This subscription is set to end. Undo the cancellation first, then pause it.")
            )
        if row.in_flight:
            raise Conflict("PREVIOUS_PAYMENT_PENDING", _("A payment for this subscription is in progress. Wait until it’s settled."))
    renews_at = renews_after_resuming(row, clock.now())
    return render_template(
        "portal/pause.html",
        row=row,
        account=theirs,
        url=_url(row.id),
        resumes=resumes,
        left=days_until(renews_at),
        renews_at=renews_at,
        price=formatter().money(prices.total(next_charge(row.coming(), theirs)), row.currency),
        interval=interval(row.interval, row.interval_count),
        has_keys=license_queries.has_keys(db(), row.id),
    )


@bp.post("/subscriptions/<subscription_id>/pause")
def pause_now(subscription_id: str) -> ResponseReturnValue:
    row = _open_subscription(subscription_id)
    pause_subscription.pause(db(), row.id)
    if row.collected_by != "us":
        return back_to_subscription(row)
    flash(_("%(name)s is paused. You won’t be charged until you resume it.", name=row.name), "good")
    return redirect(_url(row.id), 303)


@bp.post("/subscriptions/<subscription_id>/pause/resumption")
def resume(subscription_id: str) -> ResponseReturnValue:
    row = _open_subscription(subscription_id)
    resumed = pause_subscription.resume(db(), row.id)
    if row.collected_by != "us":
        return back_to_subscription(row)
    day = formatter().date(resumed.next_billing_at, "sentence") if resumed.next_billing_at else ""
    flash(_("%(name)s is active again. It next renews on %(date)s.", name=row.name, date=day), "good")
    return redirect(_url(row.id), 303)


def _open_subscription(subscription_id: str) -> SubscriptionRow:
    row = query.get_subscription(db(), subscription_id)
    open_account(row.business_id, row.customer_id)
    return row


def _url(subscription_id: str) -> str:
    return f"{here('subscriptions')}/{subscription_id}"
