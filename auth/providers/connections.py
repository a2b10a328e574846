"""A business's own provider, as its owners set it up. Another issuer, client or claim is another connection: the old one's
logins and sessions end with it (safety 6.3). The secret is sealed; it is never shown again."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update

from auth.models import Grant
from auth.providers.models import Connection
from auth.providers.parties import secret_purpose
from core import clock, ids
from core.db import ScopedSession
from core.errors import Conflict, Invalid, NotFound
from core.outbox import emit
from core.outgoing import Outgoing, Refused
from core.secrets import seal
from core.settings import Settings

MOST = 200


@dataclass(frozen=True)
class Wish:
    """What the form says. An empty secret keeps the one there is."""

    issuer: str
    client_id: str
    client_secret: str
    label: str
    claim: str


def current(db: ScopedSession) -> Connection | None:
    """In the staff's own session."""
    return db.scalar(select(Connection).where(Connection.removed_at.is_(None)))


def save(db: ScopedSession, settings: Settings, outgoing: Outgoing, business_id: str, wish: Wish) -> Connection:
    """Another issuer, client or claim replaces the connection, and ends what the old one opened. Raises Invalid."""
    wish = _checked(outgoing, wish)
    old = current(db)
    same = old is not None and (old.issuer, old.client_id, old.claim) == (wish.issuer, wish.client_id, wish.claim)
    if old is not None and same:
        old.label = wish.label
        if wish.client_secret:
            old.client_secret = _sealed(settings, old, wish.client_secret)
        emit(db, "provider.changed", business_id=business_id, noun=old.id, data={"issuer": wish.issuer})
        return old
    if not wish.client_secret and old is not None and old.client_secret:
        raise Invalid(fields={"client_secret": "Another issuer or client has another secret: type it here."})
    one = Connection(business_id=business_id, id=ids.new_id("con"), issuer=wish.issuer, client_id=wish.client_id, client_secret="",
                     label=wish.label, claim=wish.claim, is_enabled=False, tested_at=None, created_at=clock.wall(), removed_at=None)
    one.client_secret = _sealed(settings, one, wish.client_secret) if wish.client_secret else ""
    if old is not None:
        _end(db, old)
    db.add(one)
    emit(db, "provider.changed", business_id=business_id, noun=one.id, data={"issuer": wish.issuer})
    return one


def switch(db: ScopedSession, on: bool) -> Connection:
    """Customers see the button once a test went well. Raises Conflict, NotFound."""
    one = current(db)
    if one is None:
        raise NotFound()
    if on and one.tested_at is None:
        raise Conflict("NOT_TESTED", "Test it first: sign in there once yourself.")
    one.is_enabled = on
    emit(db, "provider.switched", business_id=one.business_id, noun=one.id, data={"is_enabled": on})
    return one


def remove(db: ScopedSession) -> Connection:
    one = current(db)
    if one is None:
        raise NotFound()
    _end(db, one)
    emit(db, "provider.removed", business_id=one.business_id, noun=one.id, data={"issuer": one.issuer})
    return one


def _end(db: ScopedSession, one: Connection) -> None:
    """Nothing it proved opens anything any more."""
    one.removed_at, one.is_enabled = clock.wall(), False
    db.execute(update(Grant).where(Grant.party == f"{one.business_id}/{one.id}", Grant.revoked_at.is_(None))
               .values(revoked_at=clock.wall()), execution_options={"synchronize_session": False})


def _checked(outgoing: Outgoing, wish: Wish) -> Wish:
    tidy = Wish(wish.issuer.strip(), wish.client_id.strip(), wish.client_secret.strip(), " ".join(wish.label.split())[:60],
                wish.claim.strip() or "email")
    wrong = {}
    try:
        outgoing.check(tidy.issuer)
    except Refused:
        wrong["issuer"] = "Give the issuer's full address, beginning with https://, as its discovery document writes it."
    if not 0 < len(tidy.client_id) <= MOST or not tidy.client_id.isprintable():
        wrong["client_id"] = "Give the client id that your provider made for this portal."
    if len(tidy.client_secret) > 1000 or not tidy.client_secret.isprintable():
        wrong["client_secret"] = "This is no client secret."  # noqa: S105
    if not tidy.label or not tidy.label.isprintable():
        wrong["label"] = "Give a name that your customers know it by."
    if len(tidy.claim) > 60 or not tidy.claim.replace("_", "").replace("-", "").replace(".", "").isalnum():
        wrong["claim"] = "A claim is a word such as email or customer_id."
    if wrong:
        raise Invalid(fields=wrong)
    return tidy


def _sealed(settings: Settings, one: Connection, secret: str) -> str:
    return seal(settings.secret_keys, secret_purpose(one.business_id, one.id), secret)
