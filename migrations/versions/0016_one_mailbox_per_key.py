"""One mailbox per address key: local parts are compared as written but for ASCII case, no longer case-folded.

Keys of addresses beyond ASCII are computed again from the address as written. Where one key had stood for two mailboxes (`groß@`
and `gross@`), what either of them had proved is ended, since nobody can tell whose proof it was: sessions, passkeys, provider
logins, tokens of apps and copies of personal data of that account. A membership goes to an account of its own address. Also: what
the mail server offers, and when a sign-in email is due.
"""

import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from core.ids import new_id
from core.models import UTCDateTime
from core.rls import statements

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

AT_ONCE = 500


def upgrade() -> None:
    op.create_table(
        "mail_servers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("smtputf8", sa.Boolean(), nullable=False),
        sa.Column("asked_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_servers")),
    )
    op.add_column("challenges", sa.Column("send_at", UTCDateTime(), nullable=True))
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in statements("mail_servers", None):
            connection.exec_driver_sql(statement)
    separate_mailboxes(connection)


def separate_mailboxes(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
    shared, at = sorted(_shared_keys(connection)), datetime.now(UTC)
    for start in range(0, len(shared), AT_ONCE):
        keys = shared[start:start + AT_ONCE]
        holders = _identities(connection, keys, at)
        _memberships(connection, keys, holders, at)
        _customers(connection, keys, holders)
        for name in ("invitations", "account_merges"):
            table = _table(name, "id", "email", "email_key")
            for row in connection.execute(sa.select(table).where(table.c.email_key.in_(keys))).all():
                connection.execute(sa.update(table).where(table.c.id == row.id).values(email_key=_key(row.email, row.email_key)))
        _challenges(connection, keys, at)
    _challenges(connection, None, at)


def _table(name: str, *columns: str) -> sa.TableClause:
    times = ("_at", "_since")
    return sa.table(name, *(sa.column(one, UTCDateTime()) if one.endswith(times) else sa.column(one) for one in columns))


def _key(email: str, old: str) -> str:
    """Return the key of an address. The domain of the old key was already in ASCII."""
    local = unicodedata.normalize("NFC", email.rpartition("@")[0])
    after = [*local[1:], " "]
    lower = "".join(c.lower() if c.isascii() and not unicodedata.combining(next_) else c for c, next_ in zip(local, after))
    return f"{lower}@{old.rpartition('@')[2]}"


def _shared_keys(connection: sa.Connection) -> set[str]:
    """Return the old keys of addresses whose key changes. Only addresses with non-ASCII characters can be affected."""
    found = set()
    for name, key in (("customers", "email_key"), ("identity_emails", "email_key"), ("memberships", "email_key"),
                      ("invitations", "email_key"), ("account_merges", "email_key"), ("challenges", "address_key")):
        table = _table(name, "email", key, "used_at")
        query = sa.select(table.c.email, table.c[key]).where(_beyond_ascii(connection, table)).distinct()
        if name == "challenges":  # that somebody asked means nothing; that a link was used does
            query = query.where(table.c.used_at.is_not(None))
        for email, old in connection.execute(query):
            if _key(email, old) != old:
                found.add(old)
    return found


def _beyond_ascii(connection: sa.Connection, table: sa.TableClause) -> sa.ColumnElement[bool]:
    octets = (sa.func.octet_length(table.c.email) if connection.dialect.name == "postgresql"
              else sa.func.length(sa.cast(table.c.email, sa.LargeBinary)))
    return octets > sa.func.length(table.c.email)


def _identities(connection: sa.Connection, keys: list[str], at: datetime) -> dict[str, tuple[str, str]]:
    """Return {old key: (identity, its new key)}, after revoking everything that a proof of either mailbox had opened."""
    emails = _table("identity_emails", "identity_id", "id", "email", "email_key")
    holders: dict[str, tuple[str, str]] = {}
    for row in connection.execute(sa.select(emails).where(emails.c.email_key.in_(keys))).all():
        holders[row.email_key] = (row.identity_id, _key(row.email, row.email_key))
        connection.execute(sa.update(emails).where(emails.c.identity_id == row.identity_id, emails.c.id == row.id)
                           .values(email_key=_key(row.email, row.email_key)))
    who = sorted({identity for identity, _ in holders.values()})
    sessions = _table("browser_sessions", "id", "identity_id", "revoked_at")
    grants = _table("session_grants", "session_id", "address_key", "revoked_at")
    apps = _table("app_sessions", "identity_id", "ended_at")
    theirs = sa.select(sessions.c.id).where(sessions.c.identity_id.in_(who))
    for statement in (
        sa.update(grants).where(grants.c.session_id.in_(theirs) | grants.c.address_key.in_(keys), grants.c.revoked_at.is_(None))
        .values(revoked_at=at),
        sa.update(sessions).where(sessions.c.identity_id.in_(who), sessions.c.revoked_at.is_(None)).values(revoked_at=at),
        sa.update(apps).where(apps.c.identity_id.in_(who), apps.c.ended_at.is_(None)).values(ended_at=at),
    ):
        connection.execute(statement)
    for name in ("passkeys", "provider_logins", "person_export_files", "person_exports"):
        table = _table(name, "identity_id")
        connection.execute(sa.delete(table).where(table.c.identity_id.in_(who)))
    return holders


def _memberships(connection: sa.Connection, keys: list[str], holders: dict[str, tuple[str, str]], at: datetime) -> None:
    """Detach memberships whose address is not that of their account; they then belong to the address."""
    table = _table("memberships", "business_id", "id", "identity_id", "email", "email_key", "name")
    made: dict[str, str] = {}
    given: set[tuple[str, str]] = set()
    for row in connection.execute(sa.select(table).where(table.c.email_key.in_(keys)).order_by(table.c.business_id, table.c.id)).all():
        new, identity_id = _key(row.email, row.email_key), row.identity_id
        holder = holders.get(row.email_key)
        if holder is not None and holder[0] == identity_id and holder[1] != new:
            if new not in made:
                made[new] = _new_identity(connection, row.name, row.email, new, at)
            identity_id = made[new] if (row.business_id, new) not in given else new_id("idn")
            given.add((row.business_id, new))
        connection.execute(sa.update(table).where(table.c.business_id == row.business_id, table.c.id == row.id)
                           .values(email_key=new, identity_id=identity_id))


def _new_identity(connection: sa.Connection, name: str, email: str, key: str, at: datetime) -> str:
    identity_id = new_id("idn")
    connection.execute(sa.insert(_table("identities", "identity_id", "name", "created_at")).values(
        identity_id=identity_id, name=name, created_at=at))
    connection.execute(sa.insert(_table("identity_emails", "identity_id", "id", "email", "email_key", "is_primary", "verified_at")).values(
        identity_id=identity_id, id=new_id("eml"), email=email, email_key=key, is_primary=True, verified_at=at))
    return identity_id


def _customers(connection: sa.Connection, keys: list[str], holders: dict[str, tuple[str, str]]) -> None:
    """Keep the account's answers for the row with the account's own address. Payments under the row's address count as well."""
    table = _table("customers", "business_id", "customer_id", "email", "email_key", "known_key", "declined_key", "declined_at",
                   "accepted_at", "first_paid_at", "address_since")
    words = _table("customer_words", "business_id", "customer_id", "word")
    for column in (table.c.known_key, table.c.declined_key):  # of an address that the row had before: nobody can tell which
        connection.execute(sa.update(table).where(column.in_(keys), table.c.email_key.not_in(keys)).values({column.name: None}))
    for row in _rows(connection, table, keys):
        old, new = row.email_key, _key(row.email, row.email_key)
        same = old in holders and holders[old][1] == new
        paid = row.first_paid_at is not None and row.address_since is None
        values: dict[str, Any] = {"email_key": new, "accepted_at": row.accepted_at if same else None}
        if row.known_key is not None:
            values["known_key"] = new if row.known_key == old and (same or paid) else None if row.known_key in keys else row.known_key
        if row.declined_key in keys:
            values |= {"declined_key": new} if same and row.declined_key == old else {"declined_key": None, "declined_at": None}
        mine = (table.c.business_id == row.business_id, table.c.customer_id == row.customer_id)
        connection.execute(sa.update(table).where(*mine).values(**values))
        connection.execute(sa.update(words).where(
            words.c.business_id == row.business_id, words.c.customer_id == row.customer_id, words.c.word == old[:64],
        ).values(word=new[:64]))


def _rows(connection: sa.Connection, table: sa.TableClause, keys: list[str]) -> Iterator[Any]:
    """Yield rows in batches, because a business may have stored the same address very often."""
    order = (table.c.business_id, table.c.customer_id)
    after = ("", "")
    while True:
        found = connection.execute(sa.select(table).where(table.c.email_key.in_(keys), sa.tuple_(*order) > after)
                                   .order_by(*order).limit(AT_ONCE)).all()
        yield from found
        if len(found) < AT_ONCE:
            return
        after = (found[-1].business_id, found[-1].customer_id)


def _challenges(connection: sa.Connection, keys: list[str] | None, at: datetime) -> None:
    """Revoke links that were emailed to one of two mailboxes, and store the new key of each request."""
    table = _table("challenges", "id", "email", "address_key", "used_at", "revoked_at")
    which = table.c.address_key.in_(keys) if keys is not None else _beyond_ascii(connection, table)
    for row in connection.execute(sa.select(table).where(which)).all():
        new = _key(row.email, row.address_key)
        if keys is not None or new != row.address_key:
            connection.execute(sa.update(table).where(table.c.id == row.id).values(
                address_key=new, revoked_at=row.revoked_at or (None if row.used_at else at)))
