"""A person's own logins at providers, in the person's own session."""

from __future__ import annotations

from sqlalchemy import select

from auth import notices
from auth.providers.models import ProviderLogin
from core.db import ScopedSession
from core.errors import NotFound


def of_person(db: ScopedSession) -> list[ProviderLogin]:
    return list(db.scalars(select(ProviderLogin).order_by(ProviderLogin.created_at)))


def remove(db: ScopedSession, login_id: str) -> None:
    one = db.scalar(select(ProviderLogin).where(ProviderLogin.id == login_id))
    if one is None:
        raise NotFound()
    notices.tell(db, one.identity_id, "provider_removed", f"{one.label} ({one.provider.removeprefix('op/')})")
    db.delete(one)
