"""What a person allowed an app to learn: one row per app and customer, asked for again when the app wants more."""

from __future__ import annotations

from sqlalchemy import select, update

from auth.provider.clients import Client
from auth.provider.models import AppConsent, AppSession
from auth.provider.who import Who
from billing.parties import Customer
from core import clock, ids
from core.conflicts import retried
from core.db import Database, ScopedSession
from core.errors import NotFound
from core.outbox import emit
from core.scope import Actor, everything

BY_BUSINESS = "sso"


def covers(database: Database, client: Client, who: Who, scope: str) -> bool:
    with database.open(everything("what was allowed before")) as db:
        row = _of(db, client, who)
        return row is not None and _holds(row, who) and set(scope.split()) <= set(row.scopes)


@retried
def give(database: Database, client: Client, who: Who, scope: str) -> None:
    with database.open(everything("somebody lets an app know them"), write=True) as db:
        row = _of(db, client, who, lock=True)
        if row is None:
            row = AppConsent(business_id=who.business_id, id=ids.new_id("cst"), customer_id=who.customer_id, app_id=client.client_id,
                             app_name=client.app.name, scopes=[], given_at=clock.wall(), revoked_at=clock.wall())
            db.add(row)
        before = set(row.scopes) if _holds(row, who) else set()
        row.scopes, row.app_name = sorted(before | set(scope.split())), client.app.name
        row.given_by = who.identity_id or BY_BUSINESS
        row.given_at, row.revoked_at = clock.wall(), None
        emit(db, "app.allowed", business_id=who.business_id, customer_id=who.customer_id, noun=row.app_id, data={"name": row.app_name},
             actor=Actor("customer", who.identity_id or who.customer_id))


def _holds(row: AppConsent, who: Who) -> bool:
    """A business can write any address into a row, and say by its own provider that somebody is in it: what was allowed in either way
    tells nothing of the person who has that address."""
    return row.revoked_at is None and row.given_by == (who.identity_id or BY_BUSINESS)


def of_person(db: ScopedSession) -> list[AppConsent]:
    """In the person's own session: what they allowed and did not take back, the newest first."""
    return list(db.scalars(select(AppConsent).where(AppConsent.revoked_at.is_(None)).order_by(AppConsent.given_at.desc(), AppConsent.id)))


def revoke(db: ScopedSession, consent_id: str) -> AppConsent:
    """In the person's own session: the app learns nothing any more, and what it holds ends. Raises NotFound."""
    row = db.scalar(select(AppConsent).where(AppConsent.id == consent_id, AppConsent.revoked_at.is_(None)))
    if row is None:
        raise NotFound()
    _take_back(db, row)
    return row


def take_all_back(db: ScopedSession, address_keys: list[str], actor: Actor) -> None:
    """What was allowed for the customers of these addresses; `db` runs under everything(). Who has them next is asked anew."""
    theirs = ((Customer.business_id == AppConsent.business_id) & (Customer.customer_id == AppConsent.customer_id)
              & Customer.email_key.in_(address_keys))
    for row in list(db.scalars(select(AppConsent).join(Customer, theirs).where(AppConsent.revoked_at.is_(None)))):
        _take_back(db, row, actor)


def _take_back(db: ScopedSession, row: AppConsent, actor: Actor | None = None) -> None:
    row.revoked_at = clock.wall()
    db.execute(update(AppSession).where(AppSession.business_id == row.business_id, AppSession.customer_id == row.customer_id,
                                        AppSession.app_id == row.app_id, AppSession.ended_at.is_(None)).values(ended_at=clock.wall()),
               execution_options={"synchronize_session": False})
    emit(db, "app.disallowed", business_id=row.business_id, customer_id=row.customer_id, noun=row.app_id, data={"name": row.app_name},
         actor=actor)


def _of(db: ScopedSession, client: Client, who: Who, lock: bool = False) -> AppConsent | None:
    query = select(AppConsent).where(AppConsent.business_id == who.business_id, AppConsent.customer_id == who.customer_id,
                                     AppConsent.app_id == client.client_id)
    return db.scalar(query.with_for_update() if lock else query)
