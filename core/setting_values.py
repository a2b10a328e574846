"""Reading one setting: what it may be, and one clear sentence when it is something else."""

from __future__ import annotations

from collections.abc import Callable, Collection
from urllib.parse import urlsplit

import click
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

Get = Callable[..., str]
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


class Misconfigured(click.ClickException):
    """The settings cannot be served. The message says which one and what to do; commands print it and exit with 2."""

    exit_code = 2


def boolean(get: Get, name: str) -> bool:
    text = get(name).lower()
    if text not in _TRUE | _FALSE:
        raise Misconfigured(f"{name} is {text!r}; it must be 1 or 0.")
    return text in _TRUE


def number(get: Get, name: str, default: int, lowest: int, highest: int) -> int:
    text = get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or not lowest <= int(text) <= highest:
        raise Misconfigured(f"{name} is {text!r}; it must be a whole number from {lowest} to {highest}.")
    return int(text)


def number_or_none(get: Get, name: str, default: int, highest: int) -> int | None:
    """`none` and `off` are None."""
    return None if get(name).lower() in ("none", "off") else number(get, name, default, 0, highest)


def choice(get: Get, name: str, default: str, known: Collection[str]) -> str:
    text = get(name) or default
    if text not in known:
        raise Misconfigured(f"{name} is {text!r}; known are {', '.join(sorted(known))}.")
    return text


def database_url(get: Get, name: str, default: str = "") -> str:
    """The URL people know (postgresql://…) with the driver that SQLAlchemy needs named."""
    url = get(name) or default
    for plain in ("postgres://", "postgresql://"):
        if url.startswith(plain):
            url = "postgresql+psycopg://" + url[len(plain) :]
    if not url:
        return ""
    try:
        backend = make_url(url).get_backend_name()
    except (ArgumentError, ValueError):  # the value is not repeated: it may hold a password
        raise Misconfigured(f"{name} is no URL of a database, such as postgresql://user:password@host/name.") from None
    if backend not in ("sqlite", "postgresql"):
        raise Misconfigured(f"{name} names {backend!r}; the portal runs on postgresql and sqlite.")
    return url


def web_url(name: str, url: str) -> str:
    """An http or https URL of a host, without a path. Raises Misconfigured."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.path in ("", "/") and not parts.query and not parts.fragment
        parts.port  # noqa: B018 - raises ValueError for a port that is none
    except ValueError:
        usable = False
    if not usable:
        raise Misconfigured(f"{name} is {url!r}; it must be https:// and a host, without a path.")
    return url.rstrip("/")
