"""List and remove a person's provider logins, in the person's own session."""

from __future__ import annotations

from sqlalchemy import select, update

from auth import account_emails, tokens
from auth.models import BrowserSession, Grant
from auth.oidc_client.models import ProviderLogin
from core import clock
from core.db import ScopedSession
from core.errors import NotFound
from core.settings import Settings


def of_person(db: ScopedSession) -> list[ProviderLogin]:
    return list(db.scalars(select(ProviderLogin).order_by(ProviderLogin.created_at)))


def remove(db: ScopedSession, settings: Settings, login_id: str, here: str) -> None:
    """Remove a login and sign out the browsers it signed in, except session `here`. Raises NotFound."""
    provider_login = db.scalar(select(ProviderLogin).where(ProviderLogin.id == login_id))
    if provider_login is None:
        raise NotFound()
    account_emails.notify_identity(
        db, provider_login.identity_id, "provider_removed", f"{provider_login.label} ({provider_login.provider.removeprefix('op/')})"
    )
    subject = tokens.hashes(settings, "party-subject", f"{provider_login.provider}\0{provider_login.subject}")
    theirs = select(BrowserSession.id).where(BrowserSession.identity_id == provider_login.identity_id, BrowserSession.id != here)
    db.execute(
        update(Grant)
        .where(Grant.session_id.in_(theirs), Grant.party_subject.in_(subject), Grant.revoked_at.is_(None))
        .values(revoked_at=clock.wall()),
        execution_options={"synchronize_session": False},
    )
    db.delete(provider_login)
