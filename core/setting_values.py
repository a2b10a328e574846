"""Parse single settings, with a clear error message for invalid values."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

import click
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from core.domain_names import BadDomain, ascii_domain, ascii_url

Get = Callable[..., str]
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


class Misconfigured(click.ClickException):
    """A setting is invalid. The message names it and says what to do; commands print it and exit with 2."""

    exit_code = 2


def boolean(get: Get, name: str) -> bool:
    text = get(name).lower()
    if text not in _TRUE | _FALSE:
        raise Misconfigured(f"{name} is {text!r}; it must be 1 or 0.")
    return text in _TRUE


def header_name(get: Get, name: str) -> str:
    """Return the name of an HTTP header, or an empty string."""
    text = get(name)
    if text and not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,60}", text):
        raise Misconfigured(f"{name} is {text!r}; it must be the name of a header, such as CF-IPCountry.")
    return text


def number(get: Get, name: str, default: int, lowest: int, highest: int) -> int:
    text = get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or not lowest <= int(text) <= highest:
        raise Misconfigured(f"{name} is {text!r}; it must be a whole number from {lowest} to {highest}.")
    return int(text)


def number_or_none(get: Get, name: str, default: int, highest: int) -> int | None:
    """Like `number`; `none` and `off` give None."""
    return None if get(name).lower() in ("none", "off") else number(get, name, default, 0, highest)


def choice(get: Get, name: str, default: str, known: Collection[str]) -> str:
    text = get(name) or default
    if text not in known:
        raise Misconfigured(f"{name} is {text!r}; choose from {', '.join(sorted(known))}.")
    return text


def database_url(get: Get, name: str, default: str = "") -> str:
    """Return a URL such as postgresql://… with the driver for SQLAlchemy."""
    url = get(name) or default
    for plain in ("postgres://", "postgresql://"):
        if url.startswith(plain):
            url = "postgresql+psycopg://" + url[len(plain) :]
    if not url:
        return ""
    try:
        backend = make_url(url).get_backend_name()
    except (ArgumentError, ValueError):  # the value is not repeated: it may hold a password
        raise Misconfigured(f"{name} is not a database URL, such as postgresql://user:password@host/name.") from None
    if backend not in ("sqlite", "postgresql"):
        raise Misconfigured(f"{name} names {backend!r}; the portal runs on postgresql and sqlite.")
    return url


def listen_address(get: Get, name: str) -> tuple[str, int] | None:
    """Parse `127.0.0.1:9464` or `[::1]:9464` to (address, port); None if it is not set."""
    text = get(name)
    if not text:
        return None
    try:
        parts = urlsplit("//" + text)
        host, port = str(ipaddress.ip_address(parts.hostname or "")), parts.port
    except ValueError:
        host, port = "", None
    if not port or parts.netloc != text or "@" in text:
        raise Misconfigured(f"{name} is {text!r}; it must be an IP address and a port, such as 127.0.0.1:9464.")
    return host, port


def web_url(name: str, url: str) -> str:
    """Check an http or https URL without a path. Raises Misconfigured."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.path in ("", "/") and not parts.query and not parts.fragment
        parts.port  # noqa: B018 - raises ValueError for a port that is none
    except ValueError:
        usable = False
    if not usable:
        raise Misconfigured(f"{name} is {url!r}; it must be https:// and a host, without a path.")
    return url.rstrip("/")


def origins(get: Get, name: str) -> tuple[str, ...]:
    """Parse origins separated by commas, such as https://account.example.com. Raises Misconfigured."""
    return tuple(dict.fromkeys(web_url(name, item.strip()).lower() for item in get(name).split(",") if item.strip()))


def mail_sender(base_url: str) -> str:
    """Return the sender of emails that a deployment has without a setting: portal@ and its host."""
    host = urlsplit(base_url).hostname or "localhost"
    return f"portal@{'localhost' if ':' in host else host}"


def ascii_base_url(base_url: str) -> str:
    """Return the URL with its host in ASCII, as in links and Host headers."""
    try:
        return ascii_url(base_url)
    except BadDomain as wrong:
        raise Misconfigured(f"PORTAL_BASE_URL is not a URL: {wrong}.") from wrong


def mail_host(name: str) -> str:
    """Return the name in ASCII, because the resolver and TLS would encode it by IDNA 2003."""
    try:
        return ascii_domain(name) if name else ""
    except BadDomain as wrong:
        raise Misconfigured(f"MAIL_SERVER is not a host name: {wrong}.") from wrong
