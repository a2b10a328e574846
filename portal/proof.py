"""Acts that want a proof of who it is younger than thirty minutes (safety 2.7), and the way to one and back."""

from __future__ import annotations

from flask import flash, redirect
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import sessions


def is_fresh() -> bool:
    """Whether this visit may do what wants a fresh proof. A business's own link never may."""
    visit = sessions.current()
    return visit is not None and sessions.proved_within(visit)


def prove(url: str) -> ResponseReturnValue:
    """Nothing was done: a letter first, then `url`, where it is asked again."""
    flash(_("Please show once more that it is you. Nothing was done yet; you come back to where you were."), "wait")
    return redirect(sessions.fresh_proof_url(url), 303)
