"""TokenAccess tokens of the customer API: rows that open what a portal link or a session opens, for a program instead of a browser.

A token that a business makes opens one customer of that business. A token made from a session opens what the session opens, and ends
with it. The secret is shown once; only a keyed hash is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, and_, or_, select, update

from auth import sessions, tokens
from auth.models import AccessToken
from auth.sessions import Visit
from auth.visit_rows import Account, rows_of
from billing.model.events import emit_customer_event
from billing.model.parties import Customer
from core import clock, ids
from core.db import Database, ScopedSession
from core.errors import N_, NotFound, Unauthorized
from core.scope import Scope, customer_of, everything, person
from core.settings import Settings

LIFE = timedelta(hours=24)
SEEN_EVERY = timedelta(minutes=10)
RECENT = timedelta(minutes=30)
MOST = 50
PURPOSE = "access-token"
READ, ACT = "read", "act"
Permission = Literal["read", "act"]
_QUIETLY = {"synchronize_session": False}


@dataclass(frozen=True)
class TokenAccess:
    """Who calls. `accounts`: the customer rows that the token opens; `visit`: the session behind it, None if a business vouches.

    `business_id`: the one business of the token; None for a token of a person, which opens all. `vouched_at`: when a program of the
    business made the token for a customer whom it had signed in itself.
    """

    token_id: str
    may_act: bool
    scope: Scope
    accounts: tuple[Account, ...]
    visit: Visit | None
    business_id: str | None
    vouched_at: datetime | None = None
    expires_at: datetime | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether somebody proved within half an hour who calls (safety 2.7).

        For a token that a program of the business made, the business did: with the same key it could make the change itself. A portal
        link proves nothing, because it travels by email.
        """
        if self.visit is not None:
            return sessions.proved_within(self.visit)
        return self.vouched_at is not None and self.vouched_at > clock.wall() - RECENT


@dataclass(frozen=True)
class TokenRow:
    """A row of the list of tokens."""

    id: str
    label: str
    scopes: str
    business_id: str | None
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime


def make_for_customer(
    db: ScopedSession, settings: Settings, business_id: str, customer_id: str, *, may_act: bool = True
) -> tuple[AccessToken, str]:
    """Create a token of one customer, for whom the business vouches. `db` is a session of the business. Raises NotFound."""
    customer = db.scalar(select(Customer).where(Customer.customer_id == customer_id))
    if customer is None:
        raise NotFound()
    creator = f"{db.scope.actor.type}:{db.scope.actor.id or ''}"
    row, secret = _new(settings, may_act, business_id=business_id, customer_id=customer_id, created_by=creator)
    db.add(row)
    emit_customer_event(db, customer, "access_token.created", scopes=row.scopes)
    return row, secret


def make_for_session(
    database: Database,
    settings: Settings,
    visit: Visit,
    business_id: str | None,
    label: str,
    *,
    may_act: bool = True,
    parent: TokenAccess | None = None,
) -> tuple[AccessToken, str]:
    """Create a token of a signed-in person: for everything, or for one business that they buy from.

    `parent`: the token that requests it. The new token ends with it at the latest. A session has at most MOST live tokens: the oldest
    are revoked, but never the parent. Raises NotFound, Unauthorized.
    """
    if visit.identity_id is None or visit.at_domain is not None:
        raise Unauthorized()
    if business_id is not None and sessions.scope_for_business(visit, business_id) is None:
        raise NotFound()
    creator = f"token:{parent.token_id}" if parent else "session"
    row, secret = _new(settings, may_act, session_id=visit.session_id, business_id=business_id, created_by=creator, label=label[:80])
    row.expires_at = min(row.expires_at, parent.expires_at or row.expires_at) if parent else row.expires_at
    with database.open(everything("create an access token"), write=True) as db:
        others = select(AccessToken.id).where(*_live(visit), AccessToken.id != (parent.token_id if parent else ""))
        newest = others.order_by(AccessToken.created_at.desc(), AccessToken.id)
        _end(db, AccessToken.id.in_(list(db.scalars(newest.offset(MOST - (2 if parent else 1))))))
        db.add(row)
        db.flush()
        db.expunge(row)
    return row, secret


def read(database: Database, settings: Settings, secret: str) -> TokenAccess:
    """Return who calls with this token. Raises Unauthorized if it is unknown, expired, revoked or of another mode."""
    found = None
    if secret.startswith(_prefix(settings)):
        with database.open(everything("read an access token")) as db:
            found = db.scalar(
                select(AccessToken).where(
                    AccessToken.token_hash.in_(tokens.hashes(settings, PURPOSE, secret)),
                    AccessToken.revoked_at.is_(None),
                    AccessToken.expires_at > clock.wall(),
                )
            )
            if found is not None:
                db.expunge(found)
    bearer = _bearer(database, found) if found is not None else None
    if found is None or bearer is None:
        raise Unauthorized(sentence=N_("This token is not valid, or it has expired."))
    if found.last_used_at is None or found.last_used_at < clock.wall() - SEEN_EVERY:
        with database.open(everything("record the use of a token"), write=True, repeatable=True) as db:
            used = update(AccessToken).where(AccessToken.id == found.id).values(last_used_at=clock.wall())
            db.execute(used, execution_options=_QUIETLY)
    return bearer


def tokens_of(database: Database, visit: Visit) -> list[TokenRow]:
    """Return the live tokens that were made in this session, newest first."""
    with database.open(everything("list the tokens of a session")) as db:
        query = select(AccessToken).where(*_live(visit)).order_by(AccessToken.created_at.desc(), AccessToken.id).limit(100)
        return [
            TokenRow(row.id, row.label, row.scopes, row.business_id, row.created_at, row.last_used_at, row.expires_at)
            for row in db.scalars(query)
        ]


def revoke(database: Database, visit: Visit, token_id: str) -> bool:
    """Revoke a token that was made in this session. Returns False if there is no such live token."""
    return _revoke(database, *_live(visit), AccessToken.id == token_id) == 1


def revoke_itself(database: Database, bearer: TokenAccess) -> None:
    """Revoke the token that calls: sign a program out. Idempotent."""
    _revoke(database, AccessToken.id == bearer.token_id, AccessToken.revoked_at.is_(None))


def revoke_created_by(db: ScopedSession, business_id: str, creator: str) -> None:
    """Revoke the tokens that an API key or a member of staff made. `creator`: as in `created_by`. `db`: a session of the business."""
    db.execute(
        update(AccessToken)
        .where(AccessToken.business_id == business_id, AccessToken.created_by == creator, AccessToken.revoked_at.is_(None))
        .values(revoked_at=clock.wall()),
        execution_options=_QUIETLY,
    )


def _new(
    settings: Settings,
    may_act: bool,
    *,
    created_by: str,
    label: str = "",
    session_id: str | None = None,
    business_id: str | None = None,
    customer_id: str | None = None,
) -> tuple[AccessToken, str]:
    secret, at = _prefix(settings) + ids.secret_token(), clock.wall()
    row = AccessToken(
        id=ids.new_id("tok"),
        token_hash=tokens.hashed(settings, PURPOSE, secret),
        scopes=f"{READ} {ACT}" if may_act else READ,
        session_id=session_id,
        business_id=business_id,
        customer_id=customer_id,
        created_by=created_by,
        label=label,
        created_at=at,
        expires_at=at + LIFE,
    )
    return row, secret


def _bearer(database: Database, row: AccessToken) -> TokenAccess | None:
    """Return what the token opens now; None if its session has ended or opens the business no longer."""
    may_act = ACT in row.scopes.split()
    if row.session_id is None:
        scope = customer_of(str(row.business_id), str(row.customer_id))
        accounts = rows_of(scope, str(row.business_id))  # as with a portal link, a row that the person declined is closed
        vouched_at = row.created_at if row.created_by.startswith("api_key:") else None
        return TokenAccess(row.id, may_act, scope, tuple(accounts), None, row.business_id, vouched_at, row.expires_at) if accounts else None
    visit = sessions.load_by_id(database, row.session_id)
    if visit is None or visit.identity_id is None:
        return None
    if row.business_id is None:  # as in the unified portal: a business that the person has not accepted is not there
        sessions.scope_for_unified(visit)
        shown = tuple(account for account in visit.customers if not account.is_pending_acceptance)
        pairs = [(account.business_id, account.customer_id) for account in shown]
        return TokenAccess(row.id, may_act, person(visit.identity_id, pairs), shown, visit, None, None, row.expires_at)
    found = sessions.scope_for_business(visit, row.business_id)
    if found is None or visit.link is not None:  # a business's link in that browser does not lend its reach to the token
        return None
    return TokenAccess(row.id, may_act, found, tuple(visit.customers), visit, row.business_id, None, row.expires_at)


def _live(visit: Visit) -> tuple[ColumnElement[bool], ...]:
    at = clock.wall()
    return (AccessToken.session_id == visit.session_id, AccessToken.revoked_at.is_(None), AccessToken.expires_at > at)


def _revoke(database: Database, *which: ColumnElement[bool]) -> int:
    with database.open(everything("revoke an access token"), write=True) as db:
        return _end(db, *which)


def _end(db: ScopedSession, *which: ColumnElement[bool]) -> int:
    """Revoke tokens and those that they made. Returns how many matched, without those that they made."""
    found = db.execute(select(AccessToken.id, AccessToken.session_id).where(*which)).all()
    of_sessions = AccessToken.session_id.in_([row.session_id for row in found if row.session_id])
    made = and_(of_sessions, AccessToken.created_by.in_([f"token:{row.id}" for row in found]), AccessToken.revoked_at.is_(None))
    ended = update(AccessToken).where(or_(AccessToken.id.in_([row.id for row in found]), made)).values(revoked_at=clock.wall())
    db.execute(ended, execution_options=_QUIETLY)
    return len(found)


def _prefix(settings: Settings) -> str:
    return f"portal_{settings.mode}_"
