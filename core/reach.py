"""Which addresses of the network we may speak to: the public internet, and loopback where a test deployment allows it.

`resolve(name, port, seconds)` asks the system once; `choose(…)` refuses the lot when one of the answers is not public,
since a name that points both outside and inside is a trap or a mistake, and we need not find out which.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from collections.abc import Callable, Iterable

Resolve = Callable[[str, int, float], list[str]]
"""(name, port, seconds) → addresses as text. Raises OSError when there are none, TimeoutError after `seconds`."""

# What is_global lets through, or has let through in some releases of Python 3.11.
_SPECIAL_V4 = tuple(map(ipaddress.IPv4Network, ("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "224.0.0.0/3")))
# Everything outside 2000::/3 is refused: loopback, link-local, unique local, multicast, ::ffff:a.b.c.d (mapped), 64:ff9b::/96 (NAT64).
_UNICAST = ipaddress.IPv6Network("2000::/3")
# Inside of it: protocol assignments with Teredo, documentation, 6to4 (which carries any IPv4 address), and documentation again.
_SPECIAL_V6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))


class NotPublic(Exception):
    """An address of a network that is none of an outsider's business."""


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
    """127.0.0.0/8 and ::1, and nothing that merely leads there (mapped, NAT64)."""
    try:
        ip = ipaddress.ip_address(address)
        return ip.is_loopback and getattr(ip, "ipv4_mapped", None) is None
    except ValueError:
        return False


def choose(addresses: Iterable[str], loopback: bool) -> list[str]:
    """The addresses to connect to, in the order the resolver gave. Raises NotPublic when any of them may not be."""
    found = list(dict.fromkeys(addresses))
    bad = [one for one in found if not (is_public(one) or (loopback and is_loopback(one)))]
    if bad or not found:
        raise NotPublic(f"{', '.join(bad) or 'no address'}")
    return found


def resolve(name: str, port: int, seconds: float) -> list[str]:
    """Ask the system's resolver, at most `seconds`: getaddrinfo cannot be interrupted, so it waits in a thread of its own."""
    answer: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put([str(one[4][0]) for one in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)])
        except Exception as problem:  # raised below, by the one who waits
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
