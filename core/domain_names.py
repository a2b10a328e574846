"""Convert internationalized domain names to ASCII and back (IDNA 2008, RFC 5891). No other module does this.

Names are mapped by UTS 46, non-transitional: `faß.de` is `xn--fa-hia.de` and never `fass.de`. Python's own codec ("idna")
implements IDNA 2003, which can turn the name into the domain of another owner. Libraries that encode names
themselves (smtplib, ssl, Werkzeug, httpx) therefore get ASCII.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import idna

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})  # host names of this machine


class BadDomain(ValueError):
    """The text is not a domain name that can be written in ASCII."""


def ascii_domain(name: str) -> str:
    """Return the name in lower-case ASCII; labels with other characters become A-labels (RFC 5890 §2.3.2.1).

    IP addresses and ASCII names are only lower-cased. Raises BadDomain.
    """
    lower = name.lower()
    if lower.isascii() and "xn--" not in lower:
        return lower
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except (UnicodeError, ValueError) as odd:  # IDNAError is a UnicodeError
        raise BadDomain(f"not a domain name: {odd}") from odd


def unicode_domain(name: str) -> str:
    """Return the name in Unicode. An A-label is kept if `ascii_domain` would not turn it into the same ASCII again."""
    try:
        shown = idna.decode(name)
        return shown if ascii_domain(shown) == ascii_domain(name) else name
    except (UnicodeError, ValueError):
        return name


def ascii_url(url: str) -> str:
    """Return the URL with its host in ASCII. A URL without a host, or one that cannot be parsed, is returned unchanged.

    Raises BadDomain if the host is not a domain name.
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
    """Return an email address with its domain in ASCII, for envelopes and headers. The local part is unchanged.

    Raises BadDomain for text without an `@`, or with an invalid domain.
    """
    local, at, domain = address.rpartition("@")
    if not (at and local and domain):
        raise BadDomain("an address has a local part and a domain")
    return f"{local}@{ascii_domain(domain)}"
