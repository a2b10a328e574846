"""Where the reader is signed in, and ending that."""

from __future__ import annotations

from flask import flash, redirect
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import ngettext

from auth import sessions as visits
from auth.signing import end_all, end_one
from core.errors import Forbidden, NotFound
from core.web import here, house
from portal import bp


def _person() -> visits.Visit:
    """A merchant's link sees no devices and ends none (safety 2.1)."""
    visit = visits.current()
    if visit is None or not visit.is_person or visit.link:
        raise Forbidden("PERSON_REQUIRED", _("Sign in by letter to see where you are signed in."))
    return visit


@bp.get("/sessions")
def sessions() -> ResponseReturnValue:
    return redirect(here("profile") + "#sessions", 303)


@bp.post("/sessions/<session_id>/end")
def end_session(session_id: str) -> ResponseReturnValue:
    if not end_one(house().database, _person(), session_id):
        raise NotFound()
    flash(_("That browser is signed out."), "good")
    return redirect(here("profile") + "#sessions", 303)


@bp.post("/sessions/end")
def end_other_sessions() -> ResponseReturnValue:
    count = end_all(house().database, _person(), keep_here=True)
    flash(
        ngettext("One other browser is signed out.", "%(num)d other browsers are signed out.", count)
        if count
        else _("You are signed in nowhere else."),
        "good",
    )
    return redirect(here("profile") + "#sessions", 303)
