"""Make redirects relative to the host (RFC 9110 section 10.2.2), and remove trailing slashes.

Behind a proxy the public scheme is unknown, so an absolute URL made from the request would use plain http.
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from flask import Flask, Response, redirect, request
from flask.globals import request_ctx
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, NotFound

from core.operator_access import is_operator_path
from core.security import is_api


def init(app: Flask) -> None:
    app.before_request(without_slash)
    app.after_request(make_relative)


def without_slash() -> ResponseReturnValue | None:
    """Redirect `/subscriptions/` to `/subscriptions`, if that page exists. Links in emails sometimes get such an ending."""
    path, adapter = request.path, request_ctx.url_adapter
    if request.method not in ("GET", "HEAD") or not path.endswith("/") or is_api(path) or is_operator_path(path) or adapter is None:
        return None
    if not isinstance(request.routing_exception, NotFound):
        return None
    wanted = "/" + path.strip("/")
    try:
        adapter.match(wanted, method="GET")
    except HTTPException:  # not found, or itself a redirect
        return None
    query = request.query_string.decode("latin-1")
    return redirect(quote(wanted) + (f"?{query}" if query else ""), 308)


def make_relative(response: Response) -> Response:
    """Reduce a `Location` on the request's host to its path. Other hosts are unchanged."""
    place = response.headers.get("Location", "")
    parts = urlsplit(place)
    if not parts.scheme or parts.netloc != request.host or parts.scheme not in ("http", "https"):
        return response
    path = "/" + parts.path.lstrip("/")  # two slashes would name another host
    response.headers["Location"] = path + (f"?{parts.query}" if parts.query else "") + (f"#{parts.fragment}" if parts.fragment else "")
    return response
