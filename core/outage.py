"""The answer while the database is away: 503 with Retry-After, as a page or as JSON, made without asking the database anything."""

from __future__ import annotations

import structlog
from flask import Response, current_app, g, jsonify, make_response, request
from flask_babel import refresh
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from core import i18n
from core.security import is_api

log = structlog.get_logger()

RETRY_AFTER = 10  # seconds
_CONFLICTS = "40"  # SQLSTATE class: the database is there, two transactions met


def is_outage(error: BaseException | None) -> bool:
    """True where the database cannot be reached or cannot work: refused, broken, silent, full, out of connections or locked."""
    if isinstance(error, PoolTimeout | DisconnectionError | InterfaceError):
        return True
    if isinstance(error, OperationalError):
        return not str(getattr(error.orig, "sqlstate", None) or "").startswith(_CONFLICTS)
    return isinstance(error, DBAPIError) and error.connection_invalidated


def answer(error: BaseException) -> Response:
    """The 503 of this request. Forgets who is signed in and which business it was: both come from the database.

    Where the replica failed a page that reads, the page is made again from the primary instead.
    """
    from core.web import SAFE_METHODS, house, undo

    database = house().database
    replica = database.replica_of(g.get("session"))
    if replica is not None and request.method in SAFE_METHODS and "replica_failed" not in g:
        g.replica_failed = True
        replica.mark_down()
        undo()
        try:
            return current_app.make_response(current_app.dispatch_request())
        except HTTPException as page:
            return current_app.make_response(current_app.handle_http_exception(page))
    log.error("database unavailable", error=type(error).__name__, reason=type(getattr(error, "orig", error)).__name__)
    undo()
    for name in ("door", "visitor", "domain", "words"):
        g.pop(name, None)
    refresh()
    if is_api(request.path) or request.accept_mimetypes["application/json"] > request.accept_mimetypes["text/html"]:
        response = jsonify(code="UNAVAILABLE", message="The service is unavailable at the moment. Nothing was changed; please try again.")
    else:
        response = make_response(_page())
    response.status_code = 503
    response.headers["Retry-After"] = str(RETRY_AFTER)
    response.headers["Cache-Control"] = "no-store"
    return response


def _page() -> str:
    """Rendered with these values alone: context processors would ask who is signed in."""
    locale = i18n.locale()
    return current_app.jinja_env.get_template("errors/outage.html").render(
        settings=current_app.extensions["portal"].settings, lang=i18n.html_lang(locale), direction=i18n.direction(locale),
        can_repeat=request.method in ("GET", "HEAD"), path=request.full_path if request.query_string else request.path,
    )
