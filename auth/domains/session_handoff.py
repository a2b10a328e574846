"""Sign in at a custom domain: a signed-in visitor gets a code here, exchanged there for a session of that business only.

The session there refers to a grant of the session here. The grant moves along when the session is renewed. Signing out at either
place ends both; the domain notices on the next request.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select, update

from auth import sessions, tokens
from auth.domains.models import Domain, DomainCode, DomainSession
from auth.models import BrowserSession, Grant
from auth.sessions import LIFE, Visit
from core import clock, ids
from core.db import Database
from core.scope import everything
from core.settings import Settings

CODE_LIFE, READ_LIFE = timedelta(seconds=60), timedelta(minutes=10)  # the longer one if the person reads a page first
_QUIETLY = {"synchronize_session": False}


def state_of(settings: Settings, secret: str) -> str:
    """Return the hash by which the portal recognizes the domain's state cookie."""
    return tokens.hashed(settings, "domain-state", secret)


def issue_code(
    database: Database, settings: Settings, domain: Domain, visit: Visit, state: str, next: str, *, life: timedelta = CODE_LIFE
) -> str | None:
    """Return a code for this visit, or None if it does not open that business. Call `sessions.scope_for_business` first."""
    link = visit.link
    unified = [item for item in visit.grants if item.door == "unified"] if visit.addresses and visit.link is None else []
    grant = link or max(unified, key=lambda item: item.proved_at, default=None)
    if grant is None:
        return None
    code = ids.secret_token()
    with database.open(everything("issue a domain code"), write=True) as db:
        db.add(
            DomainCode(
                id=tokens.hashed(settings, "domain-code", code),
                domain_id=domain.id,
                business_id=domain.business_id,
                grant_id=grant.id,
                state=state,
                next=next,
                expires_at=clock.wall() + life,
                used_at=None,
            )
        )
    return code


def exchange(database: Database, settings: Settings, domain: Domain, code: str, state: str) -> tuple[str, str] | None:
    """Return (cookie secret, destination), or None if the code is used, expired, or from another browser."""
    at = clock.wall()
    mine = (DomainCode.id.in_(tokens.hashes(settings, "domain-code", code)), DomainCode.domain_id == domain.id, DomainCode.state == state)
    with database.open(everything("exchange a domain code"), write=True) as db:
        used = db.execute(
            update(DomainCode).where(*mine, DomainCode.used_at.is_(None), DomainCode.expires_at > at).values(used_at=at),
            execution_options=_QUIETLY,
        )
        if used.rowcount != 1:  # type: ignore[attr-defined]
            return None
        row = db.scalars(select(DomainCode).where(*mine)).one()
        secret = ids.secret_token()
        db.add(
            DomainSession(
                id=tokens.hashed(settings, "domain-session", secret),
                domain_id=domain.id,
                business_id=domain.business_id,
                grant_id=row.grant_id,
                created_at=at,
                expires_at=at + LIFE,
            )
        )
        return secret, row.next


def visit_at(database: Database, settings: Settings, domain: Domain, secret: str | None) -> Visit | None:
    """Return the visit at that domain: the rows of that business, never the person (no addresses, devices, passkeys, export)."""
    if not secret:
        return None
    with database.open(everything("load a domain session")) as db:
        row = db.scalar(
            select(DomainSession).where(
                DomainSession.id.in_(tokens.hashes(settings, "domain-session", secret)),
                DomainSession.domain_id == domain.id,
                DomainSession.expires_at > clock.wall(),
            )
        )
    found = sessions.load_by_grant(database, row.grant_id) if row is not None else None
    if found is None or row is None:
        return None
    grant = next((item for item in found.grants if item.id == row.grant_id), None)
    if grant is None:
        return None
    is_person = grant.door == "unified"
    return Visit(
        session_id=found.session_id,
        identity_id=None,
        created_at=found.created_at,
        proved_at=found.proved_at if is_person and sessions.proved_within(found) else None,
        addresses=found.addresses if is_person else (),
        grants=(grant,),
        locale=found.locale,
        zone=found.zone,
        at_domain=domain.id,
    )


def sweep(database: Database) -> None:
    """Delete expired codes and sessions."""
    at = clock.wall()
    lives = (
        select(Grant.id)
        .join(BrowserSession, BrowserSession.id == Grant.session_id)
        .where(Grant.revoked_at.is_(None), BrowserSession.revoked_at.is_(None))
    )
    with database.open(everything("delete expired domain sessions"), write=True) as db:
        db.execute(delete(DomainCode).where(DomainCode.expires_at < at), execution_options=_QUIETLY)
        db.execute(
            delete(DomainSession).where((DomainSession.expires_at < at) | DomainSession.grant_id.not_in(lives)), execution_options=_QUIETLY
        )
