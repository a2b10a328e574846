"""Developers → External billing: the accounts that bill instead of this portal. They are connected from the shell."""

from __future__ import annotations

from flask import render_template
from flask.typing import ResponseReturnValue

from core.links import here
from core.request_context import db, services
from portal.external_billing import requested_change
from tenants.console.access import bp, current_member, needs
from tenants.external.incoming_webhooks import webhook_url
from tenants.external.status import external_status
from tenants.external.systems import SYSTEMS, TITLES


@bp.get("/<business_id>/developers/external-billing")
@needs("developers.read")
def external_billing() -> ResponseReturnValue:
    business_id = current_member().business_id
    return render_template(
        "tenants/console/external_billing.html",
        status=external_status(db()),
        names=TITLES,
        action_label=requested_change,
        commands={
            name: f"{system.variables[0]}=… \\\nflask --app wsgi pull {name} \\\n  --business {business_id} --webhooks"
            for name, system in SYSTEMS.items()
        },
        webhook_url=lambda name: webhook_url(services(), business_id, name),
        subscriptions_url=here("console.subscriptions"),
    )
