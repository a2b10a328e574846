"""API keys of a business. The secret is shown once; only a keyed hash of it is stored. A key works in one mode only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Index, select
from sqlalchemy.orm import Mapped, mapped_column

from auth import access_tokens
from billing.model.parties import Business
from core import clock
from core.db import Database, ScopedSession
from core.errors import N_, BusinessArchived, NotFound, Unauthorized
from core.ids import keyed_hash, keyed_hashes, new_id, secret_token
from core.models import Base, BusinessOwned
from core.outbox import emit
from core.request_context import services
from core.scope import Scope, api_key, everything
from core.settings import Settings

USE_PRECISION = timedelta(minutes=5)  # precision of `last_used_at`: a write per request would be too expensive


class ApiKey(Base, BusinessOwned):
    """An API key. `prefix` is the part of the secret that may be shown to tell keys apart."""

    __tablename__ = "api_keys"
    __table_args__ = (Index("ix_api_keys_secret", "secret_hash"),)

    name: Mapped[str]
    prefix: Mapped[str]
    secret_hash: Mapped[str]
    read_only: Mapped[bool] = mapped_column(default=False)
    created_by: Mapped[str | None]  # membership; null for an operator
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


@dataclass(frozen=True)
class Caller:
    """The business and key of a request."""

    business_id: str
    key_id: str
    read_only: bool

    @property
    def scope(self) -> Scope:
        return api_key(self.business_id, self.key_id)


def new_key(
    db: ScopedSession, business_id: str, name: str, read_only: bool = False, *, settings: Settings | None = None
) -> tuple[ApiKey, str]:
    """Create a key and return its row and secret. The secret is not stored.

    `settings` defaults to those of the running application.
    """
    settings = settings or services().settings
    secret = f"dodo_{settings.mode}_{secret_token()}"
    row = ApiKey(
        business_id=business_id, id=new_id("key"), name=name.strip() or "API key", prefix=secret[:14],
        secret_hash=keyed_hash(settings.secret_keys, _purpose(settings), secret), read_only=read_only, created_at=clock.wall(),
        created_by=db.actor.id if db.actor.type == "staff" else None,
    )  # fmt: skip
    db.add(row)
    emit(db, "api_key.created", business_id=business_id, noun=row.id, data={"name": row.name, "read_only": read_only})
    return row, secret


def revoke_key(db: ScopedSession, key: ApiKey) -> None:
    """Revoke a key, and the customers' tokens that it made, from the next request on. Idempotent."""
    if key.revoked_at is None:
        key.revoked_at = clock.wall()
        access_tokens.revoke_created_by(db, key.business_id, f"api_key:{key.id}")
        emit(db, "api_key.revoked", business_id=key.business_id, noun=key.id, data={"name": key.name})


def keys_of(db: ScopedSession) -> list[ApiKey]:
    """Return the keys of the session's business: active ones first, then newest first."""
    return list(db.scalars(select(ApiKey).order_by(ApiKey.revoked_at.is_not(None), ApiKey.created_at.desc(), ApiKey.id).limit(200)))


def find_key(db: ScopedSession, key_id: str) -> ApiKey:
    """Return an active key with its row locked. Raises NotFound."""
    row = db.scalar(select(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)).with_for_update())
    if row is None:
        raise NotFound(sentence=N_("This API key does not exist."))
    return row


def read_key(database: Database, settings: Settings, secret: str) -> Caller:
    """Return the business and key of a secret.

    Raises Unauthorized for a key that is unknown, revoked or of another mode, and BusinessArchived.
    """
    if not secret.startswith(f"dodo_{settings.mode}_"):
        raise Unauthorized(sentence=f"This is not an API key for {settings.mode} mode.")
    hashes = keyed_hashes(settings.secret_keys, _purpose(settings), secret)
    with database.open(everything(why="api key")) as db:
        found = db.execute(
            select(ApiKey, Business.archived_at)
            .join(Business, Business.business_id == ApiKey.business_id)
            .where(ApiKey.secret_hash.in_(hashes), ApiKey.revoked_at.is_(None))
        ).first()
    if found is None:
        raise Unauthorized(sentence="This API key is not valid.")
    key, archived_at = found
    if archived_at is not None:
        raise BusinessArchived()
    caller = Caller(key.business_id, key.id, key.read_only)
    if key.last_used_at is None or key.last_used_at < clock.wall() - USE_PRECISION:
        _note_use(database, caller)
    return caller


def _note_use(database: Database, caller: Caller) -> None:
    with database.open(caller.scope, write=True, repeatable=True) as db:
        row = db.scalar(select(ApiKey).where(ApiKey.id == caller.key_id))
        if row is not None:
            row.last_used_at = clock.wall()


def _purpose(settings: Settings) -> str:
    return f"api key, {settings.mode} mode"
