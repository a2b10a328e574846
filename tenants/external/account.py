"""A business's account at an external billing system: connection, progress of pulls, received webhooks. Keys are stored encrypted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Index, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from billing.model.imported_records import SourceId
from billing.model.provenance import ACCOUNT_PREFIX, Origin
from core import clock
from core.db import Database, ScopedSession
from core.encryption import is_stale, seal, unseal
from core.ids import new_id
from core.models import Base, BusinessOwned
from core.scope import system
from core.settings import Settings


class ExternalAccount(Base, BusinessOwned):
    """`id` is the name of the system, which is `collected_by` of pulled rows; a business has at most one account at each system.

    `account_id` is stored on every row that it may change. `reference` is the account's own id, where the system has one.
    """

    __tablename__ = "external_accounts"

    account_id: Mapped[str]
    base_url: Mapped[str]
    reference: Mapped[str | None]
    key_sealed: Mapped[str]
    webhook_sealed: Mapped[str | None]
    pulled_at: Mapped[datetime | None]
    heard_at: Mapped[datetime | None]  # last time that an answer was stored
    failed_at: Mapped[datetime | None]  # last time that it did not answer or refused access; the reason is in `failure`
    failure: Mapped[str | None]
    events_until: Mapped[datetime | None]  # the account's events up to then were read; None: it keeps no list, or was never pulled
    events_due_at: Mapped[datetime | None]  # when to read the next ones
    created_at: Mapped[datetime]


class PullCursor(Base, BusinessOwned):
    """The progress of reading one resource, of the rows created up to `until`. `id` is system and resource.

    `cursor`: of the next page, in the words of the system; None at the beginning. `page`: how many pages were read.
    """

    __tablename__ = "pull_cursors"

    until: Mapped[datetime]
    cursor: Mapped[str | None]
    page: Mapped[int] = mapped_column(default=0)
    rows: Mapped[int] = mapped_column(default=0)
    done_at: Mapped[datetime | None]


class ExternalWebhook(Base, BusinessOwned):
    """A verified webhook, stored once under its message id (`system/id`). The object itself is read again from the account.

    The rows are the queue of `lanes.py`.
    """

    __tablename__ = "external_webhooks"

    __table_args__ = (Index("ix_external_webhooks_due", "due_at"),)

    type: Mapped[str]
    kind: Mapped[str] = mapped_column(default="")  # type and external id of the object; empty for types that are not stored
    noun: Mapped[str] = mapped_column(default="")
    received_at: Mapped[datetime]
    due_at: Mapped[datetime | None]  # when to read the object from the account; null: done
    attempts: Mapped[int] = mapped_column(default=0)


@dataclass(frozen=True)
class Reach:
    """The connection data of a client. `repr` shows no secret."""

    base_url: str
    api_key: str
    account_id: str = ""

    def __repr__(self) -> str:
        return f"Reach({self.base_url!r})"


def reach(database: Database, settings: Settings, business_id: str, system_name: str) -> Reach | None:
    """Return the connection to the business's account; None without an account."""
    with database.open(system(business_id)) as db:
        row = db.scalar(select(ExternalAccount).where(ExternalAccount.id == system_name))
    if row is None:
        return None
    key = unseal(settings.secret_keys, purpose("key", business_id, system_name), row.key_sealed)
    if is_stale(settings.secret_keys, purpose("key", business_id, system_name), row.key_sealed):
        with database.open(system(business_id), write=True) as db:
            connect(db, settings, business_id, system_name, base_url=row.base_url, api_key=key)
    return Reach(row.base_url, key, row.account_id)


def origin_of(database: Database, business_id: str, system_name: str) -> Origin | None:
    """Return the origin of records from the business's account; None without an account."""
    with database.open(system(business_id)) as db:
        account_id = db.scalar(select(ExternalAccount.account_id).where(ExternalAccount.id == system_name))
    return Origin(account_id, system_name, True) if account_id else None


def reference(database: Database, business_id: str, origin: Origin, kind: str, row_id: str) -> str | None:
    """Return the external id of a row; None if the row did not come from this account."""
    with database.open(system(business_id)) as db:
        return db.scalar(
            select(SourceId.reference).where(SourceId.account_id == origin.account_id, SourceId.kind == kind, SourceId.row_id == row_id)
        )


def webhook_secret(database: Database, settings: Settings, business_id: str, system_name: str) -> str | None:
    with database.open(system(business_id)) as db:
        sealed = db.scalar(select(ExternalAccount.webhook_sealed).where(ExternalAccount.id == system_name))
    return unseal(settings.secret_keys, purpose("webhook", business_id, system_name), sealed) if sealed else None


def connect(
    db: ScopedSession,
    settings: Settings,
    business_id: str,
    system_name: str,
    *,
    base_url: str,
    api_key: str,
    webhook_key: str | None = None,
    reference: str | None = None,
) -> ExternalAccount:
    """Store or update the connection. Without a `webhook_key` or a `reference` the stored one stays.

    A different base URL or reference counts as a different account: it cannot change rows that were pulled from the first one.
    """
    row = db.scalar(select(ExternalAccount).where(ExternalAccount.id == system_name).with_for_update())
    sealed = seal(settings.secret_keys, purpose("key", business_id, system_name), api_key)
    if row is None:
        row = ExternalAccount(
            business_id=business_id,
            id=system_name,
            account_id=new_id(ACCOUNT_PREFIX),
            base_url=base_url,
            key_sealed=sealed,
            created_at=clock.wall(),
        )
        db.add(row)
    elif row.base_url != base_url or (reference and row.reference and row.reference != reference):
        row.account_id = new_id(ACCOUNT_PREFIX)
        row.webhook_sealed = row.events_until = row.events_due_at = row.pulled_at = None
        db.execute(delete(PullCursor).where(PullCursor.id.startswith(f"{system_name}:")))
    row.base_url, row.key_sealed, row.reference = base_url, sealed, reference or row.reference
    if webhook_key:
        row.webhook_sealed = seal(settings.secret_keys, purpose("webhook", business_id, system_name), webhook_key)
    return row


def note_failure(database: Database, business_id: str, system_name: str, reason: str) -> None:
    """Store why a request to the account failed, for the console. Opens its own session."""
    text = reason[:2000].encode("utf-8", "replace").decode().replace("\0", "")
    with database.open(system(business_id), write=True) as db:
        row = db.scalar(select(ExternalAccount).where(ExternalAccount.id == system_name))
        if row is not None:
            row.failed_at, row.failure = clock.wall(), " ".join(text.split())[:300]


def read_events_soon(database: Database, business_id: str, system_name: str) -> None:
    """Have the account's list of events read at once, because a payment was just made there. Opens its own session."""
    with database.open(system(business_id), write=True) as db:
        row = db.scalar(select(ExternalAccount).where(ExternalAccount.id == system_name, ExternalAccount.events_due_at.is_not(None)))
        if row is not None:
            row.events_due_at = clock.wall()


def purpose(kind: str, business_id: str, system_name: str) -> str:
    return f"elsewhere {kind}, {business_id}, {system_name}"
