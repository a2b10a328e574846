"""List and end the customer's sessions."""

from __future__ import annotations

from flask import flash, redirect
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import ngettext

from auth import sessions as visits
from auth.own_sessions import end_all, end_one
from core.errors import Forbidden, NotFound
from core.links import here
from core.request_context import services
from portal import bp


def _person() -> visits.Visit:
    """Return the visit of a signed-in person. Portal links of a business cannot see or end sessions (safety 2.1)."""
    visit = visits.current_visit()
    if visit is None or not visit.is_person or visit.link:
        raise Forbidden("PERSON_REQUIRED", _("Sign in by email to see where you’re signed in."))
    return visit


@bp.get("/sessions")
def sessions() -> ResponseReturnValue:
    return redirect(here("profile") + "#sessions", 303)


@bp.post("/sessions/<session_id>/end")
def end_session(session_id: str) -> ResponseReturnValue:
    if not end_one(services().database, _person(), session_id):
        raise NotFound()
    flash(_("That browser is signed out."), "good")
    return redirect(here("profile") + "#sessions", 303)


@bp.post("/sessions/end")
def end_other_sessions() -> ResponseReturnValue:
    count = end_all(services().database, _person(), keep_here=True)
    flash(
        ngettext("One other browser is signed out.", "%(num)d other browsers are signed out.", count)
        if count
        else _("You aren’t signed in anywhere else."),
        "good",
    )
    return redirect(here("profile") + "#sessions", 303)
