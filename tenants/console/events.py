"""The event log: events as webhooks and the API deliver them, with their stored data."""

from __future__ import annotations

import json

from flask import render_template
from flask.typing import ResponseReturnValue

from billing.history import event_log
from core.links import here
from core.request_context import db
from tenants.console.access import bp, needs
from tenants.console.lists import PAGE, list_query


@bp.get("/<business_id>/developers/events")
@needs("developers.read")
def events() -> ResponseReturnValue:
    wanted, base = list_query(event_log.NOUNS), here("console.events")
    found = event_log.events(db(replica=True), wanted.status, wanted.text, wanted.before, PAGE + 1)
    rows, newest, older = wanted.cut(base, found, lambda item: (item.at, item.id))
    return render_template(
        "tenants/console/events.html", rows=rows, newest=newest, older=older, query=wanted, base=base, nouns=event_log.NOUNS
    )


@bp.get("/<business_id>/developers/events/<event_id>")
@needs("developers.read")
def event(event_id: str) -> ResponseReturnValue:
    row = event_log.event(db(), event_id)
    return render_template(
        "tenants/console/event.html",
        row=row,
        base=here("console.events"),
        payload=json.dumps(row.data, indent=2, sort_keys=True, ensure_ascii=False),
    )
