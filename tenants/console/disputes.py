"""Sales → Disputes: the list, and the page of one dispute. A dispute is answered at the payment processor."""

from __future__ import annotations

from flask import render_template
from flask.typing import ResponseReturnValue

from billing.customers.portal_settings import the_business
from billing.history import disputes as query
from billing.model import policy
from core import dispute_words
from core.links import here
from core.request_context import db
from tenants.console.access import bp, needs
from tenants.console.lists import chips, list_query
from tenants.console.setting_labels import rule_choices


@bp.get("/<business_id>/sales/disputes")
@needs("money.read")
def disputes() -> ResponseReturnValue:
    wanted, base = list_query(query.STATES), here("console.disputes")
    found = query.staff_disputes(db(replica=True), wanted.text, wanted.status, wanted.before)
    rows, newest, older = wanted.cut(base, found, lambda item: (item.dispute.created_at, item.dispute.id))
    return render_template(
        "tenants/console/disputes.html",
        rows=rows,
        newest=newest,
        older=older,
        query=wanted,
        base=base,
        reason=dispute_words.reason,
        payments_url=here("console.payments"),
        chips=chips("dispute", query.STATES, wanted, base),
    )


@bp.get("/<business_id>/sales/disputes/<dispute_id>")
@needs("money.read")
def dispute(dispute_id: str) -> ResponseReturnValue:
    found = query.dispute(db(), dispute_id)
    chosen = policy.setting(the_business(db()), "on_dispute")
    return render_template(
        "tenants/console/dispute.html",
        entry=found,
        dispute=found.dispute,
        paid=found.payment,
        customer=found.customer,
        reason=dispute_words.reason(found.dispute.reason),
        policy=dict(rule_choices()["on_dispute"])[chosen],
        base=here("console.disputes"),
        payments_url=here("console.payments"),
        subscriptions_url=here("console.subscriptions"),
        settings_url=here("console.settings"),
    )
