"""Cancel a subscription at the end of the billing period or immediately, and undo a scheduled cancellation."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.external.port import can
from billing.licenses import queries as license_queries
from billing.subscriptions import cancel as cancel_subscription
from billing.subscriptions import queries as query
from billing.subscriptions.end_now import cancel_now
from billing.subscriptions.subscription_row import SubscriptionRow
from core.db import ScopedSession
from core.errors import Conflict, Invalid
from core.links import here
from core.request_context import db, services
from core.template_context import formatter
from portal import bp, external_billing
from portal.billing_services import processor
from portal.phrases import days_until
from portal.request_accounts import account, open_account
from portal.step_up import is_fresh, prove
from portal.subscription_rows import ends_at, may_cancel, may_keep


@bp.get("/subscriptions/<subscription_id>/cancellation")
def cancellation(subscription_id: str) -> ResponseReturnValue:
    row = query.get_subscription(db(), subscription_id)
    theirs = account(row.business_id, row.customer_id)
    if may_keep(row, theirs) or not may_cancel(row, theirs):
        return redirect(_url(row.id), 303)
    return _page(row, typed=request.args)


@bp.post("/subscriptions/<subscription_id>/cancellation")
def cancel(subscription_id: str) -> ResponseReturnValue:
    """Cancel at the end of the period. With `when=now`, cancel immediately, which requires a recent sign-in."""
    if request.form.get("when") == "now":
        return _cancel_immediately(subscription_id)
    row = _require_cancellable(query.get_subscription(db(), subscription_id))
    try:
        cancel_subscription.cancel_at_period_end(db(), row.id, request.form.get("feedback") or None, request.form.get("comment") or None)
    except Invalid as wrong:
        return _page(row, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    if row.collected_by != "us":
        return external_billing.back_to_subscription(row)
    day = ends_at(row)
    if day:
        flash(_("%(name)s ends on %(date)s. You can undo this until then.", name=row.name, date=formatter().date(day, "sentence")), "good")
    else:
        flash(_("%(name)s ends at the end of the billing period. You can undo this until then.", name=row.name), "good")
    return redirect(_url(row.id), 303)


@bp.post("/subscriptions/<subscription_id>/cancellation/revocation")
def keep(subscription_id: str) -> ResponseReturnValue:
    row = _require_cancellable(query.get_subscription(db(), subscription_id))
    cancel_subscription.keep(db(), row.id)
    if row.collected_by != "us":
        return external_billing.back_to_subscription(row)
    day = ends_at(row)
    if day:
        flash(_("%(name)s is active again. It next renews on %(date)s.", name=row.name, date=formatter().date(day, "sentence")), "good")
    else:
        flash(_("%(name)s will not be cancelled.", name=row.name), "good")
    return redirect(_url(row.id), 303)


def _cancel_immediately(subscription_id: str) -> ResponseReturnValue:
    """Cancel without a database session of this request: it would block the sessions of the command."""
    scope, form = db().scope, request.form
    with services().database.open(scope) as reading:
        row = _require_cancellable(query.get_subscription(reading, subscription_id))
        if not is_fresh():
            query_args = {"when": "now"} | ({"feedback": form["feedback"]} if form.get("feedback") else {})
            return prove(f"{_url(row.id)}/cancellation?{urlencode(query_args)}")
        others = _others(reading, row)
    try:
        cancel_now(processor(), scope, row.id, form.get("feedback") or None, form.get("comment") or None)
    except Invalid as wrong:
        return _page(row, wrong.fields, others=others), 422
    if row.collected_by != "us":
        return external_billing.back_to_subscription(row)
    flash(_("%(name)s has ended. You won’t be charged again.", name=row.name), "good")
    return redirect(_url(row.id), 303)


def _require_cancellable(row: SubscriptionRow) -> SubscriptionRow:
    """Return the row. Raises BusinessArchived, and Conflict if another system bills the subscription."""
    open_account(row.business_id, row.customer_id)
    if not can(row.collected_by, "cancel"):
        raise Conflict("NOT_COLLECTED_HERE", _("The business bills this subscription itself. Contact the business to cancel it."))
    return row


def _others(reading: ScopedSession, row: SubscriptionRow) -> list[str]:
    """Return the names of the customer's other subscriptions with the business."""
    names = (item.name for item in query.live(reading) if item.business_id == row.business_id and item.id != row.id)
    return list(dict.fromkeys(names))


def _page(row: SubscriptionRow, errors: dict[str, str] | None = None, typed: Any = None, others: list[str] | None = None) -> str:
    others = _others(db(), row) if others is None else others
    theirs = account(row.business_id, row.customer_id)
    return render_template(
        "portal/cancellation.html",
        row=row,
        account=theirs,
        url=_url(row.id),
        reasons=reasons(),
        others=others,
        ends_at=ends_at(row),
        errors={name: _(sentence) for name, sentence in (errors or {}).items()},
        typed=request.form if typed is None else typed,
        is_fresh=is_fresh(),
        has_keys=license_queries.has_keys(db(), row.id),
        days_left=days_until(row.next_billing_at) if ends_at(row) and row.status == "active" else 0,
    )


def reasons() -> list[tuple[str, str]]:
    """Return (API code, label) of the cancellation reasons; the first is the empty choice."""
    return [
        ("", _("Choose a reason")),
        ("too_expensive", _("It’s too expensive")),
        ("missing_features", _("Features are missing")),
        ("switched_service", _("I switched to another service")),
        ("unused", _("I don’t use it")),
        ("customer_service", _("Customer service")),
        ("low_quality", _("The quality is too low")),
        ("too_complex", _("It’s too complicated")),
        ("other", _("Another reason")),
    ]


def _url(subscription_id: str) -> str:
    return f"{here('subscriptions')}/{subscription_id}"
