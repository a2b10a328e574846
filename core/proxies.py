"""Find a request's client behind proxies: the setting PORTAL_TRUSTED_PROXIES and the header X-Forwarded-For.

A proxy may also name the country of the client's address, in the header that PORTAL_COUNTRY_HEADER names.

Each proxy appends the address of its client to `X-Forwarded-For`. Only the last entries, which trusted proxies wrote, are
used; the client can forge the others. Without the setting the header is ignored.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
log = structlog.get_logger()
MOST = 10  # proxies in a row
COUNTRY = "portal.country"
"""The key in the WSGI environment with the country of the client's address (alpha-2), if a trusted proxy named it."""
UNKNOWN_COUNTRIES = ("XX", "T1")
"""Cloudflare's codes for an unknown country and for Tor."""
WIDEST = {4: 8, 6: 16}  # shortest prefix of a network of proxies


@dataclass(frozen=True)
class TrustedProxies:
    """Either the number of proxies in a row, or their networks. Without both no proxy is trusted."""

    count: int = 0
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> TrustedProxies:
        """`""`, `"0"`, a number such as `"1"`, or addresses and networks such as `"127.0.0.1, 10.0.0.0/8"`. Raises ValueError."""
        text = text.strip()
        if not text:
            return cls()
        if text.lstrip("+-").isdigit():
            if not (text.isascii() and text.isdigit()) or int(text) > MOST:
                raise ValueError(f"{text!r} is not a number of proxies from 0 to {MOST}")
            return cls(count=int(text))
        return cls(networks=tuple(_network(part.strip()) for part in text.split(",")))

    @property
    def any(self) -> bool:
        return bool(self.count or self.networks)

    def client(self, peer: str, forwarded: Iterable[str]) -> str:
        """Return the client's address. `peer`: address of the connection; `forwarded`: the entries of X-Forwarded-For in order.

        If a trusted proxy wrote an entry that is not an address, the proxy's address is returned.
        """
        chain = [*forwarded]
        found = _address(peer)
        for passed in range(MOST):
            if found is None or not self._trusts(found, passed) or not chain:
                break
            before = _address(chain.pop())
            if before is None:
                break
            found = before
        return peer if found is None else str(found)

    def trusts_peer(self, peer: str) -> bool:
        """Return whether the connection comes from a trusted proxy."""
        address = _address(peer)
        return address is not None and self._trusts(address, 0)

    def _trusts(self, address: Address, passed: int) -> bool:
        if self.networks:
            return any(address in network for network in self.networks if network.version == address.version)
        return passed < self.count


class ForwardedClient:
    """WSGI middleware: set REMOTE_ADDR to the client's address, for rate limits and logs, and COUNTRY to its country."""

    def __init__(self, app: Callable[..., Any], trusted: TrustedProxies, country_header: str = "") -> None:
        self.app, self.trusted = app, trusted
        self._country = f"HTTP_{country_header.upper().replace('-', '_')}" if country_header else ""
        self._warned = False

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        country = environ.get(self._country, "") if self._country and self.trusted.trusts_peer(environ.get("REMOTE_ADDR", "")) else ""
        if re.fullmatch("[A-Z]{2}", country) and country not in UNKNOWN_COUNTRIES:
            environ[COUNTRY] = country
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "")
        if self.trusted.any and forwarded:
            environ["REMOTE_ADDR"] = self.trusted.client(environ.get("REMOTE_ADDR", ""), forwarded[-2000:].split(","))
        elif forwarded and not self._warned and _is_private(environ.get("REMOTE_ADDR", "")):
            self._warned = True
            log.warning("request came through a proxy, but PORTAL_TRUSTED_PROXIES is not set: all clients share one rate limit")
        return self.app(environ, start_response)


def operator_networks(text: str) -> tuple[Network, ...]:
    """Parse the comma-separated addresses and networks of operators. Raises ValueError."""
    try:
        found = tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not a list of addresses and networks (such as 10.8.0.0/24, without host bits)") from None
    for network in found:
        if network.prefixlen < WIDEST[network.version]:
            raise ValueError(f"{str(network)!r} is too large a network to allow")
    return found


def _network(text: str) -> Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither an address nor a network (such as 10.0.0.0/8, without host bits)") from None
    if network.prefixlen < WIDEST[network.version]:
        raise ValueError(f"{text!r} is too large a network to trust: every host in it could forge client addresses")
    if network.is_multicast or (network.network_address.is_unspecified and network.prefixlen == network.max_prefixlen):
        raise ValueError(f"{text!r} is not a possible address of a proxy")
    return network


def _address(text: str) -> Address | None:
    """Parse an entry of X-Forwarded-For: `203.0.113.7`, `203.0.113.7:4711`, `2001:db8::7`, `[2001:db8::7]:4711`."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_private(text: str) -> bool:
    address = _address(text)
    return address is not None and address.is_private
