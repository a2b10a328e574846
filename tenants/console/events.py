"""The event log: what happened, in the words programs hear it, with the data of each as it was written down."""

from __future__ import annotations

import json

from flask import render_template
from flask.typing import ResponseReturnValue

from billing.queries import happenings
from core.web import db, here
from tenants.console.door import bp, needs
from tenants.console.lists import PAGE, asked


@bp.get("/<business_id>/developers/events")
@needs("developers.read")
def events() -> ResponseReturnValue:
    wanted, base = asked(happenings.NOUNS), here("console.events")
    found = happenings.events(db(replica=True), wanted.status, wanted.words, wanted.before, PAGE + 1)
    rows, newest, older = wanted.cut(base, found, lambda one: (one.at, one.id))
    return render_template("tenants/console/events.html", rows=rows, newest=newest, older=older, asked=wanted, base=base,
                           nouns=happenings.NOUNS)


@bp.get("/<business_id>/developers/events/<event_id>")
@needs("developers.read")
def event(event_id: str) -> ResponseReturnValue:
    row = happenings.event(db(), event_id)
    return render_template("tenants/console/event.html", row=row, base=here("console.events"),
                           payload=json.dumps(row.data, indent=2, sort_keys=True, ensure_ascii=False))
