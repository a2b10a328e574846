"""Sales → Subscriptions: search, the page of one subscription, and cancelling it with a reason."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.external import latest as external_latest
from billing.external.port import UNDECIDED, can
from billing.history import staff_lists
from billing.history.failing_work import failing, needs_attention
from billing.licenses import queries as license_queries
from billing.model import lifecycle
from billing.model.restarts import restart_of, restarted_from
from billing.receipts.queries import receipts_of
from billing.subscriptions import cancel as cancel_subscription
from billing.subscriptions import queries as query
from billing.subscriptions.consents import consents_of
from billing.subscriptions.end_now import cancel_now
from billing.subscriptions.subscription_row import SubscriptionRow
from core.errors import N_, Conflict, Invalid
from core.links import here
from core.request_context import db, scope, services
from core.template_context import formatter
from portal.billing_services import processor
from portal.cancellation import reasons
from portal.external_billing import requested_change
from portal.phrases import card, consent_words, interval
from portal.renewals import is_charged
from portal.step_up import is_fresh, prove
from portal.subscription_rows import ends_at
from tenants.console.access import bp, current_member, needs
from tenants.console.failed_jobs import reason
from tenants.console.lists import chips, list_query
from tenants.console.staff_changes import allowed


@bp.get("/<business_id>/sales/subscriptions")
@needs("subscriptions.read")
def subscriptions() -> ResponseReturnValue:
    wanted, base = list_query(staff_lists.SUBSCRIPTION_STATES), here("console.subscriptions")
    found = staff_lists.subscriptions(db(replica=True), wanted.text, wanted.status, wanted.before)
    rows, newest, older = wanted.cut(base, found, lambda item: (item.subscription.created_at, item.subscription.id))
    return render_template(
        "tenants/console/subscriptions.html",
        rows=rows,
        newest=newest,
        older=older,
        query=wanted,
        base=base,
        interval=interval,
        failing_url=here("console.failing") if needs_attention(db()) else "",
        chips=chips("subscription", staff_lists.SUBSCRIPTION_STATES, wanted, base),
    )


@bp.get("/<business_id>/sales/subscriptions/<subscription_id>")
@needs("subscriptions.read")
def subscription(subscription_id: str) -> ResponseReturnValue:
    row, sold = query.get_subscription(db(), subscription_id), staff_lists.subscription(db(), subscription_id)
    may_invite = current_member().may("customers.invite") and lifecycle.may(lifecycle.SUBSCRIPTION, row.status, "change_method")
    return render_template(
        "tenants/console/subscription.html",
        row=row,
        sold=sold,
        customer=sold.customer,
        base=here("console.subscriptions"),
        payments=staff_lists.payments_of(db(), subscription_id),
        payments_url=here("console.payments"),
        interval=interval,
        consents=consents_of(db(), subscription_id=subscription_id),
        consent_words=consent_words(),
        card=card(row.brand, row.last4, row.kind),
        ends_at=ends_at(row),
        reasons=dict(reasons()),
        may=allowed(row, current_member().profile.archived_at is not None) if current_member().may("subscriptions.change") else {},
        invite_url=f"{here('console.customers')}/{row.customer_id}/invite" if may_invite else "",
        problems=[(reason(item.failure), item.failure) for item in failing(db(), row.id)],
        is_charged=is_charged(row),
        is_undecided=row.collected_by == UNDECIDED and row.status in lifecycle.LIVE,
        delegated=_delegated(row),
        may_keep=not cancel_subscription.is_consumers_own(sold.subscription),
        newer=restart_of(db(), row.business_id, row.id),
        older_id=restarted_from(db(), row.business_id, row.id),
        receipts=receipts_of(db(), row.business_id, row.id),
        may_end=current_member().may("subscriptions.cancel")
        and can(row.collected_by, "cancel")
        and lifecycle.may(lifecycle.SUBSCRIPTION, row.status, "cancel"),
    )


@bp.get("/<business_id>/sales/subscriptions/<subscription_id>/cancellation")
@needs("subscriptions.cancel")
def cancellation(subscription_id: str) -> ResponseReturnValue:
    return _cancellation_page(subscription_id, request.args)


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/cancellation")
@needs("subscriptions.cancel")
def cancel(subscription_id: str) -> ResponseReturnValue:
    """Cancel at the end of the period; with `when=now` immediately, which requires a recent sign-in and opens its own sessions."""
    form, url = request.form, f"{here('console.subscriptions')}/{subscription_id}"
    with services().database.open(scope()) as reading:
        row = query.get_subscription(reading, subscription_id)
    if not can(row.collected_by, "end" if form.get("when") == "now" else "cancel"):
        raise Conflict("NOT_COLLECTED_HERE", N_("This subscription is billed by another system. Cancel it there."))
    why = (form.get("feedback") or None, form.get("comment") or None)
    try:
        if form.get("when") == "now":
            if not is_fresh():
                return prove(f"{url}/cancellation?when=now")
            cancel_now(processor(), scope(), row.id, *why)
            if row.collected_by != "us":
                return _request_sent(url)
            flash(_("%(name)s has ended. Nothing more is charged.", name=row.name), "good")
        else:
            cancel_subscription.cancel_at_period_end(db(), row.id, *why)
            if row.collected_by != "us":
                return _request_sent(url)
            day = ends_at(row)
            when = formatter().date(day, "sentence") if day else _("the end of the billing period")
            flash(_("%(name)s ends on %(date)s. You can undo this until then.", name=row.name, date=when), "good")
    except Invalid as wrong:
        return _cancellation_page(subscription_id, form, wrong.fields), 422
    return redirect(url, 303)


@bp.post("/<business_id>/sales/subscriptions/<subscription_id>/cancellation/revocation")
@needs("subscriptions.cancel")
def keep(subscription_id: str) -> ResponseReturnValue:
    row = query.get_subscription(db(), subscription_id)
    cancel_subscription.keep(db(), row.id)
    if row.collected_by != "us":
        return _request_sent(f"{here('console.subscriptions')}/{row.id}")
    flash(_("%(name)s is active again.", name=row.name), "good")
    return redirect(f"{here('console.subscriptions')}/{row.id}", 303)


def _request_sent(url: str) -> ResponseReturnValue:
    """Redirect to the subscription after a request to an external billing system. Its page shows the answer."""
    flash(_("The request was sent to the billing system. This page shows the answer."), "good")
    return redirect(url, 303)


def _delegated(row: SubscriptionRow) -> tuple[str, str, str] | None:
    """Return (state, action, error) of the last action sent to an external billing system."""
    act = external_latest.latest(db(), row.business_id, row.id) if row.collected_by != "us" else None
    return (act.status, requested_change(act.verb), act.error or "") if act is not None else None


def _cancellation_page(subscription_id: str, typed: Any, errors: dict[str, str] | None = None) -> str:
    with services().database.open(scope()) as reading:
        row, sold = query.get_subscription(reading, subscription_id), staff_lists.subscription(reading, subscription_id)
        with_keys = license_queries.has_keys(reading, row.id)
    may_schedule = lifecycle.may(lifecycle.SUBSCRIPTION, row.status, "schedule_cancel") and not row.cancel_at_period_end
    return render_template(
        "tenants/console/cancellation.html",
        row=row,
        customer=sold.customer,
        url=f"{here('console.subscriptions')}/{row.id}",
        base=here("console.subscriptions"),
        reasons=reasons(),
        typed=typed,
        ends_at=ends_at(row),
        may_schedule=may_schedule,
        errors={name: _(message) for name, message in (errors or {}).items()},
        is_fresh=is_fresh(),
        interval=interval,
        has_keys=with_keys,
    )
