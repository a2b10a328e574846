"""Settings → Payments → Test: opens and cancels a small payment at an account, and waits for its event."""

from __future__ import annotations

from flask import Response, flash, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.charging import account_tests, payment_accounts
from billing.model.payment_accounts import SANDBOX
from core.errors import Conflict, NotFound
from core.links import here
from core.request_context import db, services
from tenants.console.access import bp, current_member, needs, needs_fresh_proof

REFRESH_SECONDS = 3


@bp.post("/<business_id>/settings/payments/<account_id>/test")
@needs("settings.write")
@needs_fresh_proof
def request_payment_account_test(account_id: str) -> ResponseReturnValue:
    """Let the worker send the test: the processor is not asked in this request."""
    address = f"{here('console.payment_accounts')}/{account_id}"
    try:
        account_tests.request_test(services().processor, db(), account_id)
    except Conflict as refused:
        flash(_(refused.sentence), "due")
        return redirect(address, 303)
    return redirect(f"{address}/test", 303)


@bp.get("/<business_id>/settings/payments/<account_id>/test")
@needs("settings.read")
def payment_account_test(account_id: str) -> ResponseReturnValue:
    """Show the result. The page refreshes until the event has arrived, for at most two minutes."""
    row, details = payment_accounts.read_account(db(), account_id)
    test = account_tests.last_test(details)
    if test is None:
        raise NotFound(sentence=_("This account was not tested yet."))
    address = f"{here('console.payment_accounts')}/{row.id}"
    page = Response(
        render_template(
            "tenants/console/payment_account_test.html",
            row=row,
            details=details,
            test=test,
            base=address,
            back=here("console.payment_accounts"),
            webhook_url=f"{services().settings.base_url}/incoming/{row.kind}/{row.id}",
            needs_webhook=row.kind != SANDBOX,
            may_write=current_member().may("settings.write"),
        )
    )
    if test.is_running:
        page.headers["Refresh"] = str(REFRESH_SECONDS)
    return page
