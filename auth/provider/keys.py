"""Keys that sign ID tokens (RS256). The next one is published before it signs, so that an app which keeps our key set for
an hour knows it in time; an old one stays published while its ID tokens may still be shown (as a hint of who leaves)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from joserfc.jwk import KeySet, RSAKey
from sqlalchemy import select

from auth.provider.models import SigningKey
from core import clock, ids
from core.db import Database, ScopedSession
from core.errors import Conflict
from core.scope import everything
from core.secrets import is_stale, seal, unseal
from core.settings import Settings

ALGORITHM = "RS256"
KNOWN_AHEAD = timedelta(hours=1)
"""How long a key is published before it may sign; /oauth/jwks may be kept for a third of that."""
KEPT = timedelta(days=30)
"""How long an old key stays published: as long as the longest session, whose ID token may come back at its end."""


@dataclass(frozen=True)
class Ring:
    """What is published, and which of it signs."""

    rows: list[SigningKey]

    @property
    def public(self) -> dict[str, Any]:
        return {"keys": [row.public for row in self.rows]}

    @property
    def key_set(self) -> KeySet:
        return KeySet.import_key_set(self.public)  # type: ignore[arg-type]

    def signing(self, settings: Settings) -> RSAKey:
        """The private half of the key that signs now."""
        row = next(row for row in self.rows if row.signs_from is not None and row.signs_until is None)
        return RSAKey.import_key(json.loads(unseal(settings.secret_keys, _purpose(row.id), row.sealed)))


def ring(database: Database, settings: Settings) -> Ring:
    """The published keys; the first two are made when somebody first asks."""
    with database.open(everything("read our signing keys")) as db:
        rows = _published(db)
    if not any(row.signs_from and not row.signs_until for row in rows):
        with database.open(everything("make our first signing keys"), write=True) as db:
            rows = _published(db)
            if not rows:
                db.add_all([_new(settings, signs=True), _new(settings)])
                db.flush()
                rows = _published(db)
    return Ring(rows)


def rotate(database: Database, settings: Settings, *, at_once: bool = False) -> str:
    """The next key signs from now on, and a new next one is published. Returns the kid that signs.

    Raises Conflict while the next key is known for less than an hour. `at_once`: the old key got into other hands; it goes
    without a day of grace, and whatever it signed is believed no more.
    """
    ring(database, settings)
    at = clock.wall()
    with database.open(everything("rotate our signing keys"), write=True) as db:
        rows = list(db.scalars(select(SigningKey).order_by(SigningKey.created_at, SigningKey.id).with_for_update()))
        following = next(row for row in rows if row.signs_from is None)
        if not at_once and following.created_at > at - KNOWN_AHEAD:
            raise Conflict("TOO_EARLY", "The next key is not known to everybody yet; rotate an hour after the last time.")
        for row in rows:
            if row.signs_from is not None and row.signs_until is None:
                row.signs_until = at - KEPT if at_once else at
            if row.signs_until is not None and row.signs_until <= at - KEPT:
                db.delete(row)
            elif is_stale(settings.secret_keys, _purpose(row.id), row.sealed):  # SECRET_KEY was rotated too
                row.sealed = seal(settings.secret_keys, _purpose(row.id), unseal(settings.secret_keys, _purpose(row.id), row.sealed))
        following.signs_from = at
        db.add(_new(settings))
        return following.id


def _published(db: ScopedSession) -> list[SigningKey]:
    query = select(SigningKey).where(SigningKey.signs_until.is_(None) | (SigningKey.signs_until > clock.wall() - KEPT))
    return list(db.scalars(query.order_by(SigningKey.created_at, SigningKey.id)))


def _new(settings: Settings, signs: bool = False) -> SigningKey:
    kid, at = ids.new_id("key"), clock.wall()
    key = RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": ALGORITHM})
    return SigningKey(id=kid, public=key.as_dict(private=False), created_at=at, signs_from=at if signs else None, signs_until=None,
                      sealed=seal(settings.secret_keys, _purpose(kid), json.dumps(key.as_dict(private=True))))


def _purpose(kid: str) -> str:
    return f"signing key, {kid}"
