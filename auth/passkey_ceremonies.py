"""WebAuthn ceremonies: one-time challenges bound to a browser, and the relying party they are made for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Index, LargeBinary, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth import tokens
from core import clock, ids
from core.db import Database, ScopedSession
from core.models import Base
from core.scope import everything
from core.settings import Settings

LIFE = timedelta(minutes=5)


class PasskeyCeremony(Base):
    """One request to an authenticator. The challenge is public, but works once and only in the same browser."""

    __tablename__ = "passkey_ceremonies"
    __open__ = "open"
    __table_args__ = (Index("ix_passkey_ceremonies_expires", "expires_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    browser_hash: Mapped[str]
    identity_id: Mapped[str | None]  # the person who adds a passkey; None for sign-in
    challenge: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


@dataclass(frozen=True)
class RelyingParty:
    """The relying party that passkeys are bound to. Built from settings, never from the request (safety 2.10)."""

    id: str
    origin: str
    name: str


def relying_party(settings: Settings) -> RelyingParty | None:
    """Return the relying party, or None if browsers do not support passkeys here: an IP address, or http except localhost."""
    host = settings.host.rsplit(":", 1)[0] if not settings.host.startswith("[") else ""
    if not host or host.replace(".", "").isdigit() or not (settings.is_https or host == "localhost"):
        return None
    return RelyingParty(host, settings.base_url, settings.name)


def store(database: Database, settings: Settings, browser: str, challenge: bytes, identity_id: str | None) -> str:
    item, at = ids.new_id("pkc"), clock.wall()
    with database.open(everything("use a passkey ceremony"), write=True) as db:
        db.add(
            PasskeyCeremony(
                id=item,
                browser_hash=tokens.hashed(settings, "browser", browser),
                identity_id=identity_id,
                challenge=challenge,
                expires_at=at + LIFE,
            )
        )
    return item


def consume(db: ScopedSession, settings: Settings, ceremony_id: str, browser: str) -> PasskeyCeremony | None:
    """Consume and return the ceremony. Of parallel calls, only one gets it."""
    at = clock.wall()
    mine = (PasskeyCeremony.id == ceremony_id, PasskeyCeremony.browser_hash.in_(tokens.hashes(settings, "browser", browser)))
    used = db.execute(
        update(PasskeyCeremony).where(*mine, PasskeyCeremony.used_at.is_(None), PasskeyCeremony.expires_at > at).values(used_at=at),
        execution_options={"synchronize_session": False},
    )
    return db.scalar(select(PasskeyCeremony).where(*mine)) if used.rowcount == 1 else None  # type: ignore[attr-defined]
