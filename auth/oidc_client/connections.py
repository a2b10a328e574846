"""Configuration of a business's own provider.

A changed issuer, client or claim creates a new connection, and the old one's logins and sessions end (safety 6.3). The secret is
encrypted and never shown again.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update

from auth.models import Grant
from auth.oidc_client.models import Connection
from auth.oidc_client.provider_config import secret_purpose
from core import clock, ids
from core.db import ScopedSession
from core.encryption import seal
from core.errors import N_, Conflict, Invalid, NotFound
from core.outbox import emit
from core.outgoing import Outgoing, RequestRefused
from core.settings import Settings

MOST = 200


@dataclass(frozen=True)
class ConnectionForm:
    """Input of the form. An empty secret keeps the stored one."""

    issuer: str
    client_id: str
    client_secret: str
    label: str
    claim: str


def current(db: ScopedSession) -> Connection | None:
    """Return the current connection, or None. `db` is the staff's own session."""
    return db.scalar(select(Connection).where(Connection.removed_at.is_(None)))


def save(db: ScopedSession, settings: Settings, outgoing: Outgoing, business_id: str, form: ConnectionForm) -> Connection:
    """Save the connection. A changed issuer, client or claim replaces it and ends access through the old one. Raises Invalid."""
    form = _checked(outgoing, form)
    old = current(db)
    same = old is not None and (old.issuer, old.client_id, old.claim) == (form.issuer, form.client_id, form.claim)
    if old is not None and same:
        old.label = form.label
        if form.client_secret:
            old.client_secret = _sealed(settings, old, form.client_secret)
        emit(db, "provider.changed", business_id=business_id, noun=old.id, data={"issuer": form.issuer})
        return old
    if not form.client_secret and old is not None and old.client_secret:
        raise Invalid(fields={"client_secret": N_("A different issuer or client has a different secret. Enter it here.")})
    connection = Connection(
        business_id=business_id,
        id=ids.new_id("con"),
        issuer=form.issuer,
        client_id=form.client_id,
        client_secret="",
        label=form.label,
        claim=form.claim,
        is_enabled=False,
        tested_at=None,
        created_at=clock.wall(),
        removed_at=None,
    )
    connection.client_secret = _sealed(settings, connection, form.client_secret) if form.client_secret else ""
    if old is not None:
        _end(db, old)
    db.add(connection)
    emit(db, "provider.changed", business_id=business_id, noun=connection.id, data={"issuer": form.issuer})
    return connection


def switch(db: ScopedSession, on: bool) -> Connection:
    """Enable or disable the connection. Enabling requires a successful test. Raises Conflict, NotFound."""
    item = current(db)
    if item is None:
        raise NotFound()
    if on and item.tested_at is None:
        raise Conflict("NOT_TESTED", N_("Test it first by signing in there yourself."))
    item.is_enabled = on
    emit(db, "provider.switched", business_id=item.business_id, noun=item.id, data={"is_enabled": on})
    return item


def remove(db: ScopedSession) -> Connection:
    item = current(db)
    if item is None:
        raise NotFound()
    _end(db, item)
    emit(db, "provider.removed", business_id=item.business_id, noun=item.id, data={"issuer": item.issuer})
    return item


def _end(db: ScopedSession, connection: Connection) -> None:
    """Remove a connection and revoke all access it proved."""
    connection.removed_at, connection.is_enabled = clock.wall(), False
    db.execute(
        update(Grant)
        .where(Grant.party == f"{connection.business_id}/{connection.id}", Grant.revoked_at.is_(None))
        .values(revoked_at=clock.wall()),
        execution_options={"synchronize_session": False},
    )


def _checked(outgoing: Outgoing, form: ConnectionForm) -> ConnectionForm:
    tidy = ConnectionForm(
        form.issuer.strip(),
        form.client_id.strip(),
        form.client_secret.strip(),
        " ".join(form.label.split())[:60],
        form.claim.strip() or "email",
    )
    errors = {}
    try:
        outgoing.check(tidy.issuer)
    except RequestRefused:
        errors["issuer"] = "Enter the issuer's full URL, starting with https://, exactly as in its discovery document."
    if not 0 < len(tidy.client_id) <= MOST or not tidy.client_id.isprintable():
        errors["client_id"] = "Enter the client ID that your provider created for this portal."
    if len(tidy.client_secret) > 1000 or not tidy.client_secret.isprintable():
        errors["client_secret"] = "Enter a valid client secret."  # noqa: S105
    if not tidy.label or not tidy.label.isprintable():
        errors["label"] = "Enter a name that your customers recognize."
    if len(tidy.claim) > 60 or not tidy.claim.replace("_", "").replace("-", "").replace(".", "").isalnum():
        errors["claim"] = "Enter a claim name such as email or customer_id."
    if errors:
        raise Invalid(fields=errors)
    return tidy


def _sealed(settings: Settings, connection: Connection, secret: str) -> str:
    return seal(settings.secret_keys, secret_purpose(connection.business_id, connection.id), secret)
