"""Portal links: a business vouches for one customer. Each works once within 24 hours and can be revoked.

A link returned by the API and a mailed one have separate tokens, so that using one does not consume the other.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select, update

from auth import rate_limits, tokens
from auth.models import DynamicLink, Grant
from billing.model.parties import Business, Customer
from core import clock, i18n, ids
from core.db import Database, ScopedSession
from core.outbox import emit
from core.scope import Actor, everything
from core.settings import Settings

LIFE = timedelta(hours=24)
_PURPOSE = "portal-link"


def create_dynamic_link(
    db: ScopedSession,
    business_id: str,
    customer_id: str,
    *,
    return_url: str | None = None,
    mailed: bool = False,
    actor: Actor | None = None,
    settings: Settings | None = None,
) -> tuple[DynamicLink, str]:
    """Create a link and return it with its URL, in the caller's transaction. The caller has loaded the customer in its scope."""
    settings = settings or _settings()
    creator, at, link_id = actor or db.scope.actor, clock.wall(), ids.new_id("pls")
    token = tokens.link_token(settings, _PURPOSE, link_id)
    row = DynamicLink(
        id=link_id,
        business_id=business_id,
        customer_id=customer_id,
        token_hash=tokens.hashed(settings, _PURPOSE, token),
        return_url=return_url,
        mailed=mailed,
        created_by=f"{creator.type}:{creator.id or ''}",
        created_at=at,
        expires_at=at + LIFE,
    )
    db.add(row)
    db.flush()
    emit(
        db, "portal_session.created", business_id=business_id, customer_id=customer_id, noun=link_id, data={"mailed": mailed}, actor=creator
    )
    return row, _url(settings, token)


def mail_portal_link(
    db: ScopedSession,
    business_id: str,
    customer_id: str,
    *,
    return_url: str | None = None,
    actor: Actor | None = None,
    settings: Settings | None = None,
    due_at: datetime | None = None,
) -> DynamicLink:
    """Create a separate link and email it to the customer. The worker sends the email after the commit."""
    row, _ = create_dynamic_link(db, business_id, customer_id, return_url=return_url, mailed=True, actor=actor, settings=settings)
    emit(
        db,
        "portal_link.requested",
        business_id=business_id,
        customer_id=customer_id,
        noun=row.id,
        data={"link_id": row.id},
        actor=actor,
        due_at=due_at,
    )
    return row


def revoke(db: ScopedSession, business_id: str, link_id: str) -> bool:
    """Revoke an unused link. Returns False if the business has no such live link."""
    done = db.execute(
        update(DynamicLink)
        .where(
            DynamicLink.id == link_id,
            DynamicLink.business_id == business_id,
            DynamicLink.used_at.is_(None),
            DynamicLink.revoked_at.is_(None),
        )
        .values(revoked_at=clock.wall()),
        execution_options={"synchronize_session": False},
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def revoke_created_by(db: ScopedSession, business_id: str, member_id: str) -> None:
    """Revoke the links that a staff member created, and the access that used ones gave: nobody can tell who used them.

    Mailed links stay, because only the customer got them. `db` is the business's session.
    """
    at = clock.wall()
    theirs = (DynamicLink.business_id == business_id, DynamicLink.created_by == f"staff:{member_id}", DynamicLink.mailed.is_(False))
    live = select(DynamicLink.id).where(*theirs, DynamicLink.created_at > at - 2 * LIFE)
    db.execute(
        update(Grant).where(Grant.business_id == business_id, Grant.link_id.in_(live), Grant.revoked_at.is_(None)).values(revoked_at=at),
        execution_options={"synchronize_session": False},
    )
    db.execute(
        update(DynamicLink).where(*theirs, DynamicLink.used_at.is_(None), DynamicLink.revoked_at.is_(None)).values(revoked_at=at),
        execution_options={"synchronize_session": False},
    )


def revoke_mailed(db: ScopedSession, business_id: str, customer_id: str, before: datetime) -> None:
    """Revoke links mailed to a customer's previous address, and the access they gave. Their page does not show the new address.

    Links handed out by the API or staff stay: the business vouches for the recipient.
    """
    at = clock.wall()
    theirs = (
        DynamicLink.business_id == business_id,
        DynamicLink.customer_id == customer_id,
        DynamicLink.mailed.is_(True),
        DynamicLink.created_at <= before,
    )
    db.execute(
        update(Grant)
        .where(Grant.business_id == business_id, Grant.link_id.in_(select(DynamicLink.id).where(*theirs)), Grant.revoked_at.is_(None))
        .values(revoked_at=at),
        execution_options={"synchronize_session": False},
    )
    db.execute(
        update(DynamicLink).where(*theirs, DynamicLink.revoked_at.is_(None)).values(revoked_at=at),
        execution_options={"synchronize_session": False},
    )


def url_of(settings: Settings, link: DynamicLink) -> str:
    """Return the URL for the email. It is derived from the row and never stored."""
    return _url(settings, tokens.link_token(settings, _PURPOSE, link.id, link.token_hash))


def by_token(database: Database, settings: Settings, token: str) -> tuple[DynamicLink, Customer, Business] | None:
    """Return link, customer and business of a token, live or not, detached. Reading does not consume the link."""
    query = (
        select(DynamicLink, Customer, Business)
        .join(Customer, (Customer.business_id == DynamicLink.business_id) & (Customer.customer_id == DynamicLink.customer_id))
        .join(Business, Business.business_id == DynamicLink.business_id)
        .where(DynamicLink.token_hash.in_(tokens.hashes(settings, _PURPOSE, token)))
    )
    with database.open(everything("view a portal link")) as db:
        row = db.execute(query).first()
        return (row[0], row[1], row[2]) if row else None


def is_live(link: DynamicLink) -> bool:
    return link.used_at is None and link.revoked_at is None and link.expires_at > clock.wall()


def resend(database: Database, settings: Settings, link: DynamicLink, address_key: str, source: str | None) -> datetime | None:
    """Email a new link to the address on file. Returns when it is due, or None if a rate limit is used up."""
    if not rate_limits.spend(database, rate_limits.sign_in_requests(settings, source)):
        return None
    due = rate_limits.book(database, rate_limits.emails(settings, address_key))
    if due is None:
        return None
    with database.open(everything("resend an expired portal link"), write=True) as db:
        mail_portal_link(
            db, link.business_id, link.customer_id, return_url=link.return_url, actor=Actor("visitor"), settings=settings, due_at=due
        )
    return due


def newer_mailed(database: Database, link: DynamicLink) -> bool:
    """Return whether a newer link was emailed to the customer and still works."""
    query = select(DynamicLink.id).where(
        DynamicLink.business_id == link.business_id,
        DynamicLink.customer_id == link.customer_id,
        DynamicLink.mailed.is_(True),
        DynamicLink.created_at > link.created_at,
        DynamicLink.used_at.is_(None),
        DynamicLink.revoked_at.is_(None),
        DynamicLink.expires_at > clock.wall(),
    )
    with database.open(everything("find a newer portal link")) as db:
        return db.scalar(query.limit(1)) is not None


def _settings() -> Settings:
    """Return the application's settings, also outside of requests (commands, the worker)."""
    with i18n.in_application() as app:
        settings: Settings = app.extensions["portal"].settings
        return settings


def _url(settings: Settings, token: str) -> str:
    return f"{settings.base_url}/session/{token}"
