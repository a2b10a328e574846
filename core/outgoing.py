"""The only outgoing HTTP client. Addresses come from merchants, so it believes none of them (design §7).

    answer = house.outgoing.request("POST", url, headers={…}, content=b"…")     → Answer
    house.outgoing.client(max_bytes=…)                                          → httpx.Client, for SDKs (`http_client=`)
    house.outgoing.transport()                                                  → httpx transport, for Authlib's clients

The name is resolved once, every address it has must be public (core/reach.py), and the connection goes to the address
that was checked, while Host, SNI and the certificate stay those of the name. One limit for the whole time, DNS and TLS
included; one for the bytes of the answer. No redirects, no cookies, no proxies of the environment, no compression (a
small answer could unfold into a big one), https alone in live mode.

`Refused`: it was not sent and never will be as things are. `Unreachable`: it may have been sent (`.sent`).
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

from core import conflicts, reach
from core.domain_names import BadDomain, ascii_url
from core.settings import Settings
from core.wire import Deadline, Pinned

PORTS = frozenset({80, 443, 8000, 8080, 8443, 9443})
"""Where web servers listen. Others are mail, databases and consoles of somebody's network. Loopback: any."""
AGENT = "customer-portal/1"
BROKEN = httpx.HTTPError
"""What an SDK that was given `client()` raises where an answer breaks off while it is read."""
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9a-fA-F:.]{2,45}")


class Refused(Exception):
    """Never sent. `code`: url, scheme, userinfo, port, not_public."""

    def __init__(self, code: str, sentence: str) -> None:
        self.code = code
        super().__init__(sentence)


class Unreachable(Exception):
    """No (whole) answer: name unknown, no connection, TLS failed, too slow, broken off. `sent`: a byte of it may have left."""

    def __init__(self, sentence: str, sent: bool) -> None:
        self.sent = sent
        super().__init__(sentence)


@dataclass(frozen=True)
class Answer:
    """`headers` have lower-case names; `elapsed` is seconds; `truncated`: the body went on after `max_bytes`."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed: float
    truncated: bool = False


class Outgoing:
    """`resolve` and `tls` are for tests: another resolver, another list of certificate authorities."""

    def __init__(self, settings: Settings, *, resolve: reach.Resolve = reach.resolve, tls: ssl.SSLContext | None = None) -> None:
        self.settings = settings
        self._resolve = resolve
        self._given = tls

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given or httpx.create_ssl_context()  # reads SSL_CERT_FILE; certifi's list without it

    def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None,
                timeout: float = 10.0, max_bytes: int = 64 * 1024, allow_loopback: bool | None = None) -> Answer:
        """One request; `timeout` is seconds for all of it. Stops reading at `max_bytes`. Raises Refused, Unreachable."""
        began = time.monotonic()
        try:
            sent = {"User-Agent": AGENT, **(headers or {})}
            asked = httpx.Request(method, self.check(url, allow_loopback), headers=sent, content=content)
        except (httpx.InvalidURL, UnicodeError) as odd:
            raise Refused("url", f"this cannot be sent: {odd}") from odd
        transport = self.transport(timeout=timeout, max_bytes=max_bytes, allow_loopback=allow_loopback)
        transport.whole = False
        try:
            answer = transport.handle_request(asked)
            try:
                body = b"".join(answer.stream)  # type: ignore[arg-type]
            finally:
                answer.close()
        except httpx.TransportError as problem:
            raise Unreachable(str(problem) or type(problem).__name__, getattr(problem, "sent", True)) from problem
        return Answer(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, body[:max_bytes],
                      time.monotonic() - began, len(body) > max_bytes)

    def client(self, *, timeout: float = 30.0, max_bytes: int = 10 * 1024 * 1024, **more: Any) -> httpx.Client:
        """An httpx client with the same rules; an answer longer than `max_bytes` is an error (httpx.ReadError)."""
        transport = self.transport(timeout=timeout, max_bytes=max_bytes)
        return httpx.Client(transport=transport, trust_env=False, follow_redirects=False, timeout=timeout, **more)

    def transport(self, *, timeout: float = 30.0, max_bytes: int = 10 * 1024 * 1024, allow_loopback: bool | None = None) -> Transport:
        return Transport(self, timeout, max_bytes, allow_loopback)

    def check(self, url: str, allow_loopback: bool | None = None) -> httpx.URL:
        """The URL, if it may be asked as far as can be told without the network. Raises Refused. Forms call this on saving."""
        try:
            found = httpx.URL(ascii_url(url))
            host = found.raw_host.decode("ascii")
        except (httpx.InvalidURL, BadDomain, UnicodeError, TypeError) as odd:
            raise Refused("url", f"this is no URL: {odd}") from odd
        if found.scheme not in (("https",) if self.settings.mode == "live" else ("https", "http")):
            raise Refused("scheme", "the URL must begin with https://")
        if not _HOST.fullmatch(host) or found.fragment:
            raise Refused("url", "the URL must name a host, and have no #fragment")
        if found.userinfo:
            raise Refused("userinfo", "the URL must not carry a name or password")
        loopback = self.loopback(allow_loopback)
        try:
            reach.choose([str(ipaddress.ip_address(host.strip("[]")))], loopback)
        except ValueError:
            pass  # a name: looked up when it is used
        except reach.NotPublic as private:
            raise Refused("not_public", f"{private} is not an address of the public internet") from private
        if found.port is not None and (found.port not in PORTS if not loopback else not 0 < found.port < 65536):
            raise Refused("port", f"port {found.port} is none of {', '.join(map(str, sorted(PORTS)))}")
        return found

    def loopback(self, asked: bool | None = None) -> bool:
        """Whether this machine may be asked itself: in test mode alone, where the setting (or the caller) says so."""
        return self.settings.is_test and (self.settings.outgoing_loopback if asked is None else asked)

    def pin(self, url: httpx.URL, deadline: Deadline, allow_loopback: bool | None) -> list[str]:
        """The checked addresses of the URL's host, resolved now and once. Raises Refused, or OSError for a name without any."""
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            name = url.raw_host.decode("ascii").strip("[]")
            found = reach.choose(self._resolve(name, port, deadline.left()), self.loopback(allow_loopback))
        except reach.NotPublic as private:
            raise Refused("not_public", f"{url.host} leads to {private}, which is not an address of the public internet") from private
        if port not in PORTS and not all(map(reach.is_loopback, found)):
            raise Refused("port", f"port {port} is none of {', '.join(map(str, sorted(PORTS)))}")
        return found


class Transport(httpx.BaseTransport):
    """A connection of its own for each request: what was checked for one request says nothing about the next."""

    whole = True

    def __init__(self, outgoing: Outgoing, timeout: float, max_bytes: int, allow_loopback: bool | None) -> None:
        self._outgoing, self._timeout, self._max_bytes, self._loopback = outgoing, timeout, max_bytes, allow_loopback

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = self._outgoing.check(str(request.url), self._loopback)
        conflicts.note_effect()
        deadline = Deadline(self._timeout)
        request.headers["Accept-Encoding"] = "identity"
        request.headers.pop("Cookie", None)
        try:
            backend = Pinned(self._outgoing.pin(url, deadline, self._loopback), deadline)
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
            raise _marked(httpx.ReadError("the answer is compressed, which was not asked for"), True)
        headers = [pair for pair in answer.headers.raw if pair[0].lower() != b"set-cookie"]
        return httpx.Response(answer.status_code, headers=headers, stream=_Limited(answer, transport, self._max_bytes, self.whole),
                              extensions={"http_version": answer.extensions.get("http_version", b"HTTP/1.1")})


class _Limited(httpx.SyncByteStream):
    """The bytes of an answer up to a limit. `whole`: more is an error; else one byte more than the limit tells that there is."""

    def __init__(self, answer: httpx.Response, transport: httpx.HTTPTransport, limit: int, whole: bool) -> None:
        self._answer, self._transport, self._limit, self._whole = answer, transport, limit, whole

    def __iter__(self) -> Iterator[bytes]:
        left = self._limit
        for part in self._answer.stream:  # type: ignore[union-attr]
            if len(part) > left:
                if self._whole:
                    raise httpx.ReadError(f"the answer is longer than {self._limit} bytes")
                yield part[: left + 1]
                return
            left -= len(part)
            yield part

    def close(self) -> None:
        self._transport.close()


def _marked(problem: httpx.TransportError, sent: bool) -> httpx.TransportError:
    problem.sent = sent  # type: ignore[attr-defined]
    return problem
