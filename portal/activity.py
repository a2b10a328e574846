"""The reader's own activity: what they did, what businesses did with what is theirs, and who looked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.tokens import mask
from billing.queries import story
from core.web import db, here
from portal import bp, cursor
from portal.deeds import STAFF_ONLY, deed
from portal.standing import businesses, is_several

PAGE = 30


@dataclass(frozen=True)
class Line:
    at: datetime
    business_id: str
    what: str
    who: str


@bp.get("/activity")
def activity() -> ResponseReturnValue:
    before = cursor.read(request.args.get("before"))
    found = story.happenings(db(replica=True), without=STAFF_ONLY, before=before, limit=PAGE + 1)
    older = f"{here('activity')}?before={cursor.write(found[PAGE - 1].at, found[PAGE - 1].id)}" if len(found) > PAGE else ""
    shown = [Line(one.at, one.business_id, deed(one.type, _told(one)), _who(one)) for one in found[:PAGE]]
    return render_template("portal/activity.html", lines=shown, older=older, newest=here("activity") if before else "",
                           businesses=businesses(), several=is_several())


def _told(one: story.Happened) -> dict[str, Any]:
    """Whoever had the row before may be somebody else: enough of their address for who knows it, too little for who does not."""
    return one.data | {"old": mask(str(one.data["old"]))} if one.type == "customer.email_changed" and "old" in one.data else one.data


def _who(one: story.Happened) -> str:
    if one.actor_type == "customer":
        return _("You")
    if one.actor_type in ("staff", "api_key"):
        return businesses()[one.business_id].name
    return ""
