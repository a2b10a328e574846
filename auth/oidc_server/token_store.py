"""Codes and tokens: random, stored as keyed hashes. Reuse of a single-use code or token ends its family.

A family is an `AppSession`: the code and all tokens issued for it (RFC 9700 §2.1.1, §2.2.2, §4.14.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from authlib.oauth2.rfc6749.errors import InvalidGrantError
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.exc import IntegrityError

from auth import tokens
from auth.models import BrowserSession, Grant
from auth.oidc_server.clients import Client
from auth.oidc_server.models import App, AppSession, AppSubject, AppToken
from auth.oidc_server.subject import DisclosedCustomer, still_theirs
from auth.sessions import IDLE
from billing.model.parties import Customer
from core import clock, ids
from core.db import Database, ScopedSession
from core.scope import everything
from core.settings import Settings

CODE_LIFE, ACCESS_LIFE, FAMILY_LIFE = timedelta(seconds=60), timedelta(minutes=10), timedelta(days=30)
_QUIETLY = {"synchronize_session": False}


@dataclass(frozen=True)
class PresentedToken:
    """A presented token with its family, app and customer row. The methods are Authlib's interface."""

    token: AppToken
    family: AppSession
    app: App
    row: Customer
    is_live: bool

    @property
    def scope(self) -> str:
        return self.token.scope

    def get_scope(self) -> str:
        return self.token.scope

    def check_client(self, client: Client) -> bool:
        return client.client_id == self.app.id

    def is_expired(self) -> bool:
        return self.token.expires_at <= clock.wall()

    def is_revoked(self) -> bool:
        return not self.is_live or self.token.used_at is not None


def begin(
    database: Database,
    settings: Settings,
    client: Client,
    customer: DisclosedCustomer,
    code: str,
    *,
    scope: str,
    redirect_uri: str,
    challenge: str,
    nonce: str | None,
) -> None:
    """Store a code and start its family."""
    at = clock.wall()
    with database.open(everything("store an app code"), write=True) as db:
        db.add(
            AppSession(
                business_id=customer.business_id,
                id=ids.new_id("aps"),
                customer_id=customer.customer_id,
                app_id=client.client_id,
                identity_id=customer.identity_id,
                grant_id=customer.grant_id,
                subject=_subject(db, customer),
                scope=scope,
                is_offline=customer.identity_id is not None and "offline_access" in scope.split(),
                auth_time=customer.auth_time,
                redirect_uri=redirect_uri,
                challenge=challenge,
                nonce=nonce,
                code_hash=tokens.hashed(settings, "app-code", code),
                code_expires_at=at + CODE_LIFE,
                code_used_at=None,
                created_at=at,
                expires_at=at + FAMILY_LIFE,
                ended_at=None,
                left_at=None,
            )
        )


def of_code(database: Database, settings: Settings, client: Client, code: str) -> AppSession | None:
    """Return the family of a usable code, or None. A reused code ends its family."""
    query = select(AppSession).where(
        AppSession.code_hash.in_(tokens.hashes(settings, "app-code", code)),
        AppSession.business_id == client.business_id,
        AppSession.app_id == client.client_id,
    )
    with database.open(everything("find an app code"), write=True) as db:
        item = db.scalar(query)
        if item is None:
            return None
        if item.code_used_at is not None:
            item.ended_at = item.ended_at or clock.wall()
            return None
        return item if item.code_expires_at > clock.wall() and _lives(db, item) else None


def presented_token(database: Database, settings: Settings, text: str | None) -> PresentedToken | None:
    if not text or len(text) > 200:
        return None
    query = (
        select(AppToken, AppSession, App, Customer)
        .join(AppSession, (AppSession.business_id == AppToken.business_id) & (AppSession.id == AppToken.app_session_id))
        .join(App, (App.business_id == AppSession.business_id) & (App.id == AppSession.app_id))
        .join(Customer, (Customer.business_id == AppToken.business_id) & (Customer.customer_id == AppToken.customer_id))
        .where(AppToken.id.in_(tokens.hashes(settings, "app-token", text)))
    )
    with database.open(everything("find an app token")) as db:
        found = db.execute(query).first()
        if found is None:
            return None
        token, family, app, row = found
        return PresentedToken(token, family, app, row, app.removed_at is None and _lives(db, family) and still_theirs(db, family, row))


def issue(database: Database, settings: Settings, given: AppSession | PresentedToken, access: str, refresh: str | None, scope: str) -> None:
    """Consume the code or refresh token and store the new tokens, in one transaction.

    Raises InvalidGrantError if it was used in the meantime, which also ends the family.
    """
    family = given.family if isinstance(given, PresentedToken) else given
    at = clock.wall()
    with database.open(everything("issue app tokens"), write=True) as db:
        mine = db.scalars(
            select(AppSession).where(AppSession.business_id == family.business_id, AppSession.id == family.id).with_for_update()
        ).one()
        is_first = mine.ended_at is None and _use(db, mine, given.token if isinstance(given, PresentedToken) else None)
        if is_first:
            for kind, text, until in (("access", access, at + ACCESS_LIFE), ("refresh", refresh, mine.expires_at)):
                if text:
                    db.add(
                        AppToken(
                            business_id=mine.business_id,
                            id=tokens.hashed(settings, "app-token", text),
                            kind=kind,
                            customer_id=mine.customer_id,
                            app_session_id=mine.id,
                            scope=scope,
                            created_at=at,
                            expires_at=min(until, mine.expires_at),
                            used_at=None,
                        )
                    )
        else:
            mine.ended_at = mine.ended_at or at
    if not is_first:
        raise InvalidGrantError()


def end(database: Database, family: AppSession, *, is_notified: bool = False) -> None:
    """End a family. `is_notified`: the app requested it, so it need not be notified."""
    at = clock.wall()
    with database.open(everything("end a token family"), write=True) as db:
        mine = (AppSession.business_id == family.business_id, AppSession.id == family.id)
        db.execute(update(AppSession).where(*mine, AppSession.ended_at.is_(None)).values(ended_at=at), execution_options=_QUIETLY)
        if is_notified:
            db.execute(update(AppSession).where(*mine, AppSession.left_at.is_(None)).values(left_at=at), execution_options=_QUIETLY)


def grant_lives() -> ColumnElement[bool]:
    """Return the condition, on Grant and BrowserSession, that the grant of a family is still valid."""
    at = clock.wall()
    return (
        Grant.revoked_at.is_(None)
        & (Grant.expires_at > at)
        & BrowserSession.revoked_at.is_(None)
        & (BrowserSession.expires_at > at)
        & (BrowserSession.last_seen_at > at - IDLE)
    )


def _lives(db: ScopedSession, app_session: AppSession) -> bool:
    if app_session.ended_at is not None or app_session.expires_at <= clock.wall():
        return False
    if app_session.is_offline and app_session.code_used_at is not None:
        return True
    query = (
        select(Grant.id).join(BrowserSession, BrowserSession.id == Grant.session_id).where(Grant.id == app_session.grant_id, grant_lives())
    )
    return db.scalar(query) is not None


def _use(db: ScopedSession, family: AppSession, token: AppToken | None) -> bool:
    at = clock.wall()
    if token is None:
        if family.code_used_at is not None:
            return False
        family.code_used_at = at
        return True
    row = db.scalars(select(AppToken).where(AppToken.business_id == token.business_id, AppToken.id == token.id)).one()
    if row.used_at is not None:
        return False
    row.used_at = at
    return True


def _subject(db: ScopedSession, customer: DisclosedCustomer) -> str:
    query = select(AppSubject.id).where(AppSubject.business_id == customer.business_id, AppSubject.customer_id == customer.customer_id)
    found = db.scalar(query)
    if found is not None:
        return found
    try:
        with db.begin_nested():
            app_subject = AppSubject(
                business_id=customer.business_id, id=ids.new_id("sub"), customer_id=customer.customer_id, created_at=clock.wall()
            )
            db.add(app_subject)
        return app_subject.id
    except IntegrityError:  # two windows at the same time
        return db.scalars(query).one()
