"""Keys that sign ID tokens (RS256).

The next key is published before it signs, so that apps that cache the key set for an hour have it in time. An old key stays
published while its ID tokens may be used as an id_token_hint at logout.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from joserfc.jwk import KeySet, RSAKey
from sqlalchemy import select

from auth.oidc_server.models import SigningKey
from core import clock, ids
from core.db import Database, ScopedSession
from core.encryption import is_stale, seal, unseal
from core.errors import N_, Conflict
from core.scope import everything
from core.settings import Settings

ALGORITHM = "RS256"
KNOWN_AHEAD = timedelta(hours=1)
"""How long a key is published before it may sign. /oauth/jwks may be cached for a third of that."""
KEPT = timedelta(days=30)
"""How long an old key stays published: the longest session, whose ID token may be used at its end."""


@dataclass(frozen=True)
class Ring:
    """The published keys."""

    rows: list[SigningKey]

    @property
    def public(self) -> dict[str, Any]:
        return {"keys": [row.public for row in self.rows]}

    @property
    def key_set(self) -> KeySet:
        return KeySet.import_key_set(self.public)  # type: ignore[arg-type]

    def signing(self, settings: Settings) -> RSAKey:
        """Return the private key that signs now."""
        row = next(row for row in self.rows if row.signs_from is not None and row.signs_until is None)
        return RSAKey.import_key(json.loads(unseal(settings.secret_keys, purpose(row.id), row.sealed)))


def ring(database: Database, settings: Settings) -> Ring:
    """Return the published keys. The first call creates the first two."""
    with database.open(everything("read signing keys")) as db:
        rows = _published(db)
    if not any(row.signs_from and not row.signs_until for row in rows):
        with database.open(everything("create the first signing keys"), write=True) as db:
            rows = _published(db)
            if not rows:
                db.add_all([_new(settings, signs=True), _new(settings)])
                db.flush()
                rows = _published(db)
    return Ring(rows)


def rotate(database: Database, settings: Settings, *, at_once: bool = False) -> str:
    """Start signing with the next key and publish a new next key. Returns the kid of the signing key.

    Raises Conflict if the next key was published less than an hour ago. `at_once`: the old key was compromised. It is removed
    immediately, and tokens it signed are no longer accepted.
    """
    ring(database, settings)
    at = clock.wall()
    with database.open(everything("rotate signing keys"), write=True) as db:
        rows = list(db.scalars(select(SigningKey).order_by(SigningKey.created_at, SigningKey.id).with_for_update()))
        following = next(row for row in rows if row.signs_from is None)
        if not at_once and following.created_at > at - KNOWN_AHEAD:
            raise Conflict("TOO_EARLY", N_("Apps may not have the next key yet. Wait an hour after the last rotation."))
        for row in rows:
            if row.signs_from is not None and row.signs_until is None:
                row.signs_until = at - KEPT if at_once else at
            if row.signs_until is not None and row.signs_until <= at - KEPT:
                db.delete(row)
            elif is_stale(settings.secret_keys, purpose(row.id), row.sealed):  # SECRET_KEY was rotated too
                row.sealed = seal(settings.secret_keys, purpose(row.id), unseal(settings.secret_keys, purpose(row.id), row.sealed))
        following.signs_from = at
        db.add(_new(settings))
        return following.id


def _published(db: ScopedSession) -> list[SigningKey]:
    query = select(SigningKey).where(SigningKey.signs_until.is_(None) | (SigningKey.signs_until > clock.wall() - KEPT))
    return list(db.scalars(query.order_by(SigningKey.created_at, SigningKey.id)))


def _new(settings: Settings, signs: bool = False) -> SigningKey:
    kid, at = ids.new_id("key"), clock.wall()
    key = RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": ALGORITHM})
    return SigningKey(
        id=kid,
        public=key.as_dict(private=False),
        created_at=at,
        signs_from=at if signs else None,
        signs_until=None,
        sealed=seal(settings.secret_keys, purpose(kid), json.dumps(key.as_dict(private=True))),
    )


def purpose(kid: str) -> str:
    return f"signing key, {kid}"
