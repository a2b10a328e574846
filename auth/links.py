"""Dynamic links: a merchant vouches for one customer. One click within 24 hours, once; revocable.

A link that is returned to a program and one that is mailed are two tokens, so that neither burns the other.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select, update

from auth import budgets, tokens
from auth.models import DynamicLink, Grant
from billing.parties import Business, Customer
from core import clock, i18n, ids
from core.db import Database, ScopedSession
from core.outbox import emit
from core.scope import Actor, everything
from core.settings import Settings

LIFE = timedelta(hours=24)
_PURPOSE = "portal-link"


def create_dynamic_link(
    db: ScopedSession, business_id: str, customer_id: str, *, return_url: str | None = None, mailed: bool = False,
    actor: Actor | None = None, settings: Settings | None = None,
) -> tuple[DynamicLink, str]:
    """A new link of a customer and its URL, in the caller's transaction; the caller has loaded the customer through its scope."""
    settings = settings or _settings()
    who, at, link_id = actor or db.scope.actor, clock.wall(), ids.new_id("pls")
    token = tokens.link_token(settings, _PURPOSE, link_id)
    row = DynamicLink(
        id=link_id, business_id=business_id, customer_id=customer_id, token_hash=tokens.hashed(settings, _PURPOSE, token),
        return_url=return_url, mailed=mailed, created_by=f"{who.type}:{who.id or ''}", created_at=at, expires_at=at + LIFE,
    )
    db.add(row)
    db.flush()
    emit(db, "portal_session.created", business_id=business_id, customer_id=customer_id, noun=link_id, data={"mailed": mailed}, actor=who)
    return row, _url(settings, token)


def mail_portal_link(
    db: ScopedSession, business_id: str, customer_id: str, *, return_url: str | None = None, actor: Actor | None = None,
    settings: Settings | None = None, due_at: datetime | None = None,
) -> DynamicLink:
    """A link of its own that goes to the customer's address; the worker writes the letter after the commit."""
    row, _ = create_dynamic_link(db, business_id, customer_id, return_url=return_url, mailed=True, actor=actor, settings=settings)
    emit(db, "portal_link.asked", business_id=business_id, customer_id=customer_id, noun=row.id, data={"link_id": row.id}, actor=actor,
         due_at=due_at)
    return row


def revoke(db: ScopedSession, business_id: str, link_id: str) -> bool:
    """Take a link back before it is used. False when there is no such live link of this business."""
    done = db.execute(
        update(DynamicLink).where(
            DynamicLink.id == link_id, DynamicLink.business_id == business_id,
            DynamicLink.used_at.is_(None), DynamicLink.revoked_at.is_(None),
        ).values(revoked_at=clock.wall()), execution_options={"synchronize_session": False},
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def revoke_those_of(db: ScopedSession, business_id: str, maker: str) -> None:
    """Links that this member of staff made to hand on: unused ones open nothing any more, and what used ones opened ends,
    for nobody can tell who used them. Mailed ones went to the customer alone. `db` is the business's."""
    at = clock.wall()
    theirs = (DynamicLink.business_id == business_id, DynamicLink.created_by == f"staff:{maker}", DynamicLink.mailed.is_(False))
    live = select(DynamicLink.id).where(*theirs, DynamicLink.created_at > at - 2 * LIFE)
    db.execute(update(Grant).where(Grant.business_id == business_id, Grant.link_id.in_(live), Grant.revoked_at.is_(None))
               .values(revoked_at=at), execution_options={"synchronize_session": False})
    db.execute(update(DynamicLink).where(*theirs, DynamicLink.used_at.is_(None), DynamicLink.revoked_at.is_(None))
               .values(revoked_at=at), execution_options={"synchronize_session": False})


def revoke_mailed(db: ScopedSession, business_id: str, customer_id: str, before: datetime) -> None:
    """The row has another address: letters that went to the one before open nothing any more, what they opened ends, and their page
    says nothing of the new one. A link that a program or staff handed on stays: they vouch for whom they gave it to."""
    at = clock.wall()
    theirs = (DynamicLink.business_id == business_id, DynamicLink.customer_id == customer_id, DynamicLink.mailed.is_(True),
              DynamicLink.created_at <= before)
    db.execute(update(Grant).where(Grant.business_id == business_id, Grant.link_id.in_(select(DynamicLink.id).where(*theirs)),
                                   Grant.revoked_at.is_(None)).values(revoked_at=at), execution_options={"synchronize_session": False})
    db.execute(update(DynamicLink).where(*theirs, DynamicLink.revoked_at.is_(None)).values(revoked_at=at),
               execution_options={"synchronize_session": False})


def url_of(settings: Settings, link: DynamicLink) -> str:
    """The URL again, for the letter: derived from the row, never stored."""
    return _url(settings, tokens.link_token(settings, _PURPOSE, link.id, link.token_hash))


def by_token(database: Database, settings: Settings, token: str) -> tuple[DynamicLink, Customer, Business] | None:
    """Link, customer and business of a token, live or not. Detached; reading consumes nothing."""
    query = (
        select(DynamicLink, Customer, Business)
        .join(Customer, (Customer.business_id == DynamicLink.business_id) & (Customer.customer_id == DynamicLink.customer_id))
        .join(Business, Business.business_id == DynamicLink.business_id)
        .where(DynamicLink.token_hash.in_(tokens.hashes(settings, _PURPOSE, token)))
    )
    with database.open(everything("look at a merchant's link")) as db:
        row = db.execute(query).first()
        return (row[0], row[1], row[2]) if row else None


def is_live(link: DynamicLink) -> bool:
    return link.used_at is None and link.revoked_at is None and link.expires_at > clock.wall()


def ask_again(database: Database, settings: Settings, link: DynamicLink, address_key: str, source: str | None) -> datetime | None:
    """A fresh link to the address on file, within the address's and the source's budgets. Returns when it is due; None: none is sent."""
    if not budgets.spend(database, budgets.asks(settings, source)):
        return None
    due = budgets.book(database, budgets.letters(settings, address_key))
    if due is None:
        return None
    with database.open(everything("a link ran out"), write=True) as db:
        mail_portal_link(
            db, link.business_id, link.customer_id, return_url=link.return_url, actor=Actor("visitor"), settings=settings, due_at=due,
        )
    return due


def newer_mailed(database: Database, link: DynamicLink) -> bool:
    """Whether the customer was emailed another link since, which still works."""
    query = select(DynamicLink.id).where(
        DynamicLink.business_id == link.business_id, DynamicLink.customer_id == link.customer_id, DynamicLink.mailed.is_(True),
        DynamicLink.created_at > link.created_at, DynamicLink.used_at.is_(None), DynamicLink.revoked_at.is_(None),
        DynamicLink.expires_at > clock.wall())
    with database.open(everything("a newer link")) as db:
        return db.scalar(query.limit(1)) is not None


def _settings() -> Settings:
    """The application's; callers without a request (commands, the worker) have one too."""
    with i18n.in_application() as app:
        settings: Settings = app.extensions["portal"].settings
        return settings


def _url(settings: Settings, token: str) -> str:
    return f"{settings.base_url}/session/{token}"
