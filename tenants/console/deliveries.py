"""What was sent to webhooks: each message, each attempt with what was asked and what came back, and sending it once more."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from core.errors import Conflict, NotFound
from core.web import db, here
from tenants.console.door import bp, me, needs
from tenants.console.lists import PAGE
from tenants.webhooks import endpoints, history
from tenants.webhooks.tables import Delivery

STATES = ("pending", "delivered", "failed", "held", "dropped")


@bp.get("/<business_id>/developers/webhooks/deliveries")
@needs("developers.read")
def deliveries() -> ResponseReturnValue:
    state, webhook_id = request.args.get("state", ""), request.args.get("webhook", "")
    state = state if state in STATES else ""
    rows = history.deliveries(db(replica=True), endpoint_id=webhook_id or None, state=state or None, before=_before(), limit=PAGE + 1)
    known, _done = endpoints.page(db(), endpoints.MOST)
    return render_template(
        "tenants/console/deliveries.html", rows=rows[:PAGE], older=rows[PAGE - 1].id if len(rows) > PAGE else "", state=state,
        states=STATES, webhook=webhook_id, names={one.id: one.url for one in known}, base=here("console.webhooks"))


@bp.get("/<business_id>/developers/webhooks/deliveries/<delivery_id>")
@needs("developers.read")
def delivery(delivery_id: str) -> ResponseReturnValue:
    sent = history.delivery(db(), delivery_id)
    try:
        endpoint = endpoints.find(db(), sent.delivery.endpoint_id)
    except NotFound:  # it was taken away; what was sent there is still read
        endpoint = None
    return render_template("tenants/console/delivery.html", row=sent.delivery, attempts=sent.attempts, endpoint=endpoint,
                           base=here("console.webhooks"), may_write=me().may("developers.webhooks"))


@bp.post("/<business_id>/developers/webhooks/deliveries/<delivery_id>/replay")
@needs("developers.webhooks")
def replay_delivery(delivery_id: str) -> ResponseReturnValue:
    try:
        history.replay(db(), delivery_id)
        flash(_("It is sent again now, under the same id."), "good")
    except Conflict as wrong:
        flash(_(wrong.sentence), "wait")
    return redirect(f"{here('console.webhooks')}/deliveries/{delivery_id}", 303)


def _before() -> Delivery | None:
    """The last one of the page one came from; nothing for an id that is none of ours."""
    id = request.args.get("before", "")
    try:
        return history.delivery(db(), id).delivery if id else None
    except NotFound:
        return None
