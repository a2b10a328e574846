"""Write logs to stderr as one JSON object per line, with a request id, without secrets and addresses."""

from __future__ import annotations

import hashlib
import logging
import re
import sys
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any

import structlog
from flask import Flask, Response, g, request

from core.database_errors import is_outage
from core.ids import secret_token
from core.settings import Settings

_TOKEN_PATH = re.compile(
    r"(/login/link/|/login/never-again/|/login/email-opt-out/|/session/|/invite/|/letters/stop/|/api/uploads/)[^/?#\s\"]+"
)
_TOKEN_VALUE = re.compile(r"\b(token|code|secret|password|key|state)=[^&\s\"]+", re.IGNORECASE)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]+", re.IGNORECASE)
# The look-behind keeps the time linear: a match is tried only where a run of these characters begins.
_ADDRESS = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_READ, _SHOWN = 20_000, 2_000  # characters that are redacted, and characters that are written
REPEAT = 60.0
"""Seconds between two log lines about the same outage."""
_SECRET_NAMES = frozenset({"token", "code", "secret", "password", "authorization", "cookie", "api_key", "csrf_token", "secret_key"})


observers: dict[str, Callable[[MutableMapping[str, Any], BaseException], object]] = {}
"""Called with (entry, error) for each entry with a traceback. See core/error_reports.py and core/tracing.py."""


def init(app: Flask, settings: Settings) -> None:
    """Configure structlog for the process, and log one line with an id for each request."""
    configure(settings.log_level)
    app.before_request(_begin)
    app.after_request(_end)


def configure(level: str = "INFO") -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            _shorten_outage,
            _observe,
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping().get(level, logging.INFO)),
        logger_factory=_stderr,
        cache_logger_on_first_use=False,
    )
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # its request lines would contain tokens


def clean(text: str, shown: int = _SHOWN) -> str:
    """Redact token paths, bearer tokens, secret query values and email addresses; cut the text at `shown` characters.

    Takes linear time. Characters after the first 20,000 are dropped.
    """
    whole, text = len(text), text[:_READ]
    text = _TOKEN_PATH.sub(r"\1[token]", text)
    text = _BEARER.sub(r"\1 [token]", text)
    text = _TOKEN_VALUE.sub(r"\1=[redacted]", text)
    text = _ADDRESS.sub(lambda found: address_hash(found[0]), text)
    return text if len(text) <= shown and whole <= _READ else f"{text[:shown]}… ({whole} characters)"


def address_hash(address: str) -> str:
    """Return a short hash of an email address, so that log lines about the same address can be found."""
    return "mail:" + hashlib.sha256(address.lower().encode()).hexdigest()[:12]


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in list(event.items()):
        if name.lower() in _SECRET_NAMES:
            event[name] = "[redacted]"
        elif name == "exception":
            event[name] = clean(str(value)[-_READ:], _READ)  # the end of a traceback names the error
        elif isinstance(value, str):
            event[name] = clean(value)
        elif isinstance(value, (dict, list, tuple)):
            event[name] = clean(str(value))
    return event


def error_of(entry: MutableMapping[str, Any]) -> BaseException | None:
    """Return the exception of an entry, if it has one."""
    found = entry.get("exc_info")
    if isinstance(found, tuple):
        found = found[1]
    return found if isinstance(found, BaseException) else sys.exc_info()[1] if found else None


def _observe(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if observers and (error := error_of(event)) is not None:
        for observer in list(observers.values()):
            with suppress(Exception):  # an observer must not prevent the log line
                observer(event, error)
    return event


_logged_at: dict[tuple[str, str], float] = {}


def _shorten_outage(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """During a database outage, log each repeated error at most once a minute and without a traceback."""
    error = error_of(event)
    if error is None or not is_outage(error):
        return event
    event.pop("exc_info")
    event.update(error=type(error).__name__, reason="the database is away")
    key, now = (str(event.get("event")), str(event.get("job") or event.get("lanes") or "")), time.monotonic()
    if now - _logged_at.get(key, -REPEAT) < REPEAT:
        raise structlog.DropEvent
    _logged_at[key] = now
    return event


def _stderr(*_names: Any) -> Any:
    return structlog.PrintLogger(sys.stderr)


def _begin() -> None:
    g.started = time.perf_counter()
    g.request_id = secret_token(9)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _end(response: Response) -> Response:
    response.headers.setdefault("X-Request-Id", g.get("request_id", ""))
    if request.endpoint not in ("static", "healthz"):
        took = time.perf_counter() - g.get("started", time.perf_counter())
        structlog.get_logger().info(
            "request",
            method=request.method[:20],
            path=request.path,
            endpoint=request.endpoint,
            status=response.status_code,
            ms=round(took * 1000, 1),
        )
    return response
