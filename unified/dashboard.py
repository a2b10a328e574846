"""The dashboard: everything a person bought, from every business, on one page. Six statements, sign-in included."""

from __future__ import annotations

from flask import g, render_template, request
from flask.typing import ResponseReturnValue

from core import clock
from portal import overview
from portal.attention import unconfirmed
from portal.lines import SORTS
from unified import door

AT_ONCE = 5
"""So many are asked about; the next ones when these are answered."""


@door.get("/")
def home() -> ResponseReturnValue:
    wanted = request.args.get("sort", "date")
    parts = overview.parts(wanted if wanted in SORTS else "date")
    parts["needs"] += unconfirmed([one.name for one in g.unconfirmed], "#unconfirmed")
    return render_template("unified/dashboard.html", now=clock.now(), planted=g.planted, unconfirmed=g.unconfirmed[:AT_ONCE], **parts)
