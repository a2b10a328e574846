"""Pay an open invoice of a subscription that an external billing system collects. The payment itself is made on that system's page."""

from __future__ import annotations

from flask import flash, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.visit_rows import Account
from billing.external.port import pays_there
from billing.subscriptions import external_pages as command
from billing.subscriptions import queries as query
from billing.subscriptions.subscription_row import SubscriptionRow
from core.errors import Conflict, Unavailable
from core.links import here
from core.request_context import db, scope, services
from portal import bp
from portal.billing_services import dispatcher
from portal.external_billing import back_to_subscription, leave_for
from portal.request_accounts import account, open_account


@bp.get("/subscriptions/<subscription_id>/invoice-payment")
def invoice_payment(subscription_id: str) -> ResponseReturnValue:
    row = query.get_subscription(db(), subscription_id)
    theirs = account(row.business_id, row.customer_id)
    if not pays_there(row.collected_by) or theirs.archived_at or not (row.dues_minor or row.status == "on_hold"):
        return back_to_subscription(row)
    return _page(row, theirs)


@bp.post("/subscriptions/<subscription_id>/invoice-payment")
def open_invoice_page(subscription_id: str) -> ResponseReturnValue:
    """Open the invoice's page at the external billing system. The command opens its own database sessions."""
    with services().database.open(scope()) as reading:
        row = query.get_subscription(reading, subscription_id)
    theirs = open_account(row.business_id, row.customer_id)
    try:
        link = command.open_invoice_page(dispatcher(), scope(), row.id, request.form.get("invoice") or None)
    except (Conflict, Unavailable) as wrong:
        with services().database.open(scope()) as reading:
            row = query.get_subscription(reading, subscription_id)
        return _page(row, theirs, _(wrong.sentence)), wrong.status
    if not link:
        flash(_("This invoice is paid. You don’t need to do anything."), "good")
        return back_to_subscription(row)
    return leave_for(link, row, theirs)


def _page(row: SubscriptionRow, theirs: Account, problem: str = "") -> str:
    invoices = command.external_invoices(db(), row.business_id, row.id)
    chosen = request.values.get("invoice")  # the page begins with the one that its link named
    return render_template(
        "portal/invoice_payment.html",
        row=row,
        account=theirs,
        invoices=sorted(invoices, key=lambda item: item.id != chosen) or [None],
        url=f"{here('subscriptions')}/{row.id}",
        invoices_url=here("invoices"),
        problem=problem,
    )
