"""Webhook deliveries: each message, its attempts with request and answer, and sending it again."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from core.errors import Conflict, NotFound
from core.links import here
from core.request_context import db
from tenants.console.access import bp, current_member, needs
from tenants.console.lists import PAGE
from tenants.webhooks import endpoints, history
from tenants.webhooks.models import Delivery

STATES = ("pending", "delivered", "failed", "held", "dropped")


@bp.get("/<business_id>/developers/webhooks/deliveries")
@needs("developers.read")
def deliveries() -> ResponseReturnValue:
    state, webhook_id = request.args.get("state", ""), request.args.get("webhook", "")
    state = state if state in STATES else ""
    rows = history.deliveries(db(replica=True), endpoint_id=webhook_id or None, state=state or None, before=_before(), limit=PAGE + 1)
    known, _done = endpoints.page(db(), endpoints.MAX_ENDPOINTS)
    return render_template(
        "tenants/console/deliveries.html",
        rows=rows[:PAGE],
        older=rows[PAGE - 1].id if len(rows) > PAGE else "",
        state=state,
        states=STATES,
        webhook=webhook_id,
        names={item.id: item.url for item in known},
        base=here("console.webhooks"),
    )


@bp.get("/<business_id>/developers/webhooks/deliveries/<delivery_id>")
@needs("developers.read")
def delivery(delivery_id: str) -> ResponseReturnValue:
    sent = history.delivery(db(), delivery_id)
    try:
        endpoint = endpoints.find(db(), sent.delivery.endpoint_id)
    except NotFound:  # the webhook was deleted; its deliveries can still be read
        endpoint = None
    return render_template(
        "tenants/console/delivery.html",
        row=sent.delivery,
        attempts=sent.attempts,
        endpoint=endpoint,
        base=here("console.webhooks"),
        may_write=current_member().may("developers.webhooks"),
    )


@bp.post("/<business_id>/developers/webhooks/deliveries/<delivery_id>/replay")
@needs("developers.webhooks")
def replay_delivery(delivery_id: str) -> ResponseReturnValue:
    try:
        history.replay(db(), delivery_id)
        flash(_("The message is sent again with the same ID."), "good")
    except Conflict as wrong:
        flash(_(wrong.sentence), "wait")
    return redirect(f"{here('console.webhooks')}/deliveries/{delivery_id}", 303)


def _before() -> Delivery | None:
    """Return the last delivery of the previous page; None for an unknown ID."""
    id = request.args.get("before", "")
    try:
        return history.delivery(db(), id).delivery if id else None
    except NotFound:
        return None
