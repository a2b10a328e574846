"""DNS lookups. Tests replace them (`Binding(resolve=…)`)."""

from __future__ import annotations

from collections.abc import Callable

import dns.exception
import dns.resolver

Resolve = Callable[[str], list[str]]
"""Returns the TXT records of a name, or [] if there are none. Raises Unknown if DNS did not answer."""


class Unknown(Exception):
    """No answer or an invalid answer, so the result is unknown."""


def lookup_txt(name: str) -> list[str]:
    try:
        resolver = dns.resolver.Resolver()
        resolver.lifetime = 5.0
        answer = resolver.resolve(name, "TXT")
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except dns.exception.DNSException as error:
        raise Unknown(str(error)) from error
    return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]
