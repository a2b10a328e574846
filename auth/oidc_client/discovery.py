"""Provider metadata (OpenID Connect Discovery 1.0) and keys (RFC 7517), fetched through the outgoing client.

Cached in the process for an hour, and used for a day if they cannot be refreshed. An unknown key id triggers a refetch of the keys,
at most once a minute, so that a rotation is followed at once but a flood of made-up key ids is not. One fetch runs at a time per
issuer. Failures are cached too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from auth.oidc_client.errors import ProviderError
from core.background_calls import BackgroundCalls, Busy, Pending
from core.json_input import read_json
from core.outgoing import HostUnreachable, Outgoing, RequestRefused

KEEP, STALE, AGAIN = 3600.0, 86400.0, 60.0  # seconds
FAILED_FOR = (5.0, 15.0, 60.0, 300.0)
"""Seconds until a failed issuer is fetched again."""
TIMEOUT = 5.0  # seconds for one whole response
LIMIT = 256 * 1024
Result = TypeVar("Result")


@dataclass
class CachedMetadata:
    """Cached metadata and keys of one issuer."""

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
    error: ProviderError


class Discovery:
    """One instance per application. Fetches run in background threads (core/background_calls.py). `monotonic` is for tests."""

    def __init__(
        self, outgoing: Outgoing, monotonic: Callable[[], float] = time.monotonic, background_calls: BackgroundCalls | None = None
    ) -> None:
        self.outgoing, self._now, self.background_calls = outgoing, monotonic, background_calls or BackgroundCalls()
        self._known: dict[str, CachedMetadata] = {}
        self._failed: dict[str, _Failure] = {}
        self._lock = threading.Lock()

    def of(self, issuer: str, fetch: bool = True) -> CachedMetadata:
        """Return the metadata of an issuer.

        Raises ProviderError: waiting, unreachable, unreadable, or wrong_issuer (the document must name exactly this issuer, safety
        6.1). `fetch=False`: use only the cache. Cached data stays in use during a refresh. A failure is cached and raised again until
        the next attempt.
        """
        with self._lock:
            found, failed = self._known.get(issuer), self._failed.get(issuer)
        age = self._now() - found.at if found is not None else 0.0
        resting = failed is not None and self._now() < failed.until
        if found is not None and age < STALE:
            if age >= KEEP and fetch and not resting:
                self.background_calls.start(issuer, "discovery", lambda: self._learn(issuer))
            return found
        if failed is not None and resting:
            raise ProviderError(failed.error.code, failed.error.detail)
        if not fetch:
            raise ProviderError("unreachable", "not fetched")
        return self._ask(issuer, "discovery", lambda: self._learn(issuer))

    def rotated(self, issuer: str, fetch: bool = True) -> CachedMetadata:
        """Like `of`, but with refetched keys, unless they were fetched within the last minute."""
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
            return self.background_calls.wait_for(issuer, what, call)
        except Pending as slow:
            raise ProviderError("waiting", what) from slow
        except Busy as busy:
            raise ProviderError("unreachable", "busy") from busy

    def _learn(self, issuer: str) -> CachedMetadata:
        try:
            known = self._fetched(issuer)
        except ProviderError as error:
            with self._lock:
                count = self._failed[issuer].count + 1 if issuer in self._failed else 1
                self._failed[issuer] = _Failure(count, self._now() + FAILED_FOR[min(count, len(FAILED_FOR)) - 1], error)
            raise
        with self._lock:
            self._known[issuer] = known
            self._failed.pop(issuer, None)
        return known

    def _fetched(self, issuer: str) -> CachedMetadata:
        metadata = self._json(issuer.rstrip("/") + "/.well-known/openid-configuration")
        if metadata.get("issuer") != issuer:
            raise ProviderError("wrong_issuer")
        if not all(isinstance(metadata.get(name), str) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")):
            raise ProviderError("unreadable")
        return CachedMetadata(metadata, self._keys(metadata["jwks_uri"]), self._now(), self._now())

    def post(self, url: str, form: bytes, headers: dict[str, str]) -> dict[str, Any]:
        """Post to the token endpoint and return its JSON, including errors (`error`). Raises ProviderError."""
        return self._json(url, form, {"Content-Type": "application/x-www-form-urlencoded", **headers})

    def get(self, url: str, access_token: str) -> dict[str, Any]:
        """Return the userinfo endpoint's JSON. Raises ProviderError."""
        return self._json(url, None, {"Authorization": f"Bearer {access_token}"})

    def _keys(self, url: str) -> KeySet:
        try:
            return KeySet.import_key_set({"keys": [row for row in self._json(url).get("keys", []) if row.get("use", "sig") == "sig"]})
        except (JoseError, ValueError, TypeError, AttributeError) as error:
            raise ProviderError("unreadable") from error

    def _json(self, url: str, content: bytes | None = None, headers: dict[str, str] | None = None) -> dict[str, Any]:
        try:
            answer = self.outgoing.request(
                "POST" if content is not None else "GET",
                url,
                content=content,
                max_bytes=LIMIT,
                timeout=TIMEOUT,
                headers={"Accept": "application/json", **(headers or {})},
            )
        except (RequestRefused, HostUnreachable) as problem:
            raise ProviderError("unreachable", str(problem)) from problem
        try:
            document = read_json(answer.body)
        except ValueError as error:
            raise ProviderError("unreadable", f"status {answer.status}") from error
        if not isinstance(document, dict) or (answer.status != 200 and "error" not in document):
            raise ProviderError("unreadable", f"status {answer.status}")
        return document
