"""Logs: one JSON object a line on stderr, with a request id, without secrets and without anybody's address."""

from __future__ import annotations

import hashlib
import logging
import re
import sys
import time
from collections.abc import MutableMapping
from typing import Any

import structlog
from flask import Flask, Response, g, request

from core.ids import secret_token
from core.settings import Settings

_TOKEN_PATH = re.compile(r"(/login/link/|/login/never-again/|/session/|/invite/|/letters/stop/|/api/uploads/)[^/?#\s\"]+")
_TOKEN_VALUE = re.compile(r"\b(token|code|secret|password|key|state)=[^&\s\"]+", re.IGNORECASE)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]+", re.IGNORECASE)
# Tried only where a run of these characters begins: without the look-behind the work grows with the square of the length.
_ADDRESS = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_READ, _SHOWN = 20_000, 2_000  # characters: what is searched for secrets, and what of it is written
_SECRET_NAMES = frozenset({"token", "code", "secret", "password", "authorization", "cookie", "api_key", "csrf_token", "secret_key"})


def init(app: Flask, settings: Settings) -> None:
    """Configure structlog for the process and give every request an id and one line."""
    configure(settings.log_level)
    app.before_request(_begin)
    app.after_request(_end)


def configure(level: str = "INFO") -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping().get(level, logging.INFO)),
        logger_factory=_stderr,
        cache_logger_on_first_use=False,
    )
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # its request line would carry tokens in the clear


def clean(text: str, shown: int = _SHOWN) -> str:
    """Text with token paths, bearer tokens, secret query values and email addresses made unreadable, cut at `shown` characters.

    The work is linear in the length of the text, and what lies beyond 20,000 characters is not read at all.
    """
    whole, text = len(text), text[:_READ]
    text = _TOKEN_PATH.sub(r"\1[token]", text)
    text = _BEARER.sub(r"\1 [token]", text)
    text = _TOKEN_VALUE.sub(r"\1=[redacted]", text)
    text = _ADDRESS.sub(lambda found: address_hash(found[0]), text)
    return text if len(text) <= shown and whole <= _READ else f"{text[:shown]}… ({whole} characters)"


def address_hash(address: str) -> str:
    """The same address gives the same word, and the word gives nobody away at a glance."""
    return "mail:" + hashlib.sha256(address.lower().encode()).hexdigest()[:12]


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in list(event.items()):
        if name.lower() in _SECRET_NAMES:
            event[name] = "[redacted]"
        elif name == "exception":
            event[name] = clean(str(value)[-_READ:], _READ)  # the end of a traceback says what happened
        elif isinstance(value, str):
            event[name] = clean(value)
        elif isinstance(value, (dict, list, tuple)):
            event[name] = clean(str(value))
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
        structlog.get_logger().info("request", method=request.method[:20], path=request.path, endpoint=request.endpoint,
                                    status=response.status_code, ms=round(took * 1000, 1))
    return response
