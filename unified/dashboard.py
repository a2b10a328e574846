"""The dashboard of the unified portal. It takes six SQL statements, including the sign-in check."""

from __future__ import annotations

from flask import g, render_template, request
from flask.typing import ResponseReturnValue

from core import clock
from portal import overview
from portal.attention import unconfirmed
from portal.subscription_rows import SORTS
from unified import door

MAX_UNCONFIRMED = 5
"""Maximum number of unconfirmed purchases shown at once."""


@door.get("/")
def home() -> ResponseReturnValue:
    requested_sort = request.args.get("sort", "date")
    parts = overview.parts(requested_sort if requested_sort in SORTS else "date")
    parts["needs"] += unconfirmed([item.name for item in g.unconfirmed], "#unconfirmed")
    return render_template(
        "unified/dashboard.html",
        now=clock.now(),
        pending_acceptance=g.pending_acceptance,
        unconfirmed=g.unconfirmed[:MAX_UNCONFIRMED],
        **parts,
    )
