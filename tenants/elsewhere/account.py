"""A business's account at another billing system: how to reach it, and how far its data was pulled. Keys are kept sealed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Index, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from billing.loaded import SourceId
from billing.provenance import ACCOUNT_PREFIX, Origin
from core import clock
from core.db import Database, ScopedSession
from core.ids import new_id
from core.models import Base, BusinessOwned
from core.scope import system
from core.secrets import is_stale, seal, unseal
from core.settings import Settings


class ElsewhereAccount(Base, BusinessOwned):
    """`id` is the system's name, which is `collected_by` of what was pulled from it. `account_id` is on every row that it may change."""

    __tablename__ = "elsewhere_accounts"

    account_id: Mapped[str]
    base_url: Mapped[str]
    key_sealed: Mapped[str]
    webhook_sealed: Mapped[str | None]
    pulled_at: Mapped[datetime | None]
    heard_at: Mapped[datetime | None]  # it answered, and what it said was kept
    failed_at: Mapped[datetime | None]  # it did not, or would not let us in; why stands in `failure`
    failure: Mapped[str | None]
    created_at: Mapped[datetime]


class PullCursor(Base, BusinessOwned):
    """How far one resource was read: `page` of the rows made until `until` comes next. `id` is system and resource."""

    __tablename__ = "pull_cursors"

    until: Mapped[datetime]
    page: Mapped[int] = mapped_column(default=0)
    rows: Mapped[int] = mapped_column(default=0)
    done_at: Mapped[datetime | None]


class ElsewhereHook(Base, BusinessOwned):
    """A notification that was verified, stored once under its message id (`system/id`). A hint: what is true is read anew.

    The rows are the queue of `lanes.py`.
    """

    __tablename__ = "elsewhere_hooks"

    __table_args__ = (Index("ix_elsewhere_hooks_due", "due_at"),)

    type: Mapped[str]
    kind: Mapped[str] = mapped_column(default="")  # what it is about, and its id there; empty for what is not kept
    noun: Mapped[str] = mapped_column(default="")
    received_at: Mapped[datetime]
    due_at: Mapped[datetime | None]  # when the account is to be asked about it; empty: it was
    attempts: Mapped[int] = mapped_column(default=0)


@dataclass(frozen=True)
class Reach:
    """What a client needs. `repr` shows no secret."""

    base_url: str
    api_key: str
    account_id: str = ""

    def __repr__(self) -> str:
        return f"Reach({self.base_url!r})"


def reach(database: Database, settings: Settings, business_id: str, system_name: str) -> Reach | None:
    """None: this business has no account there."""
    with database.open(system(business_id)) as db:
        row = db.scalar(select(ElsewhereAccount).where(ElsewhereAccount.id == system_name))
    if row is None:
        return None
    key = unseal(settings.secret_keys, _purpose("key", business_id, system_name), row.key_sealed)
    if is_stale(settings.secret_keys, _purpose("key", business_id, system_name), row.key_sealed):
        with database.open(system(business_id), write=True) as db:
            connect(db, settings, business_id, system_name, base_url=row.base_url, api_key=key)
    return Reach(row.base_url, key, row.account_id)


def origin_of(database: Database, business_id: str, system_name: str) -> Origin | None:
    """Whose records they are that this business's account there tells. None: no account."""
    with database.open(system(business_id)) as db:
        account_id = db.scalar(select(ElsewhereAccount.account_id).where(ElsewhereAccount.id == system_name))
    return Origin(account_id, system_name, True) if account_id else None


def reference(database: Database, business_id: str, origin: Origin, kind: str, row_id: str) -> str | None:
    """What the account calls one of our rows. None: the row did not come from this account."""
    with database.open(system(business_id)) as db:
        return db.scalar(select(SourceId.reference).where(SourceId.account_id == origin.account_id, SourceId.kind == kind,
                                                          SourceId.row_id == row_id))


def webhook_secret(database: Database, settings: Settings, business_id: str, system_name: str) -> str | None:
    with database.open(system(business_id)) as db:
        sealed = db.scalar(select(ElsewhereAccount.webhook_sealed).where(ElsewhereAccount.id == system_name))
    return unseal(settings.secret_keys, _purpose("webhook", business_id, system_name), sealed) if sealed else None


def connect(
    db: ScopedSession, settings: Settings, business_id: str, system_name: str, *, base_url: str, api_key: str,
    webhook_key: str | None = None,
) -> ElsewhereAccount:
    """Keep (or renew) how to reach it. Without a `webhook_key` the one that is kept stays.

    Another address is another account: what was pulled from the first one is not the second one's to change.
    """
    row = db.scalar(select(ElsewhereAccount).where(ElsewhereAccount.id == system_name).with_for_update())
    sealed = seal(settings.secret_keys, _purpose("key", business_id, system_name), api_key)
    if row is None:
        row = ElsewhereAccount(business_id=business_id, id=system_name, account_id=new_id(ACCOUNT_PREFIX), base_url=base_url,
                               key_sealed=sealed, created_at=clock.wall())
        db.add(row)
    elif row.base_url != base_url:
        row.account_id = new_id(ACCOUNT_PREFIX)
        db.execute(delete(PullCursor).where(PullCursor.id.startswith(f"{system_name}:")))
    row.base_url, row.key_sealed = base_url, sealed
    if webhook_key:
        row.webhook_sealed = seal(settings.secret_keys, _purpose("webhook", business_id, system_name), webhook_key)
    return row


def note_failure(database: Database, business_id: str, system_name: str, why: str) -> None:
    """Keep why the account could not be asked, for whoever looks: its words as text that can be stored. In a session of its own."""
    why = why[:2000].encode("utf-8", "replace").decode().replace("\0", "")
    with database.open(system(business_id), write=True) as db:
        row = db.scalar(select(ElsewhereAccount).where(ElsewhereAccount.id == system_name))
        if row is not None:
            row.failed_at, row.failure = clock.wall(), " ".join(why.split())[:300]


def _purpose(what: str, business_id: str, system_name: str) -> str:
    return f"elsewhere {what}, {business_id}, {system_name}"
