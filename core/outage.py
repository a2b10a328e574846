"""The response during a database outage: 503 with Retry-After, as a page or JSON, made without the database."""

from __future__ import annotations

import structlog
from flask import Response, current_app, g, jsonify, make_response, request
from flask_babel import refresh
from werkzeug.exceptions import HTTPException

from core import i18n
from core.database_errors import is_outage as is_outage
from core.request_context import services, undo
from core.request_limits import SAFE_METHODS
from core.security import is_api

log = structlog.get_logger()

RETRY_AFTER = 10  # seconds


def answer(error: BaseException) -> Response:
    """Return the 503 response. Forgets the visitor and the business, because both come from the database.

    If a reading page failed on the replica, the page is run again on the primary instead.
    """
    database = services().database
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
    for name in ("door", "visitor", "domain", "formatter"):
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
    """Render without context processors, because those would query the database."""
    locale = i18n.locale()
    return current_app.jinja_env.get_template("errors/outage.html").render(
        settings=current_app.extensions["portal"].settings,
        lang=i18n.html_lang(locale),
        direction=i18n.direction(locale),
        can_repeat=request.method in ("GET", "HEAD"),
        path=request.full_path if request.query_string else request.path,
    )
