"""A person's own logins at providers, in the person's own session."""

from __future__ import annotations

from sqlalchemy import select, update

from auth import notices, tokens
from auth.models import BrowserSession, Grant
from auth.providers.models import ProviderLogin
from core import clock
from core.db import ScopedSession
from core.errors import NotFound
from core.settings import Settings


def of_person(db: ScopedSession) -> list[ProviderLogin]:
    return list(db.scalars(select(ProviderLogin).order_by(ProviderLogin.created_at)))


def remove(db: ScopedSession, settings: Settings, login_id: str, here: str) -> None:
    """It signs in no more, and browsers it signed in are signed out, but for the one where this is said (session `here`).
    Raises NotFound."""
    one = db.scalar(select(ProviderLogin).where(ProviderLogin.id == login_id))
    if one is None:
        raise NotFound()
    notices.tell(db, one.identity_id, "provider_removed", f"{one.label} ({one.provider.removeprefix('op/')})")
    subject = tokens.hashes(settings, "party-subject", f"{one.provider}\0{one.subject}")
    theirs = select(BrowserSession.id).where(BrowserSession.identity_id == one.identity_id, BrowserSession.id != here)
    db.execute(update(Grant).where(Grant.session_id.in_(theirs), Grant.party_subject.in_(subject), Grant.revoked_at.is_(None))
               .values(revoked_at=clock.wall()), execution_options={"synchronize_session": False})
    db.delete(one)
