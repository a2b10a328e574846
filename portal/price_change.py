"""The page of an announced price change: both prices, agreeing or keeping the price where that is the customer's choice, cancelling."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.price_changes.answer import answer, coming_change
from billing.subscriptions import queries as query
from core.links import here
from core.request_context import db
from core.template_context import formatter
from portal import bp
from portal.phrases import interval
from portal.request_accounts import account, open_account
from portal.subscription_rows import may_cancel


@bp.get("/subscriptions/<subscription_id>/price-change")
def price_change(subscription_id: str) -> ResponseReturnValue:
    row = query.get_subscription(db(), subscription_id)
    change = coming_change(db(), row.id) if row.has_price_change else None
    if change is None:
        flash(_("There is no price change to answer. This is the price that counts."), "good")
        return redirect(_url(row.id), 303)
    theirs = account(row.business_id, row.customer_id)
    return render_template(
        "portal/price_change.html",
        row=row,
        change=change,
        account=theirs,
        url=_url(row.id),
        interval=interval(row.interval, row.interval_count),
        may_cancel=may_cancel(row, theirs),
        cancel_url=f"{_url(row.id)}/cancellation" if may_cancel(row, theirs) else f"/cancel/{row.business_id}",
    )


@bp.post("/subscriptions/<subscription_id>/price-change")
def answer_price_change(subscription_id: str) -> ResponseReturnValue:
    row = query.get_subscription(db(), subscription_id)
    open_account(row.business_id, row.customer_id)
    said = request.form.get("answer", "")
    answer(db(), row.id, said, request.form.get("change", ""))
    day = formatter().date(row.price_changes_at, "sentence") if row.price_changes_at else ""
    if said == "accepted":
        flash(_("You agreed. The new price counts from %(date)s. You can change your answer until then.", date=day), "good")
    else:
        flash(_("You keep your price. You can change your answer until %(date)s.", date=day), "good")
    return redirect(_url(row.id), 303)


def _url(subscription_id: str) -> str:
    return f"{here('subscriptions')}/{subscription_id}"
