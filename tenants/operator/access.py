"""Sign-in to the operator's pages with PORTAL_OPERATOR_SECRET. It is separate from the portal's sessions and accounts.

The session is a signed cookie and needs no database, so that it works during a database outage. It lasts an hour and ends when
the secret changes. Every form carries a token derived from it.
"""

from __future__ import annotations

import hmac
import threading
import time
from collections import deque

import structlog
from flask import Response, request
from itsdangerous import BadData, URLSafeTimedSerializer
from sqlalchemy.exc import SQLAlchemyError

from auth import rate_limits
from core.errors import BadRequest
from core.ids import keyed_hash, secret_token
from core.operations import audit
from core.operator_access import PREFIX, is_local, is_loopback_host
from core.outage import is_outage
from core.request_context import services
from core.scope import everything
from core.security import is_from_here
from core.services import Services
from core.settings import Settings

log = structlog.get_logger()

LIFETIME = 3600  # seconds
TRIES, WITHIN = 10, rate_limits.MINUTE * 15
TRIES_OF_ALL = 100
"""Attempts per day from all remote addresses together."""


class ProcessAttempts:
    """Sign-in attempts counted in this process, for use while the database is unavailable."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at: deque[float] = deque()

    def spend(self) -> bool:
        with self._lock:
            now = time.monotonic()
            while self._at and now - self._at[0] > WITHIN.total_seconds():
                self._at.popleft()
            if len(self._at) >= TRIES:
                return False
            self._at.append(now)
            return True


def try_secret(of: Services, typed: str, attempts: ProcessAttempts) -> bool | None:
    """Return True if the secret is right, False if it is wrong, None after too many attempts (it is then not compared)."""
    settings = of.settings
    limits = [rate_limits.Limit(f"operator:{rate_limits.source_key(settings, request.remote_addr)}", TRIES, WITHIN)]
    if not is_local(settings, request.environ):  # remote attempts must not lock out this machine
        limits.append(rate_limits.Limit("operator:networks", TRIES_OF_ALL, rate_limits.DAY))
    try:
        allowed = rate_limits.spend(of.database, limits)
    except SQLAlchemyError as error:
        if not is_outage(error):
            raise
        limits, allowed = [], attempts.spend()
    if not allowed:
        log.warning("operator sign-in refused: too many attempts")
        return None
    if not hmac.compare_digest(_hash(settings, typed), _hash(settings, settings.operator_secret)):
        log.warning("operator sign-in failed")
        return False
    for limit in limits:
        rate_limits.give_back(of.database, limit)
    if limits:
        with of.database.open(everything("an operator signs in"), write=True) as db:
            audit.record(db, "signed_in", "", source())
    log.info("operator signed in", source=source())
    return True


def source() -> str:
    """Return the operator's network address, for the list of actions."""
    return request.remote_addr or ""


def keep(settings: Settings, answer: Response) -> None:
    value = _signer(settings).dumps([secret_token(16), _fingerprint(settings)])
    answer.set_cookie(_name(settings), value, max_age=LIFETIME, path=PREFIX, httponly=True, samesite="Strict", secure=_secure(settings))


def drop(settings: Settings, answer: Response) -> None:
    answer.delete_cookie(_name(settings), path=PREFIX, httponly=True, samesite="Strict", secure=_secure(settings))


def session_id() -> str | None:
    """Return the session of the signed-in operator; None without a valid session."""
    settings = services().settings
    try:
        value = _signer(settings).loads(request.cookies.get(_name(settings), ""), max_age=LIFETIME)
    except BadData:
        return None
    if not (isinstance(value, list) and len(value) == 2 and hmac.compare_digest(str(value[1]), _fingerprint(settings))):
        return None
    return str(value[0])


def form_token() -> str:
    """Return the CSRF token of a form, bound to the session or, before sign-in, to the sign-in form."""
    return keyed_hash(services().settings.secret_keys, "operator form", session_id() or "sign-in")[:43]


def check_form() -> None:
    """Verify the CSRF token and the origin of a form. Raises BadRequest."""
    typed = request.form.get("csrf_token", "")
    if not is_from_here() or not hmac.compare_digest(typed.encode(), form_token().encode()):
        raise BadRequest()


def _hash(settings: Settings, secret: str) -> str:
    return keyed_hash(settings.secret_keys, "operator secret", secret)


def _fingerprint(settings: Settings) -> str:
    return _hash(settings, settings.operator_secret)[:16]


def _signer(settings: Settings) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(list(reversed(settings.secret_keys)), salt=f"operator, {settings.mode} mode")


def _secure(settings: Settings) -> bool:
    return settings.is_https and not is_loopback_host(request.host)  # a tunnel to this machine has no TLS of its own


def _name(settings: Settings) -> str:
    """Return the name of the cookie. The prefix `__Host-` would require the path `/` (RFC 6265bis §4.1.3.2)."""
    return f"{'__Secure-' if _secure(settings) else ''}operator-{settings.mode}"
