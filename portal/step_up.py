"""Require a sign-in from the last thirty minutes for sensitive actions (safety 2.7)."""

from __future__ import annotations

from flask import flash, redirect
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import sessions


def is_fresh() -> bool:
    """Return whether this visit has a recent sign-in. Portal links of a business never have one."""
    visit = sessions.current_visit()
    return visit is not None and sessions.proved_within(visit)


def prove(url: str) -> ResponseReturnValue:
    """Redirect to the sign-in page, which returns to `url`. The requested action was not performed."""
    flash(_("Please confirm it’s you. Nothing has been changed yet. You’ll return to this page afterward."), "wait")
    return redirect(sessions.fresh_proof_url(url), 303)
