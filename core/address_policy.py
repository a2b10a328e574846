"""Decide which network addresses outgoing requests may use: public ones, and loopback where a test deployment allows it.

`resolve(name, port, seconds)` asks the system resolver once. `choose(…)` refuses all answers when one of them is not public:
a name with public and private addresses is an attack or a mistake.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from collections.abc import Callable, Iterable

Resolve = Callable[[str, int, float], list[str]]
"""(name, port, seconds) → addresses as text. Raises OSError when there are none, TimeoutError after `seconds`."""

# Networks that ipaddress.is_global accepts, or accepted in some releases of Python 3.11.
_SPECIAL_V4 = tuple(map(ipaddress.IPv4Network, ("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "224.0.0.0/3")))
# Everything outside 2000::/3 is refused: loopback, link-local, unique local, multicast, ::ffff:a.b.c.d (mapped), 64:ff9b::/96 (NAT64).
_UNICAST = ipaddress.IPv6Network("2000::/3")
# Refused within it: protocol assignments with Teredo, documentation, 6to4 (which carries any IPv4 address), documentation.
_SPECIAL_V6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))


class NotPublic(Exception):
    """The address is not on the public internet."""


def is_public(address: str) -> bool:
    """True for an address of the open internet, as text ("203.0.114.7"; a zone such as "%eth0" is never public)."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not any(ip in network for network in _SPECIAL_V4)
    return ip in _UNICAST and ip.scope_id is None and not any(ip in network for network in _SPECIAL_V6)


def is_loopback(address: str) -> bool:
    """True for 127.0.0.0/8 and ::1, but not for addresses that are mapped to them (IPv4-mapped, NAT64)."""
    try:
        ip = ipaddress.ip_address(address)
        return ip.is_loopback and getattr(ip, "ipv4_mapped", None) is None
    except ValueError:
        return False


def choose(addresses: Iterable[str], loopback: bool) -> list[str]:
    """The addresses to connect to, in the order the resolver gave. Raises NotPublic when any of them may not be."""
    found = list(dict.fromkeys(addresses))
    bad = [item for item in found if not (is_public(item) or (loopback and is_loopback(item)))]
    if bad or not found:
        raise NotPublic(f"{', '.join(bad) or 'no address'}")
    return found


def resolve(name: str, port: int, seconds: float) -> list[str]:
    """Ask the system resolver, for at most `seconds`. Runs in a separate thread, because getaddrinfo cannot be interrupted."""
    answer: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put([str(item[4][0]) for item in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)])
        except Exception as problem:  # raised below, in the waiting thread
            answer.put(problem)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        found = answer.get(timeout=max(seconds, 0.001))
    except queue.Empty:
        raise TimeoutError(f"resolving {name} took too long") from None
    if isinstance(found, UnicodeError):
        raise OSError(f"{name} is no host name")
    if isinstance(found, Exception):
        raise found
    return found
