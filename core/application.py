"""Prepare a Flask application for requests: services, accepted hosts, the database session of a request, and everything all pages share."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, g, request

from core import (
    error_pages,
    health,
    i18n,
    log,
    mailbox_pages,
    moved_paths,
    operator_access,
    proxies,
    read_your_writes,
    redirects,
    request_limits,
    request_retry,
    security,
    template_context,
)
from core.errors import Misdirected
from core.request_context import services, undo
from core.request_limits import SAFE_METHODS
from core.security import is_api
from core.services import Services
from core.settings import Settings


def register(app: Flask, services: Services) -> None:
    """Register the services, and everything that all pages need: host checks, database session, languages, headers, errors."""
    settings = services.settings
    app.extensions["portal"] = services
    app.wsgi_app = proxies.ForwardedClient(app.wsgi_app, settings.trusted_proxies, settings.country_header)  # type: ignore[method-assign]
    request_limits.init(app)
    app.before_request(_check_host)
    app.before_request(operator_access.hide)
    app.after_request(_end_session)
    app.teardown_request(_roll_back)
    log.init(app, settings)
    i18n.init(app, settings)
    security.init(app, settings)
    moved_paths.init(app)
    redirects.init(app)
    error_pages.init(app)
    request_retry.init(app)
    template_context.init(app)
    health.init(app)
    if settings.is_test:  # safety 2.9: in live mode these pages do not exist
        mailbox_pages.init(app)


def _check_host() -> None:
    settings = services().settings
    # probes, scrapers and the proxy connect by address; these paths have no links and no personal data
    if request.path in ("/healthz", "/readyz", "/metrics", "/tls-allowed") or operator_access.is_local(settings, request.environ):
        return
    if request.host == settings.host or (settings.is_test and operator_access.is_loopback_host(request.host)):
        return
    g.domain = _domain(settings)
    if g.domain is None:
        raise Misdirected()


def _domain(settings: Settings) -> Any:
    """Return the business's own domain that this request uses, if its port is the portal's."""
    found = urlsplit("//" + request.host)
    if services().domain_of is None or not found.hostname or found.port != urlsplit(settings.base_url).port:
        return None
    return services().domain_of(found.hostname)


def _end_session(response: Response) -> Response:
    """Commit the request's session if the status is below 400, else roll it back. Rows cannot be used afterwards."""
    opened = g.pop("session", None)
    if opened is not None:
        try:
            if response.status_code < 400 and request.method not in SAFE_METHODS:
                opened.commit()
        finally:
            opened.close()  # rolls back what was not committed
    if request.method not in SAFE_METHODS and not is_api(request.path) and getattr(services().database, "replica", None) is not None:
        read_your_writes.note_change()
    if request.method not in SAFE_METHODS and services().worker is not None:
        services().worker.wake()  # an embedded worker handles new work at once
    return response


def _roll_back(_error: BaseException | None) -> None:
    undo()
