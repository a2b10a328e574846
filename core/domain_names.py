"""Domain names in ASCII: the only place that encodes or decodes internationalized names (IDNA 2008, RFC 5891).

Names are mapped by UTS 46, non-transitional: `faß.de` is `xn--fa-hia.de` and never `fass.de`. Python's own codec ("idna")
implements IDNA 2003, which sends mail and requests for one owner's domain to another owner's. Libraries that encode names by
themselves (smtplib, ssl, Werkzeug, httpx) are given ASCII.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import idna


class BadDomain(ValueError):
    """The text is not a domain name that can be written in ASCII."""


def ascii_domain(name: str) -> str:
    """The name in lower-case ASCII: letters, digits and hyphens stay, other labels become A-labels (RFC 5890 §2.3.2.1).

    An IP address and a name of plain ASCII labels come back in lower case. Raises BadDomain.
    """
    lower = name.lower()
    if lower.isascii() and "xn--" not in lower:
        return lower
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except (UnicodeError, ValueError) as odd:  # IDNAError is a UnicodeError
        raise BadDomain(f"not a domain name: {odd}") from odd


def unicode_domain(name: str) -> str:
    """The name as people read it, which `ascii_domain` turns into the same ASCII again; an A-label that does not is kept."""
    try:
        shown = idna.decode(name)
        return shown if ascii_domain(shown) == ascii_domain(name) else name
    except (UnicodeError, ValueError):
        return name


def ascii_url(url: str) -> str:
    """The URL with its host in ASCII; a URL without a host, and one that cannot be read, come back unchanged.

    Raises BadDomain for a host that is no domain name.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return url
    if not host or (host.isascii() and "xn--" not in host):
        return url
    user, at, _ = parts.netloc.rpartition("@")
    netloc = f"{user}{at}{ascii_domain(host)}{'' if port is None else f':{port}'}"
    return urlunsplit(parts._replace(netloc=netloc))


def ascii_address(address: str) -> str:
    """An email address with its domain in ASCII, as envelopes and headers carry it; the local part is not touched.

    Raises BadDomain for text without an `@`, or whose domain is no domain name.
    """
    local, at, domain = address.rpartition("@")
    if not (at and local and domain):
        raise BadDomain("an address has a local part and a domain")
    return f"{local}@{ascii_domain(domain)}"
