"""Sign-in and sign-out: create a session from a proof, and end sessions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from auth import account_emails, challenges, tokens
from auth.identities import identity_of
from auth.models import AccessToken, BrowserSession, Challenge, DynamicLink, Grant
from auth.sessions import LIFE, LINK_LIFE, Visit
from core import clock, ids
from core.db import Database, ScopedSession
from core.scope import everything
from core.settings import Settings
from core.transaction_retry import retried

_QUIETLY = {"synchronize_session": False}
Joins = Callable[[ScopedSession, str], None]


@retried
def sign_in(
    database: Database,
    settings: Settings,
    challenge: Challenge,
    before: Visit | None,
    device: str,
    *,
    is_known: bool = True,
    joins: Joins | None = None,
) -> str | None:
    """Consume the challenge and open a new session. Returns the cookie secret, or None if the challenge was already used.

    `joins(db, identity_id)` runs in the same transaction, to link a provider account.
    """
    with database.open(everything("sign in by email"), write=True) as db:
        if not challenges.consume(db, challenge):
            return None
        identity_id = identity_of(db, challenge.email, challenge.address_key)
        if joins is not None:
            joins(db, identity_id)
        return open_session(
            db, settings, identity_id, before, device, sign_in_method="email", address_key=challenge.address_key, is_known=is_known
        )


def open_session(
    db: ScopedSession,
    settings: Settings,
    identity_id: str,
    before: Visit | None,
    device: str,
    *,
    sign_in_method: str,
    address_key: str | None,
    is_known: bool,
    grant: dict[str, Any] | None = None,
    proved_at: datetime | None = None,
) -> str:
    """Open a session for a proved person, in the caller's transaction (everything()). Returns the cookie secret.

    `address_key`: the address that the proof opens (safety 2.2); None opens the whole person (passkeys, providers linked by the
    main address). `grant`: more columns of the grant. `proved_at`: the time of an earlier proof. Portal link grants of this
    browser move to the new session unless another person was signed in; the old session ends. If the browser is new and the
    person signed in elsewhere before, they are notified.
    """
    secret, at = ids.secret_token(), clock.wall()
    proved = min(proved_at or at, at)
    if not is_known and db.scalar(select(BrowserSession.id).where(BrowserSession.identity_id == identity_id).limit(1)):
        account_emails.notify_identity(db, identity_id, "device", device)
    session = BrowserSession(
        id=ids.new_id("ses"),
        secret_hash=tokens.hashed(settings, "session", secret),
        identity_id=identity_id,
        device=device,
        created_at=at,
        last_seen_at=at,
        expires_at=at + LIFE,
        proved_at=proved,
        sign_in_method=sign_in_method,
    )
    db.add(session)
    db.flush()
    if before is not None:
        _move(db, before, session, identity_id)
    db.add(
        Grant(
            id=ids.new_id("gra"),
            session_id=session.id,
            door="unified",
            sign_in_method=sign_in_method,
            address_key=address_key,
            proved_at=proved,
            expires_at=at + LIFE,
            **(grant or {}),
        )
    )
    return secret


@retried
def add_link_grant(database: Database, settings: Settings, link: DynamicLink, before: Visit | None, device: str) -> tuple[bool, str | None]:
    """Consume a portal link and let this browser see that customer. Returns (success, cookie secret)."""
    at = clock.wall()
    with database.open(everything("redeem a portal link"), write=True) as db:
        used = db.execute(
            update(DynamicLink)
            .where(DynamicLink.id == link.id, DynamicLink.used_at.is_(None), DynamicLink.revoked_at.is_(None), DynamicLink.expires_at > at)
            .values(used_at=at),
            execution_options=_QUIETLY,
        )
        if used.rowcount != 1:  # type: ignore[attr-defined]
            return False, None
        secret = grant_business(
            db,
            settings,
            before,
            device,
            business_id=link.business_id,
            customer_id=link.customer_id,
            sign_in_method="link",
            life=LINK_LIFE,
            link_id=link.id,
            return_url=link.return_url,
        )
    return True, secret


def grant_business(
    db: ScopedSession,
    settings: Settings,
    before: Visit | None,
    device: str,
    *,
    business_id: str,
    customer_id: str,
    sign_in_method: str,
    life: timedelta,
    **more: Any,
) -> str:
    """Let this browser see one customer, vouched for by the business. Returns a new cookie secret.

    Never replaces, links or elevates a person who is signed in here. `more`: more columns of the grant.
    """
    at = clock.wall()
    if before is None:
        secret = ids.secret_token()
        session_id = ids.new_id("ses")
        db.add(
            BrowserSession(
                id=session_id,
                secret_hash=tokens.hashed(settings, "session", secret),
                identity_id=None,
                device=device,
                created_at=at,
                last_seen_at=at,
                expires_at=at + life,
            )
        )
        db.flush()
    else:
        session_id = before.session_id
        secret = new_reference(db, settings, session_id)
        if before.identity_id is None:  # nobody is signed in: the session lives as long as its newest grant
            db.execute(
                update(BrowserSession).where(BrowserSession.id == session_id).values(expires_at=at + life), execution_options=_QUIETLY
            )
    db.add(
        Grant(
            id=ids.new_id("gra"),
            session_id=session_id,
            door="business",
            business_id=business_id,
            customer_id=customer_id,
            sign_in_method=sign_in_method,
            proved_at=at,
            expires_at=at + life,
            **more,
        )
    )
    return secret


def new_reference(db: ScopedSession, settings: Settings, session_id: str) -> str:
    """Give a session a new secret when it gains access, so that the old secret becomes useless. Returns it for the cookie."""
    secret = ids.secret_token()
    db.execute(
        update(BrowserSession).where(BrowserSession.id == session_id).values(secret_hash=tokens.hashed(settings, "session", secret)),
        execution_options=_QUIETLY,
    )
    return secret


def renew_reference(database: Database, settings: Settings, visit: Visit) -> str:
    """Call `new_reference` in a separate transaction, after a command that gave this visit more access."""
    with database.open(everything("renew a session secret"), write=True) as db:
        return new_reference(db, settings, visit.session_id)


@retried
def sign_out(database: Database, visit: Visit, business_id: str | None = None) -> bool:
    """End this browser's session. In a portal opened by a portal link, end only the grants of that link.

    Returns True if the whole session ended, so that the cookie can be deleted.
    """
    at = clock.wall()
    links = [grant for grant in visit.grants if grant.door == "business" and grant.business_id == business_id]
    rest = [grant for grant in visit.grants if grant not in links]
    only_link = bool(business_id and links and rest and (visit.link is not None or not visit.is_person))
    with database.open(everything("sign out"), write=True) as db:
        if only_link:
            db.execute(update(Grant).where(Grant.id.in_([item.id for item in links])).values(revoked_at=at), execution_options=_QUIETLY)
            return False
        db.execute(update(BrowserSession).where(BrowserSession.id == visit.session_id).values(revoked_at=at), execution_options=_QUIETLY)
    return True


def _move(db: ScopedSession, before: Visit, session: BrowserSession, identity_id: str) -> None:
    at = clock.wall()
    if before.identity_id in (None, identity_id):
        for table in (Grant, AccessToken):
            db.execute(
                update(table).where(table.session_id == before.session_id, table.revoked_at.is_(None)).values(session_id=session.id),
                execution_options=_QUIETLY,
            )
    db.execute(update(BrowserSession).where(BrowserSession.id == before.session_id).values(revoked_at=at), execution_options=_QUIETLY)
