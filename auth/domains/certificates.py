"""Tell the proxy which custom domains may get a TLS certificate, before it orders one.

    GET /tls-allowed?domain=billing.acorn.example  →  200 for a host that this portal serves, 404 for any other

Caddy uses it (`on_demand_tls`, https://caddyserver.com/docs/caddyfile/options#on-demand-tls). For scripts that order certificates,
`flask domains` prints the same hosts. Without this check, anyone could make the proxy order certificates for any name that points
at it, until the authority's rate limit blocks those of the businesses (RFC 8555 §10.3 leaves that to the server).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import click
from flask import Response, request
from flask.cli import with_appcontext

from core.domain_names import BadDomain, ascii_domain

if TYPE_CHECKING:
    from flask import Flask

    from auth.domains.verification import Binding

PATH = "/tls-allowed"
_FORWARDING_HEADERS = ("X-Forwarded-For", "Forwarded", "Via")
_LONGEST = 253  # characters of a domain name (RFC 1035 §2.3.4, without the trailing dot)


def register(app: Flask, binding: Binding) -> None:
    def tls_allowed() -> Response:
        """Return an empty response. It reveals nothing that a request to the host itself would not."""
        is_allowed = _is_direct_local_request() and allowed(binding, request.args.get("domain", ""))
        return Response(status=200 if is_allowed else 404, headers={"Cache-Control": "no-store"})

    @app.cli.command("domains")
    @with_appcontext
    def domains() -> None:
        """Print the served custom domains, one per line. Each needs a certificate."""
        for host in binding.hosts():
            click.echo(host)

    app.add_url_rule(PATH, "tls_allowed", tls_allowed)


def allowed(binding: Binding, name: str) -> bool:
    """Return True for the portal's own host and for verified domains."""
    if not name or len(name) > _LONGEST:
        return False
    try:
        host = ascii_domain(name)
    except BadDomain:
        return False
    return host == binding.settings.hostname or binding.serving(host) is not None


def _is_direct_local_request() -> bool:
    """Return whether a program on this machine or its private network sent the request itself, not through a proxy."""
    if any(name in request.headers for name in _FORWARDING_HEADERS):
        return False
    try:
        peer = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return False
    peer = getattr(peer, "ipv4_mapped", None) or peer
    return peer.is_loopback or peer.is_private
