"""From a proved address to a person: the first proof makes one."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from auth.models import Identity, IdentityEmail
from billing.parties import Customer
from core import clock, ids
from core.db import ScopedSession


def identity_of(db: ScopedSession, email: str, address_key: str) -> str:
    """The person of this proved address, made now if there is none. `db` runs under everything()."""
    query = select(IdentityEmail).where(IdentityEmail.email_key == address_key)
    found = db.scalar(query)
    if found is not None:
        return found.identity_id
    name, locale = _called(db, address_key)
    identity_id, at = ids.new_id("idn"), clock.wall()
    try:
        with db.begin_nested():
            db.add(Identity(identity_id=identity_id, name=name, locale=locale, created_at=at))
            db.flush()
            db.add(IdentityEmail(
                identity_id=identity_id, id=ids.new_id("eml"), email=email, email_key=address_key, is_primary=True, verified_at=at
            ))
    except IntegrityError:  # two letters of one address, opened at once
        return db.scalars(query).one().identity_id
    return identity_id


def _called(db: ScopedSession, address_key: str) -> tuple[str, str | None]:
    """Name and language from a business this person paid or accepted; never from one that only claims to know them."""
    row = db.execute(
        select(Customer.name, Customer.locale)
        .where(Customer.email_key == address_key, Customer.is_known, ~Customer.is_declined)
        .order_by(Customer.created_at).limit(1)
    ).first()
    return (row[0], row[1]) if row else ("", None)


def lives_in(db: ScopedSession, identity_id: str, zone: str | None) -> None:
    """The time zone (IANA name) in which this person reads dates; None is that of the businesses. `db` is the person's own."""
    db.scalars(select(Identity).where(Identity.identity_id == identity_id)).one().zone = zone


def speaks(db: ScopedSession, identity_id: str, locale: str | None) -> None:
    """The language this person chose for pages and letters; None is that of their browser. `db` is the person's own."""
    db.scalars(select(Identity).where(Identity.identity_id == identity_id)).one().locale = locale
