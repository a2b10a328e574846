"""The customer's activity page: their own actions, the actions of businesses, and staff who viewed the portal as them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.tokens import mask
from billing.history import timeline
from core.links import here
from core.request_context import db
from portal import bp, cursor
from portal.event_sentences import STAFF_ONLY, event_sentence
from portal.receipts import receipt_of
from portal.request_accounts import businesses, is_several

PAGE = 30


@dataclass(frozen=True)
class ActivityLine:
    at: datetime
    business_id: str
    what: str
    actor: str
    receipt: str
    receipt_url: str


@bp.get("/activity")
def activity() -> ResponseReturnValue:
    before = cursor.read(request.args.get("before"))
    found = timeline.events_of(db(replica=True), without=STAFF_ONLY, before=before, limit=PAGE + 1)
    older = f"{here('activity')}?before={cursor.write(found[PAGE - 1].at, found[PAGE - 1].id)}" if len(found) > PAGE else ""
    shown = [
        ActivityLine(item.at, item.business_id, event_sentence(item.type, _masked_data(item)), _actor_name(item), *receipt_of(item.data))
        for item in found[:PAGE]
    ]
    return render_template(
        "portal/activity.html",
        lines=shown,
        older=older,
        newest=here("activity") if before else "",
        businesses=businesses(),
        several=is_several(),
    )


def _masked_data(timeline_event: timeline.TimelineEvent) -> dict[str, Any]:
    """Return the event data with former email addresses masked, because they may belong to another person."""
    hidden = {"customer.email_changed": "old", "email.refused": "email"}.get(timeline_event.type)
    return timeline_event.data | {hidden: mask(str(timeline_event.data[hidden]))} if hidden in timeline_event.data else timeline_event.data


def _actor_name(timeline_event: timeline.TimelineEvent) -> str:
    if timeline_event.actor_type == "customer":
        return _("You")
    if timeline_event.actor_type in ("staff", "api_key"):
        return businesses()[timeline_event.business_id].name
    return ""
