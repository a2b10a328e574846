"""The origins from which browsers may call the customer API of a business. Cookies are never part of such a call."""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy import Index, UniqueConstraint, delete, select
from sqlalchemy.orm import Mapped

from core import clock, ids
from core.db import Database, ScopedSession
from core.errors import N_, Invalid
from core.models import Base, BusinessOwned
from core.outbox import emit
from core.scope import everything
from core.settings import Settings

MOST = 20
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[0-9]{1,5})?")


class ApiOrigin(Base, BusinessOwned):
    """An origin as browsers send it: scheme, host and port, without a path."""

    __tablename__ = "api_origins"
    __table_args__ = (UniqueConstraint("business_id", "origin"), Index("ix_api_origins_origin", "origin"))

    origin: Mapped[str]
    created_at: Mapped[datetime]


def origins_of(db: ScopedSession) -> list[str]:
    """Return the origins of the session's business, in the order of the alphabet."""
    return list(db.scalars(select(ApiOrigin.origin).order_by(ApiOrigin.origin).limit(MOST)))


def save_origins(db: ScopedSession, settings: Settings, business_id: str, typed: list[str]) -> bool:
    """Replace the origins. Returns whether they changed. Raises Invalid (field api_origins)."""
    wanted = sorted({clean_origin(settings, text) for text in typed if text.strip()})
    if len(wanted) > MOST:
        raise Invalid(fields={"api_origins": N_("Enter at most 20 addresses.")})
    present = origins_of(db)
    if wanted == present:
        return False
    db.execute(delete(ApiOrigin).where(ApiOrigin.origin.not_in(wanted)), execution_options={"synchronize_session": False})
    for origin in wanted:
        if origin not in present:
            db.add(ApiOrigin(business_id=business_id, id=ids.new_id("org"), origin=origin, created_at=clock.wall()))
    emit(db, "business.api_origins_changed", business_id=business_id, noun=business_id, data={"origins": wanted})
    return True


def clean_origin(settings: Settings, text: str) -> str:
    """Return an https origin, in test mode also http on localhost. Raises Invalid (field api_origins)."""
    try:
        parts = urlsplit(text.strip().rstrip("/"))
        host, port = parts.netloc.lower(), parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    is_local = settings.is_test and host.split(":")[0] in ("localhost", "127.0.0.1")
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_local):
        raise Invalid(fields={"api_origins": N_("Enter addresses that begin with https://.")})
    if not _HOST.fullmatch(host) or parts.path or parts.query or parts.fragment or parts.username is not None:
        raise Invalid(fields={"api_origins": N_("Enter only the scheme and the host, such as https://account.example.com.")})
    return f"{parts.scheme}://{host.removesuffix(f':{usual}') if port == usual else host}"


def is_listed(database: Database, origin: str, business_id: str | None = None) -> bool:
    """Return whether the business lists this origin; None: whether any business does, for requests before the token is known."""
    query = select(ApiOrigin.id).where(ApiOrigin.origin == origin).limit(1)
    if business_id is not None:
        query = query.where(ApiOrigin.business_id == business_id)
    with database.open(everything("an origin of a browser")) as db:
        return db.scalar(query) is not None


def may_receive(database: Database, settings: Settings, origin: str, business_id: str | None) -> bool:
    """Return whether a front end may be given tokens: of a business at its own origins, of everything at those of the deployment."""
    return origin in settings.api_origins or (business_id is not None and is_listed(database, origin, business_id))
