"""A provider's metadata (OpenID Connect Discovery 1.0) and its keys (RFC 7517), fetched through the one outgoing client.

Kept in the process for an hour, and used for a day where they cannot be fetched anew. A key id that is not known makes the
keys be fetched again, at most once a minute, so that a rotation is followed at once and a flood of made-up key ids is not.
One fetch at a time per issuer; failures are kept too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from auth.providers.mistakes import Mistake
from core.errands import Busy, Errands, Pending
from core.json_input import read_json
from core.outgoing import Outgoing, Refused, Unreachable

KEEP, STALE, AGAIN = 3600.0, 86400.0, 60.0  # seconds
FAILED_FOR = (5.0, 15.0, 60.0, 300.0)
"""Seconds until an issuer that could not be read is asked again."""
TIMEOUT = 5.0  # seconds for the whole of one answer
LIMIT = 256 * 1024
Result = TypeVar("Result")


@dataclass
class Known:
    """What is known of one issuer."""

    metadata: dict[str, Any]
    keys: KeySet
    at: float
    keys_at: float = field(default=0.0)

    def __getitem__(self, name: str) -> Any:
        return self.metadata.get(name)


@dataclass
class _Failure:
    count: int
    until: float
    mistake: Mistake


class Discovery:
    """One per application. Nothing is fetched in the thread that asks (core/errands.py). `monotonic` is for tests."""

    def __init__(self, outgoing: Outgoing, monotonic: Callable[[], float] = time.monotonic, errands: Errands | None = None) -> None:
        self.outgoing, self._now, self.errands = outgoing, monotonic, errands or Errands()
        self._known: dict[str, Known] = {}
        self._failed: dict[str, _Failure] = {}
        self._lock = threading.Lock()

    def of(self, issuer: str, fetch: bool = True) -> Known:
        """Raises Mistake: waiting, unreachable, or a document that names another issuer (safety 6.1: exact).

        `fetch=False`: only what is known already. What is known stays in use while it is fetched anew. A failure is kept, and
        repeated to whoever asks before the next try.
        """
        with self._lock:
            found, failed = self._known.get(issuer), self._failed.get(issuer)
        age = self._now() - found.at if found is not None else 0.0
        resting = failed is not None and self._now() < failed.until
        if found is not None and age < STALE:
            if age >= KEEP and fetch and not resting:
                self.errands.start(issuer, "discovery", lambda: self._learn(issuer))
            return found
        if failed is not None and resting:
            raise Mistake(failed.mistake.code, failed.mistake.detail)
        if not fetch:
            raise Mistake("unreachable", "not fetched")
        return self._ask(issuer, "discovery", lambda: self._learn(issuer))

    def rotated(self, issuer: str, fetch: bool = True) -> Known:
        """The same with keys fetched anew, unless that was done within the last minute."""
        known = self.of(issuer, fetch)
        if not fetch:
            return known
        with self._lock:
            if self._now() - known.keys_at < AGAIN:
                due = False
            else:
                due, known.keys_at = True, self._now()
        if due:
            known.keys = self._ask(issuer, "keys", lambda: self._keys(known.metadata["jwks_uri"]))
        return known

    def forget(self, issuer: str) -> None:
        with self._lock:
            self._known.pop(issuer, None)
            self._failed.pop(issuer, None)

    def forget_failure(self, issuer: str) -> None:
        with self._lock:
            self._failed.pop(issuer, None)

    def _ask(self, issuer: str, what: str, call: Callable[[], Result]) -> Result:
        try:
            return self.errands.ask(issuer, what, call)
        except Pending as slow:
            raise Mistake("waiting", what) from slow
        except Busy as busy:
            raise Mistake("unreachable", "busy") from busy

    def _learn(self, issuer: str) -> Known:
        try:
            known = self._fetched(issuer)
        except Mistake as wrong:
            with self._lock:
                count = self._failed[issuer].count + 1 if issuer in self._failed else 1
                self._failed[issuer] = _Failure(count, self._now() + FAILED_FOR[min(count, len(FAILED_FOR)) - 1], wrong)
            raise
        with self._lock:
            self._known[issuer] = known
            self._failed.pop(issuer, None)
        return known

    def _fetched(self, issuer: str) -> Known:
        metadata = self._json(issuer.rstrip("/") + "/.well-known/openid-configuration")
        if metadata.get("issuer") != issuer:
            raise Mistake("wrong_issuer")
        if not all(isinstance(metadata.get(name), str) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")):
            raise Mistake("unreadable")
        return Known(metadata, self._keys(metadata["jwks_uri"]), self._now(), self._now())

    def post(self, url: str, form: bytes, headers: dict[str, str]) -> dict[str, Any]:
        """The token endpoint's JSON, errors included (`error`). Raises Mistake."""
        return self._json(url, form, {"Content-Type": "application/x-www-form-urlencoded", **headers})

    def get(self, url: str, access_token: str) -> dict[str, Any]:
        """The userinfo endpoint's JSON. Raises Mistake."""
        return self._json(url, None, {"Authorization": f"Bearer {access_token}"})

    def _keys(self, url: str) -> KeySet:
        try:
            return KeySet.import_key_set({"keys": [one for one in self._json(url).get("keys", []) if one.get("use", "sig") == "sig"]})  # type: ignore[typeddict-item]
        except (JoseError, ValueError, TypeError, AttributeError) as odd:
            raise Mistake("unreadable") from odd

    def _json(self, url: str, content: bytes | None = None, headers: dict[str, str] | None = None) -> dict[str, Any]:
        try:
            answer = self.outgoing.request("POST" if content is not None else "GET", url, content=content, max_bytes=LIMIT, timeout=TIMEOUT,
                                           headers={"Accept": "application/json", **(headers or {})})
        except (Refused, Unreachable) as problem:
            raise Mistake("unreachable", str(problem)) from problem
        try:
            said = read_json(answer.body)
        except ValueError as odd:
            raise Mistake("unreadable", f"status {answer.status}") from odd
        if not isinstance(said, dict) or (answer.status != 200 and "error" not in said):
            raise Mistake("unreadable", f"status {answer.status}")
        return said
