"""The only outgoing HTTP client. URLs come from merchants and are not trusted (design §7).

    response = services.outgoing.request("POST", url, headers={…}, content=b"…")   → HttpResponse
    services.outgoing.client(max_bytes=…)                                          → httpx.Client, for SDKs (`http_client=`)
    services.outgoing.transport()                                                  → httpx transport, for Authlib's clients

The host name is resolved once, and every address must be public (core/address_policy.py). The connection goes to a checked
address, with Host, SNI and certificate of the name. One limit covers the whole time, including DNS and TLS; another covers the
size of the response. No redirects, no cookies, no proxies of the environment, https only in live mode. No compression, because
a small response could expand to a large one.

`RequestRefused`: nothing was sent. `HostUnreachable`: the request may have been sent (`.sent`).
"""

from __future__ import annotations

import ipaddress
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpcore
import httpx

from core import address_policy, transaction_retry
from core.domain_names import BadDomain, ascii_url
from core.pinned_sockets import Deadline, PinnedTransport
from core.settings import Settings

PORTS = frozenset({80, 443, 8000, 8080, 8443, 9443})
"""Allowed ports, those of web servers. On loopback every port is allowed."""
AGENT = "customer-portal/1"
BROKEN = httpx.HTTPError
"""Errors that an SDK with `client()` raises when a response ends early."""
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9a-fA-F:.]{2,45}")


class RequestRefused(Exception):
    """The request was not sent. `code`: url, scheme, userinfo, port, not_public."""

    def __init__(self, code: str, sentence: str) -> None:
        self.code = code
        super().__init__(sentence)


class HostUnreachable(Exception):
    """No complete response: unknown name, no connection, TLS error, timeout, connection lost. `sent`: it may have been sent."""

    def __init__(self, sentence: str, sent: bool) -> None:
        self.sent = sent
        super().__init__(sentence)


@dataclass(frozen=True)
class HttpResponse:
    """`headers` have lower-case names; `elapsed` is seconds; `truncated`: the body was longer than `max_bytes`."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed: float
    truncated: bool = False


class Outgoing:
    """`resolve` and `tls` let tests replace the resolver and the certificate authorities."""

    def __init__(
        self, settings: Settings, *, resolve: address_policy.Resolve = address_policy.resolve, tls: ssl.SSLContext | None = None
    ) -> None:
        self.settings = settings
        self._resolve = resolve
        self._given = tls

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given or httpx.create_ssl_context()  # uses SSL_CERT_FILE, else certifi

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        timeout: float = 10.0,
        max_bytes: int = 64 * 1024,
        allow_loopback: bool | None = None,
    ) -> HttpResponse:
        """Send a request. `timeout`: seconds in total. Reading stops at `max_bytes`. Raises RequestRefused, HostUnreachable."""
        began = time.monotonic()
        try:
            sent = {"User-Agent": AGENT, **(headers or {})}
            request = httpx.Request(method, self.check(url, allow_loopback), headers=sent, content=content)
        except (httpx.InvalidURL, UnicodeError) as odd:
            raise RequestRefused("url", f"the request cannot be sent: {odd}") from odd
        transport = self.transport(timeout=timeout, max_bytes=max_bytes, allow_loopback=allow_loopback)
        transport.whole = False
        try:
            answer = transport.handle_request(request)
            try:
                body = b"".join(answer.stream)  # type: ignore[arg-type]
            finally:
                answer.close()
        except httpx.TransportError as problem:
            raise HostUnreachable(str(problem) or type(problem).__name__, getattr(problem, "sent", True)) from problem
        return HttpResponse(
            answer.status_code,
            {name.lower(): value for name, value in answer.headers.items()},
            body[:max_bytes],
            time.monotonic() - began,
            len(body) > max_bytes,
        )

    def client(self, *, timeout: float = 30.0, max_bytes: int = 10 * 1024 * 1024, **more: Any) -> httpx.Client:
        """Return an httpx client with the same rules. A response longer than `max_bytes` raises httpx.ReadError."""
        transport = self.transport(timeout=timeout, max_bytes=max_bytes)
        return httpx.Client(transport=transport, trust_env=False, follow_redirects=False, timeout=timeout, **more)

    def transport(self, *, timeout: float = 30.0, max_bytes: int = 10 * 1024 * 1024, allow_loopback: bool | None = None) -> Transport:
        return Transport(self, timeout, max_bytes, allow_loopback)

    def check(self, url: str, allow_loopback: bool | None = None) -> httpx.URL:
        """Check and return a URL without network access. Raises RequestRefused. Forms call this on saving."""
        try:
            found = httpx.URL(ascii_url(url))
            host = found.raw_host.decode("ascii")
        except (httpx.InvalidURL, BadDomain, UnicodeError, TypeError) as odd:
            raise RequestRefused("url", f"this is not a URL: {odd}") from odd
        if found.scheme not in (("https",) if self.settings.mode == "live" else ("https", "http")):
            raise RequestRefused("scheme", "the URL must begin with https://")
        if not _HOST.fullmatch(host) or found.fragment:
            raise RequestRefused("url", "the URL must name a host, and have no #fragment")
        if found.userinfo:
            raise RequestRefused("userinfo", "the URL must not carry a name or password")
        loopback = self.loopback(allow_loopback)
        try:
            address_policy.choose([str(ipaddress.ip_address(host.strip("[]")))], loopback)
        except ValueError:
            pass  # a name is resolved when it is used
        except address_policy.NotPublic as private:
            raise RequestRefused("not_public", f"{private} is not an address of the public internet") from private
        if found.port is not None and (found.port not in PORTS if not loopback else not 0 < found.port < 65536):
            raise RequestRefused("port", f"port {found.port} is not one of {', '.join(map(str, sorted(PORTS)))}")
        return found

    def loopback(self, allowed: bool | None = None) -> bool:
        """Whether loopback addresses are allowed: only in test mode, if the setting (or the caller) allows it."""
        return self.settings.is_test and (self.settings.outgoing_loopback if allowed is None else allowed)

    def pin(self, url: httpx.URL, deadline: Deadline, allow_loopback: bool | None) -> list[str]:
        """Resolve the URL's host once and check its addresses. Raises RequestRefused, or OSError for a name without addresses."""
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            name = url.raw_host.decode("ascii").strip("[]")
            found = address_policy.choose(self._resolve(name, port, deadline.left()), self.loopback(allow_loopback))
        except address_policy.NotPublic as private:
            raise RequestRefused(
                "not_public", f"{url.host} resolves to {private}, which is not an address of the public internet"
            ) from private
        if port not in PORTS and not all(map(address_policy.is_loopback, found)):
            raise RequestRefused("port", f"port {port} is not one of {', '.join(map(str, sorted(PORTS)))}")
        return found


class Transport(httpx.BaseTransport):
    """Opens a new connection for each request, because the check of addresses is valid for one request only."""

    whole = True

    def __init__(self, outgoing: Outgoing, timeout: float, max_bytes: int, allow_loopback: bool | None) -> None:
        self._outgoing, self._timeout, self._max_bytes, self._loopback = outgoing, timeout, max_bytes, allow_loopback

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = self._outgoing.check(str(request.url), self._loopback)
        transaction_retry.note_effect()
        deadline = Deadline(self._timeout)
        request.headers["Accept-Encoding"] = "identity"
        request.headers.pop("Cookie", None)
        try:
            backend = PinnedTransport(self._outgoing.pin(url, deadline, self._loopback), deadline)
        except OSError as unknown:
            raise _marked(httpx.ConnectError(f"{url.host}: {unknown}"), False) from unknown
        transport = httpx.HTTPTransport(verify=self._outgoing._tls, trust_env=False)
        transport._pool = httpcore.ConnectionPool(ssl_context=self._outgoing._tls, network_backend=backend)
        try:
            answer = transport.handle_request(request)
        except httpx.TransportError as problem:
            transport.close()
            raise _marked(problem, backend.sent) from problem
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            transport.close()
            raise _marked(httpx.ReadError("the response is compressed, which was not requested"), True)
        headers = [pair for pair in answer.headers.raw if pair[0].lower() != b"set-cookie"]
        return httpx.Response(
            answer.status_code,
            headers=headers,
            stream=_Limited(answer, transport, self._max_bytes, self.whole),
            extensions={"http_version": answer.extensions.get("http_version", b"HTTP/1.1")},
        )


class _Limited(httpx.SyncByteStream):
    """The bytes of a response up to a limit. If `whole`, more bytes are an error; else one extra byte shows that there are more."""

    def __init__(self, answer: httpx.Response, transport: httpx.HTTPTransport, limit: int, whole: bool) -> None:
        self._answer, self._transport, self._limit, self._whole = answer, transport, limit, whole

    def __iter__(self) -> Iterator[bytes]:
        left = self._limit
        for part in self._answer.stream:  # type: ignore[union-attr]
            if len(part) > left:
                if self._whole:
                    raise httpx.ReadError(f"the response is longer than {self._limit} bytes")
                yield part[: left + 1]
                return
            left -= len(part)
            yield part

    def close(self) -> None:
        self._transport.close()


def _marked(problem: httpx.TransportError, sent: bool) -> httpx.TransportError:
    problem.sent = sent  # type: ignore[attr-defined]
    return problem
