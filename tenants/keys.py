"""A business's API keys. The secret is shown once; what is kept is a keyed hash of it, bound to the deployment's mode."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Index, select
from sqlalchemy.orm import Mapped, mapped_column

from billing.parties import Business
from core import clock
from core.db import Database, ScopedSession
from core.errors import BusinessArchived, NotFound, Unauthorized
from core.ids import keyed_hash, keyed_hashes, new_id, secret_token
from core.models import Base, BusinessOwned
from core.outbox import emit
from core.scope import Scope, api_key, everything
from core.settings import Settings
from core.web import house

USED_EVERY = timedelta(minutes=5)  # how exact `last_used_at` is; a write for every request would cost more than it says


class ApiKey(Base, BusinessOwned):
    """`prefix` is the part that may be shown: enough to tell keys apart, useless to sign in with."""

    __tablename__ = "api_keys"
    __table_args__ = (Index("ix_api_keys_secret", "secret_hash"),)

    name: Mapped[str]
    prefix: Mapped[str]
    secret_hash: Mapped[str]
    read_only: Mapped[bool] = mapped_column(default=False)
    created_by: Mapped[str | None]  # the membership that made it; None: an operator
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


@dataclass(frozen=True)
class Caller:
    """Whose key came with a request."""

    business_id: str
    key_id: str
    read_only: bool

    @property
    def scope(self) -> Scope:
        return api_key(self.business_id, self.key_id)


def new_key(
    db: ScopedSession, business_id: str, name: str, read_only: bool = False, *, settings: Settings | None = None
) -> tuple[ApiKey, str]:
    """Add a key (`settings`: those of the running application, unless given).

    Returns its row and the secret, which exists nowhere else from here on.
    """
    settings = settings or house().settings
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
    """From the next request on the key is nobody's."""
    if key.revoked_at is None:
        key.revoked_at = clock.wall()
        emit(db, "api_key.revoked", business_id=key.business_id, noun=key.id, data={"name": key.name})


def keys_of(db: ScopedSession) -> list[ApiKey]:
    """A business's keys: those in use first, the newest of them at the top. `db` is that business's."""
    return list(db.scalars(select(ApiKey).order_by(ApiKey.revoked_at.is_not(None), ApiKey.created_at.desc(), ApiKey.id).limit(200)))


def find_key(db: ScopedSession, key_id: str) -> ApiKey:
    """One in use, its row locked. Raises NotFound."""
    row = db.scalar(select(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)).with_for_update())
    if row is None:
        raise NotFound(sentence="There is no such API key.")
    return row


def read_key(database: Database, settings: Settings, secret: str) -> Caller:
    """Whose key this is. Raises Unauthorized for an unknown, revoked or other mode's key, BusinessArchived."""
    if not secret.startswith(f"dodo_{settings.mode}_"):
        raise Unauthorized(sentence=f"This is no API key of {settings.mode} mode.")
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
    if key.last_used_at is None or key.last_used_at < clock.wall() - USED_EVERY:
        _note_use(database, caller)
    return caller


def _note_use(database: Database, caller: Caller) -> None:
    with database.open(caller.scope, write=True, repeatable=True) as db:
        row = db.scalar(select(ApiKey).where(ApiKey.id == caller.key_id))
        if row is not None:
            row.last_used_at = clock.wall()


def _purpose(settings: Settings) -> str:
    return f"api key, {settings.mode} mode"
