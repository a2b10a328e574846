"""Decide who can reach the operator's pages: this machine, and the networks of PORTAL_OPERATOR_NETWORKS.

All other clients get 404, and so does everyone without PORTAL_OPERATOR_SECRET. Operators still have to sign in
(tenants/operator/access.py).
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import request
from werkzeug.exceptions import NotFound

from core.domain_names import LOOPBACK
from core.request_context import services

if TYPE_CHECKING:
    from core.settings import Settings

PREFIX = "/operator"
_FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO")


def is_operator_path(path: str) -> bool:
    return path == PREFIX or path.startswith(PREFIX + "/")


def hide() -> None:
    """Treat a request that may not reach the operator's pages like one to an unknown path."""
    if is_operator_path(request.path) and not is_allowed(services().settings, request.environ):
        request.url_rule, request.view_args, request.routing_exception = None, None, NotFound()


def is_allowed(settings: Settings, environ: dict[str, Any]) -> bool:
    """Whether a request may reach the operator's pages. `REMOTE_ADDR` is the client behind trusted proxies (core/proxies.py)."""
    if not settings.operator_secret:
        return False
    if is_local(settings, environ):
        return True
    client = _address(environ.get("REMOTE_ADDR", ""))
    if (
        client is None
        or environ.get("HTTP_HOST") != settings.host
        or not any(client in operator_network for operator_network in settings.operator_networks)
    ):
        return False
    if not any(name in environ for name in _FORWARDED):
        return True  # no proxy in between
    trusted = settings.trusted_proxies  # with an unknown proxy the client is unknown, and a trusted proxy itself is not an operator
    return trusted.any and "HTTP_X_FORWARDED_FOR" in environ and not any(client in network for network in trusted.networks)


def is_local(settings: Settings, environ: dict[str, Any]) -> bool:
    """Whether this machine itself sent the request to a loopback name without a proxy, for example through an SSH tunnel.

    Includes static files, because in live mode the loopback name is a second host beside the configured one.
    """
    path = environ.get("PATH_INFO", "")
    if not settings.operator_secret or not (is_operator_path(path) or path.startswith("/static/")):
        return False
    client = _address(environ.get("REMOTE_ADDR", ""))
    return (
        client is not None
        and client.is_loopback
        and is_loopback_host(environ.get("HTTP_HOST", ""))
        and not any(name in environ for name in _FORWARDED)
    )


def is_loopback_host(host: str) -> bool:
    try:
        return urlsplit("//" + host).hostname in LOOPBACK
    except ValueError:
        return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_operator() -> bool:
    """Whether the request has the operator secret (header or cookie), or uses a loopback Host of a loopback deployment."""
    settings = services().settings
    shown = request.headers.get("X-Operator-Secret", "") or request.cookies.get("operator", "")
    if settings.operator_secret and hmac.compare_digest(shown.encode(), settings.operator_secret.encode()):
        return True
    return settings.is_loopback and is_loopback_host(request.host)
