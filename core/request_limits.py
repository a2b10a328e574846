"""Limit the size of requests: path, query, body and number of fields. Larger requests are refused before they are read.

The server calls `body_limit` before it reads a body (core/edge.py). The application checks again, for other servers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, RequestURITooLarge

from core.errors import BadRequest, Misdirected

View = TypeVar("View", bound=Callable[..., Any])
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
METHODS = SAFE_METHODS | {"POST", "PUT", "PATCH", "DELETE"}

MAX_PATH = 2048  # bytes, escapes resolved
MAX_QUERY = 8192  # bytes; RFC 9110 section 4.1 asks for URIs of 8000 octets at least
MAX_PARAMETERS = 200  # in a query
MAX_FIELDS = 1000  # in a form, and parts of a multipart body
MAX_HOST = 261  # a name of 255 octets, a colon and a port
MAX_BODY = 256 * 1024  # bytes, unless a view sets another limit
TOO_LARGE = "portal.too_large"  # set in the WSGI environment by a server that stopped reading


def takes_upload(limit: int) -> Callable[[View], View]:
    """Decorate a view that accepts a body of up to `limit` bytes instead of `MAX_BODY`."""

    def mark(view: View) -> View:
        view._max_body = limit  # type: ignore[attr-defined]
        return view

    return mark


def body_limit(app: Flask, method: str, path: str) -> int:
    """Return the maximum body size in bytes for a path."""
    if len(path) > MAX_PATH:
        return MAX_BODY
    try:
        endpoint, _ = app.url_map.bind("localhost").match(path, method=method)
    except HTTPException:  # not found, wrong method, or a redirect
        return MAX_BODY
    return _limit_of(app, endpoint)


def init(app: Flask) -> None:
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY, MAX_FORM_MEMORY_SIZE=MAX_BODY, MAX_FORM_PARTS=MAX_FIELDS)
    app.before_request(lambda: _check(app))


def _check(app: Flask) -> None:
    """Raises 413, 414, 421 or BadRequest."""
    if len(request.environ.get("PATH_INFO", "")) > MAX_PATH or len(request.query_string) > MAX_QUERY:
        raise RequestURITooLarge()
    if len(request.environ.get("HTTP_HOST", "")) > MAX_HOST:
        raise Misdirected()
    if request.query_string.count(b"&") >= MAX_PARAMETERS:
        raise BadRequest()
    limit = _limit_of(app, request.endpoint)
    request.max_content_length = limit
    if request.environ.get(TOO_LARGE) or (request.content_length or 0) > limit:
        raise RequestEntityTooLarge()
    if request.mimetype == "application/x-www-form-urlencoded" and request.get_data().count(b"&") >= MAX_FIELDS:
        raise RequestEntityTooLarge()
    _refuse_nul()


def _refuse_nul() -> None:
    """Refuse NUL characters, which no database column and no page can hold."""
    sent = [request.path, *request.args.values()]
    if request.method not in SAFE_METHODS and not request.path.startswith("/api/"):
        sent += request.form.values()
    if any("\0" in value for value in sent):
        raise BadRequest()


def _limit_of(app: Flask, endpoint: str | None) -> int:
    return int(getattr(app.view_functions.get(endpoint or ""), "_max_body", MAX_BODY))
