"""Error responses: pages for browsers, `{code, message}` for API clients, both with the HTTP status of the error."""

from __future__ import annotations

from typing import Any

import structlog
from flask import Flask, current_app, g, jsonify, render_template, request
from flask.globals import request_ctx
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_wtf.csrf import CSRFError
from markupsafe import escape
from werkzeug.exceptions import HTTPException

from core import outage
from core.errors import Invalid, PortalError
from core.security import is_api

log = structlog.get_logger()

# status → (heading, sentence, code for API clients); the sentence says what happened and what to do
WORDS = {
    400: (
        _l("This request cannot be read"),
        _l("Something in it is missing or invalid. Nothing was changed."),
        "INVALID_REQUEST_PARAMETERS",
    ),
    401: (_l("Please sign in first"), _l("You need to be signed in to see this page."), "UNAUTHORIZED"),
    403: (_l("You do not have access"), _l("Your account does not have permission to do this."), "FORBIDDEN"),
    404: (_l("Page not found"), _l("The link may be old or incomplete, or it belongs to another account."), "NOT_FOUND"),
    405: (_l("This action is not supported"), _l("Nothing was changed. Go back and use the buttons on the page."), "METHOD_NOT_ALLOWED"),
    409: (_l("This cannot be done right now"), _l("Something changed in the meantime, so nothing was done."), "CONFLICT"),
    410: (_l("This is no longer available"), _l("It was removed."), "GONE"),
    413: (_l("This is too large"), _l("You sent more than this page accepts. Nothing was saved."), "REQUEST_TOO_LARGE"),
    414: (_l("This address is too long"), _l("The link may be broken. Nothing was changed."), "URI_TOO_LONG"),
    415: (_l("This format is not supported"), _l("Nothing was changed."), "UNSUPPORTED_MEDIA_TYPE"),
    421: (_l("Wrong address"), _l("Open the portal at its usual address."), "MISDIRECTED_REQUEST"),
    422: (_l("Some of this is invalid"), _l("Go back and check what you entered. Nothing was changed."), "INVALID_REQUEST_BODY"),
    429: (_l("Too many attempts"), _l("Please wait a moment and try again. Nothing was lost."), "TOO_MANY_REQUESTS"),
    500: (
        _l("Something went wrong on our side"),
        _l("We have recorded the error. If you were paying, check your billing history before you try again."),
        "INTERNAL_SERVER_ERROR",
    ),
    503: (_l("Temporarily unavailable"), _l("Nothing was changed. Please try again shortly."), "UNAVAILABLE"),
}


def init(app: Flask) -> None:
    app.log_exception = _log_exception  # type: ignore[method-assign]  # Flask's own log line is neither JSON nor redacted
    app.register_error_handler(PortalError, _of_portal)
    app.register_error_handler(CSRFError, _of_form)
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(Exception, of_anything)


def _log_exception(exc_info: Any) -> None:
    log.error("unhandled error", method=request.method, path=request.path, exc_info=exc_info)


def _of_portal(error: PortalError) -> ResponseReturnValue:
    if wants_json():
        body: dict[str, object] = {"code": error.code, "message": error.sentence}
        if error.fields:
            body["fields"] = error.fields
        return jsonify(body), error.status
    fields = {name: _(words) for name, words in error.fields.items() if words} if isinstance(error, Invalid) else {}
    return page(error.status, _(error.sentence) if error.has_own_sentence else None, fields=fields)


def _of_form(error: CSRFError) -> ResponseReturnValue:
    """Answer a form that was open too long or came from another site. Most browsers keep what was typed when going back."""
    log.info("form refused", reason=error.description)
    return render_template("errors/form.html", status=400, no_cookies=error.description != "origin" and not _kept_a_cookie()), 400


def _kept_a_cookie() -> bool:
    """Whether the browser sent a cookie of this portal. Every page with a form sets one; without it, cookies are blocked."""
    settings = current_app.extensions["portal"].settings
    return any(name.removeprefix("__Host-").endswith(f"-{settings.mode}") for name in request.cookies)


def _of_http(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    if status < 400:
        return error
    cause = getattr(error, "original_exception", None)  # an error after the page was made, such as in its commit
    if cause is not None and outage.is_outage(cause):
        return outage.answer(cause)
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After", "WWW-Authenticate")}
    if wants_json():
        known = WORDS.get(status)
        return jsonify(code=known[2] if known else "ERROR", message=str(known[0]) if known else error.name), status, headers
    text, code = page(status)
    return text, code, headers


def of_anything(error: Exception) -> ResponseReturnValue:
    if outage.is_outage(error):
        return outage.answer(error)
    log.error("unhandled error", error=type(error).__name__, path=request.path, exc_info=error)
    if current_app.config.get("PROPAGATE_EXCEPTIONS") or current_app.testing:
        raise error
    if wants_json():
        return jsonify(code="INTERNAL_SERVER_ERROR", message="Something went wrong on our side."), 500
    g.visitor = None  # the visitor may have caused the error; the error page must not fail again
    return page(500)


def page(status: int, sentence: str | None = None, fields: dict[str, str] | None = None) -> tuple[str, int]:
    """Render the error page of a status, with the error's own sentence if it has one."""
    heading, usual, _code = WORDS.get(status, WORDS[500 if status >= 500 else 400])
    if request_ctx.url_adapter is None:  # the Host header is invalid, so links cannot be built
        return escape(f"{heading}. {sentence or usual}"), status
    return render_template("errors/error.html", status=status, heading=heading, sentence=sentence or usual, fields=fields or {}), status


def wants_json() -> bool:
    """Whether to answer with JSON: for /api, and for clients that prefer JSON to HTML."""
    accept = request.accept_mimetypes
    return is_api(request.path) or (accept["application/json"] > accept["text/html"])
