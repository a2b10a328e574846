"""Jobs that keep failing: the subscription or payment concerned, the error, its start and the next attempt."""

from __future__ import annotations

from flask import flash, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from billing.history import failing_work as query
from billing.model import job_names
from billing.subscriptions import decide_collection
from core import recurring_jobs
from core.errors import Conflict, NotFound
from core.links import here
from core.request_context import db
from portal.billing_services import processor
from tenants.console.access import bp, current_member, needs

JOBS = {
    job_names.RENEWALS: _l("Renewal"),
    job_names.RETRIES: _l("Retry of a payment"),
    job_names.GRACE_ENDS: _l("End of a grace period"),
    job_names.RECONCILIATION: _l("Check with the payment provider"),
    job_names.NOTICE_PLANS: _l("Planning of a reminder"),
    job_names.RENEWAL_NOTICES: _l("Renewal reminder email"),
    job_names.EXPIRY_NOTICES: _l("Card expiry email"),
    job_names.PRICE_CHANGE_PLANS: _l("Planning of a price change"),
    job_names.PRICE_CHANGE_NOTICES: _l("Price change email"),
    job_names.PRICE_CHANGE_STOPS: _l("Stopping of a price change"),
    job_names.DUNNING: _l("Unpaid renewal email"),
    job_names.DUNNING_ENDS: _l("Payment confirmation email"),
    job_names.TAX_ESTIMATES: _l("Tax of the next charge"),
    job_names.TAX_REPORTS: _l("Tax record at Stripe Tax"),
    job_names.PLANNED_STATEMENTS: _l("Planned cancellation"),
    job_names.OVERDUE_REQUESTS: _l("Reminder of a refund request"),
}
"""Job → label. Other jobs are shown by their name."""


def reason(failure: recurring_jobs.JobFailure) -> str:
    return _(failure.sentence) if failure.sentence else _("Something went wrong in the portal. The operator can find the error in the log.")


@bp.get("/<business_id>/sales/failing")
@needs("subscriptions.read")
def failing() -> ResponseReturnValue:
    return render_template(
        "tenants/console/failed_jobs.html",
        rows=query.failing(db()),
        undecided=query.undecided(db()),
        jobs=JOBS,
        reason=reason,
        base=here("console.failing"),
        subscriptions_url=here("console.subscriptions"),
        payments_url=here("console.payments"),
        may_act=current_member().may("subscriptions.change"),
    )


@bp.post("/<business_id>/sales/failing/<failure_id>/retry")
@needs("subscriptions.change")
def retry_failing(failure_id: str) -> ResponseReturnValue:
    if not recurring_jobs.retry_now(db(), failure_id):
        raise NotFound()
    flash(_("The task is tried again within a minute."), "good")
    return redirect(here("console.failing"), 303)


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/collection")
@needs("subscriptions.change")
def collect_here(subscription_id: str) -> ResponseReturnValue:
    return _decided(
        lambda: decide_collection.collect_here(processor(), db(), subscription_id),
        subscription_id,
        _("This portal charges the subscription from its next billing date."),
    )


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/collection/removal")
@needs("subscriptions.cancel")
def close_copy(subscription_id: str) -> ResponseReturnValue:
    return _decided(
        lambda: decide_collection.close_copy(db(), subscription_id),
        subscription_id,
        _("This copy is closed. The other billing system continues to charge."),
    )


def _decided(decide, subscription_id: str, done: str) -> ResponseReturnValue:  # type: ignore[no-untyped-def]
    try:
        decide()
    except Conflict as refused:
        flash(_(refused.sentence), "wait")
    else:
        flash(done, "good")
    return redirect(f"{here('console.subscriptions')}/{subscription_id}", 303)
