"""Developers → External billing: the status of the account that bills instead of this portal. It is connected from the shell."""

from __future__ import annotations

from flask import render_template
from flask.typing import ResponseReturnValue

from core.links import here
from core.request_context import db
from portal.external_billing import requested_change
from tenants.console.access import bp, current_member, needs
from tenants.external.status import external_status

NAMES = {"dodo": "Dodo Payments"}


@bp.get("/<business_id>/developers/external-billing")
@needs("developers.read")
def external_billing() -> ResponseReturnValue:
    command = f"DODO_PAYMENTS_API_KEY=… \\\nflask --app wsgi pull dodo \\\n  --business {current_member().business_id} --webhooks"
    return render_template(
        "tenants/console/external_billing.html",
        status=external_status(db()),
        names=NAMES,
        action_label=requested_change,
        command=command,
        subscriptions_url=here("console.subscriptions"),
    )
