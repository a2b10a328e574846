"""Developers → Collected elsewhere: the account that bills in this portal's place. Looked at here, connected from the shell."""

from __future__ import annotations

from flask import render_template
from flask.typing import ResponseReturnValue

from core.web import db, here
from portal.elsewhere import wishes
from tenants.console.door import bp, me, needs
from tenants.elsewhere.standing import standing

NAMES = {"dodo": "Dodo Payments"}


@bp.get("/<business_id>/developers/elsewhere")
@needs("developers.read")
def elsewhere() -> ResponseReturnValue:
    command = f"DODO_PAYMENTS_API_KEY=… \\\nflask --app wsgi pull dodo \\\n  --business {me().business_id} --webhooks"
    return render_template("tenants/console/elsewhere.html", now=standing(db()), names=NAMES, wishes=wishes, command=command,
                           subscriptions_url=here("console.subscriptions"))
