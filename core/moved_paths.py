"""Redirect URLs of earlier versions to the present ones: they are in emails, bookmarks and pages that were open during an upgrade.

A renamed path is added here and stays. Paths of the API are never renamed.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from flask import Flask, Response, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

MOVED = tuple(
    (re.compile(old), new)
    for old, new in (
        # 0.1
        (r"^(/console/[^/]+/sales)/parked((?:/[^/]+/closing)?)$", r"\1/reconciliation\2"),
        (r"^(/console/[^/]+/sales)/parked(/[^/]+)/question$", r"\1/reconciliation\2/check"),
        (r"^(/console/[^/]+/developers)/elsewhere$", r"\1/external-billing"),
        (r"^(/console/[^/]+/collections/[^/]+/(?:groups|items)/[^/]+)/place$", r"\1/position"),
        (r"^/login/never-again(/[^/]+)$", r"/login/email-opt-out\1"),
        (r"^(/login/link/[^/]+|/session/[^/]+)/again$", r"\1/resend"),
        (r"^/appearances((?:/[^/]+)?/(?:acceptance|refusal))$", r"/approvals\1"),
        (r"^((?:/business/[^/]+)?)/appearance(/(?:acceptance|refusal))$", r"\1/approval\2"),
        (r"^(/profile/addresses/merges/[^/]+)/letter$", r"\1/email"),
    )
)
"""(old path, new path), for every method: 308 keeps the method and the form (RFC 9110 §15.4.9)."""


def init(app: Flask) -> None:
    app.before_request(_redirect_moved)


def present_path(path: str) -> str | None:
    """Return the present path of an old one; None if the path was not renamed."""
    return next((pattern.sub(new, path) for pattern, new in MOVED if pattern.match(path)), None)


def _redirect_moved() -> ResponseReturnValue | None:
    if not isinstance(request.routing_exception, NotFound) or (path := present_path(request.path.rstrip("/"))) is None:
        return None
    query = request.query_string.decode("latin-1")
    answer: Response = redirect(quote(path) + (f"?{query}" if query else ""), 308)  # type: ignore[assignment]
    answer.headers["Cache-Control"] = "no-store"  # a path may hold a token
    return answer
