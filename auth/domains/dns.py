"""The port to DNS. Tests answer in its place (`Binding(resolve=…)`)."""

from __future__ import annotations

from collections.abc import Callable

import dns.exception
import dns.resolver

Resolve = Callable[[str], list[str]]
"""A name's TXT records, [] where there are none. Raises Unknown when nobody could say."""


class Unknown(Exception):
    """No answer, or a broken one: neither yes nor no."""


def texts(name: str) -> list[str]:
    try:
        resolver = dns.resolver.Resolver()
        resolver.lifetime = 5.0
        answer = resolver.resolve(name, "TXT")
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except dns.exception.DNSException as odd:
        raise Unknown(str(odd)) from odd
    return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]
