"""Find or create the person of a proved address."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from auth.models import Identity, IdentityEmail
from billing.model.parties import Customer
from core import clock, ids
from core.db import Database, ScopedSession
from core.scope import everything


def identity_of(db: ScopedSession, email: str, address_key: str) -> str:
    """Return the person of this proved address, creating one if needed. `db` runs under everything()."""
    query = select(IdentityEmail).where(IdentityEmail.email_key == address_key)
    found = db.scalar(query)
    if found is not None:
        return found.identity_id
    name, locale = _name_and_locale(db, address_key)
    identity_id, at = ids.new_id("idn"), clock.wall()
    try:
        with db.begin_nested():
            db.add(Identity(identity_id=identity_id, name=name, locale=locale, created_at=at))
            db.flush()
            db.add(
                IdentityEmail(
                    identity_id=identity_id, id=ids.new_id("eml"), email=email, email_key=address_key, is_primary=True, verified_at=at
                )
            )
    except IntegrityError:  # two links to the same address were opened at once
        return db.scalars(query).one().identity_id
    return identity_id


def _name_and_locale(db: ScopedSession, address_key: str) -> tuple[str, str | None]:
    """Return name and language from a business the person paid or accepted, never from an unaccepted one."""
    row = db.execute(
        select(Customer.name, Customer.locale)
        .where(Customer.email_key == address_key, Customer.is_recognized, ~Customer.is_declined)
        .order_by(Customer.created_at)
        .limit(1)
    ).first()
    return (row[0], row[1]) if row else ("", None)


def zone_of(database: Database, address_key: str) -> str | None:
    """Return the time zone that the person of this address chose. None: none, or no such person."""
    with database.open(everything("the time zone of an email's recipient")) as db:
        of_address = IdentityEmail.identity_id == Identity.identity_id
        return db.scalar(select(Identity.zone).join(IdentityEmail, of_address).where(IdentityEmail.email_key == address_key))


def set_zone(db: ScopedSession, identity_id: str, zone: str | None) -> None:
    """Set the person's time zone (IANA name) for dates. None means the zone of each business. `db` is the person's own session."""
    db.scalars(select(Identity).where(Identity.identity_id == identity_id)).one().zone = zone


def set_locale(db: ScopedSession, identity_id: str, locale: str | None) -> None:
    """Set the person's language for pages and emails. None means the browser's language. `db` is the person's own session."""
    db.scalars(select(Identity).where(Identity.identity_id == identity_id)).one().locale = locale
