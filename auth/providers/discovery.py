"""A provider's metadata (OpenID Connect Discovery 1.0) and its keys (RFC 7517), fetched through the one outgoing client.

Kept in the process for an hour. A key id that is not known makes the keys be fetched again, at most once a minute, so
that a rotation is followed at once and a flood of made-up key ids is not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from auth.providers.mistakes import Mistake
from core.json_input import read_json
from core.outgoing import Outgoing, Refused, Unreachable

KEEP, AGAIN = 3600.0, 60.0  # seconds
LIMIT = 256 * 1024


@dataclass
class Known:
    """What is known of one issuer."""

    metadata: dict[str, Any]
    keys: KeySet
    at: float
    keys_at: float = field(default=0.0)

    def __getitem__(self, name: str) -> Any:
        return self.metadata.get(name)


class Discovery:
    """One per application. `monotonic` is for tests."""

    def __init__(self, outgoing: Outgoing, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.outgoing, self._now = outgoing, monotonic
        self._known: dict[str, Known] = {}
        self._lock = threading.Lock()

    def of(self, issuer: str) -> Known:
        """Raises Mistake: unreachable, or a document that names another issuer (safety 6.1: exact)."""
        with self._lock:
            found = self._known.get(issuer)
            if found is not None and self._now() - found.at < KEEP:
                return found
        metadata = self._json(issuer.rstrip("/") + "/.well-known/openid-configuration")
        if metadata.get("issuer") != issuer:
            raise Mistake("wrong_issuer")
        if not all(isinstance(metadata.get(name), str) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")):
            raise Mistake("unreadable")
        known = Known(metadata, self._keys(metadata["jwks_uri"]), self._now(), self._now())
        with self._lock:
            self._known[issuer] = known
        return known

    def rotated(self, issuer: str) -> Known:
        """The same with keys fetched anew, unless that was done within the last minute."""
        known = self.of(issuer)
        if self._now() - known.keys_at >= AGAIN:
            known.keys_at = self._now()
            known.keys = self._keys(known.metadata["jwks_uri"])
        return known

    def forget(self, issuer: str) -> None:
        with self._lock:
            self._known.pop(issuer, None)

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
            answer = self.outgoing.request("POST" if content is not None else "GET", url, content=content, max_bytes=LIMIT,
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
