"""Outcome of each email: one row per email and recipient, without the address and without the text.

The row is written before the first attempt. The email therefore keeps its Message-ID even if keys or host names change, and a
sent email is not sent again if its work is repeated.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import Index, delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.domain_names import BadDomain, ascii_address, ascii_domain
from core.ids import keyed_hash
from core.models import Base
from core.outbox import MAIL_PART, Outbox, emit
from core.scope import Actor, everything

if TYPE_CHECKING:
    from core.db import Database, ScopedSession
    from core.outbox_claims import Work
    from core.settings import Settings

log = structlog.get_logger()

QUEUED, SENT, KEPT, REFUSED, WITHHELD = "queued", "sent", "kept", "refused", "withheld"
KEPT_FOR = timedelta(days=90)
BATCH, ROUNDS = 500, 20
FORMER_NAMES = {
    "external_action_refused": "refused_elsewhere",
    "external_action_unanswered": "unanswered_elsewhere",
    "needs_reconciliation": "money_waits",
}
"""Email name → the name in its key. A renamed email keeps the key of its first name, so that work of an earlier version sends it once."""


class EmailRecord(Base):
    """`id`: a hash of the email's key (event, name, recipient). `kind`: the event type that the email is about.

    `code`: the SMTP reply code of the last attempt; None if no reply came. `deferred_at`: the last deferred attempt, also if the
    email was sent or refused later. `reason` is shown only by command-line tools: the server's text may contain an address.
    """

    __tablename__ = "email_log"
    __table_args__ = (
        Index("ix_email_log_state", "state", "updated_at"),
        Index("ix_email_log_updated", "updated_at"),
        Index("ix_email_log_address", "address_hash", "created_at"),
        Index("ix_email_log_deferred", "deferred_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str]
    kind: Mapped[str]
    business_id: Mapped[str | None]
    address_hash: Mapped[str]
    message_id: Mapped[str]
    state: Mapped[str] = mapped_column(default=QUEUED)  # queued, sent, kept (test mailbox alone), refused, withheld
    reason: Mapped[str | None]
    code: Mapped[int | None]
    attempts: Mapped[int] = mapped_column(default=0)
    deferred_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    @property
    def outcome(self) -> str:
        """The state, or `deferred` while the email will be retried."""
        return outcome_of(self.state, self.deferred_at is not None)


def address_hash(settings: Settings, address: str) -> str:
    """Return the hash that the log stores instead of the address. Test and live mode have different hashes."""
    return keyed_hash(settings.secret_keys, hash_purpose(settings), address_key(address))[:32]


def sweep(database: Database) -> int:
    """Delete rows older than KEPT_FOR in batches. Returns the number of deleted rows."""
    deleted = 0
    for _ in range(ROUNDS):
        old = select(EmailRecord.id).where(EmailRecord.updated_at < clock.wall() - KEPT_FOR).limit(BATCH)
        with database.open(everything("delete old email log rows"), write=True) as db:
            done = db.execute(delete(EmailRecord).where(EmailRecord.id.in_(old)), execution_options={"synchronize_session": False})
            count = int(done.rowcount)  # type: ignore[attr-defined]
        deleted += count
        if count < BATCH:
            break
    return deleted


def begin(database: Database, settings: Settings, key: str, to: str) -> EmailRecord:
    """Return the email's row, detached, and count one more attempt if it is still queued.

    Without a mail server the row moves to its final state `kept`.
    """
    with database.open(everything("send an email"), write=True) as db:
        row = db.get(EmailRecord, _id(key))
        if row is None:
            work = _work(db, key)
            row = _new(settings, key, to, kind=work.type if work else "", business_id=work.business_id if work else None)
            db.add(row)
        if row.state == QUEUED:
            row.attempts, row.updated_at = row.attempts + 1, clock.wall()
            if not settings.mail_server:
                row.state, row.code = KEPT, None
        db.flush()
        db.expunge(row)
        return row


def sent(database: Database, key: str) -> bool:
    """Record that the mail server accepted the email. Returns False if this could not be stored.

    Never raises for that reason, because the email would then be sent again.
    """
    try:
        with database.open(everything("record a sent email"), write=True) as db:
            _end(db, key, SENT, code=250)
    except SQLAlchemyError as problem:
        _log_not_stored(key, SENT, problem)
        return False
    return True


def deferred(database: Database, key: str, code: int | None) -> None:
    """Record that the email will be retried. Never raises if this cannot be stored: the worker uses the mail server's reply."""
    try:
        with database.open(everything("record a deferred email"), write=True) as db:
            row = db.get(EmailRecord, _id(key))
            if row is not None and row.state == QUEUED:
                row.code, row.deferred_at = code, clock.wall()
                row.updated_at = row.deferred_at
    except SQLAlchemyError as problem:
        _log_not_stored(key, "deferred", problem)


def refused(database: Database, key: str, to: str, reason: str, code: int | None = None) -> None:
    """Record a permanent refusal by the mail server and add it once to the activity of the business concerned."""
    log.warning("email refused", event_id=key.partition(":")[0], reason=reason)
    with database.open(everything("record a refused email"), write=True) as db:
        if _end(db, key, REFUSED, reason, code) and (work := _work(db, key)) is not None and work.business_id:
            tell_business(db, work.business_id, work.customer_id, about=work.type, email=to, reason=reason)


def tell_business(db: ScopedSession, business_id: str, customer_id: str | None, *, about: str, email: str, reason: str) -> None:
    emit(
        db,
        "email.refused",
        business_id=business_id,
        customer_id=customer_id,
        actor=Actor("system"),
        data={"about": about, "email": email, "reason": reason},
    )


def withhold(database: Database, settings: Settings, work: Work, to: str, why: str) -> None:
    """Record, once per event, that an email is deliberately not sent.

    `why`: limit, too_late, replaced. The first two are added to the activity of the business concerned.
    """
    key = f"{work.id}:withheld"
    with database.open(everything("record a withheld email"), write=True) as db:
        if db.get(EmailRecord, _id(key)) is not None:
            return
        row = _new(settings, key, to, kind=work.type, business_id=work.business_id)
        row.state, row.reason = WITHHELD, why
        db.add(row)
        if work.business_id and why != "replaced":
            emit(
                db,
                "email.withheld",
                business_id=work.business_id,
                customer_id=work.customer_id,
                actor=Actor("system"),
                data={"about": work.type, "why": why},
            )
    log.warning("email withheld", event_id=work.id, event_type=work.type, why=why)


def outcome_of(state: str, is_deferred: bool) -> str:
    return "deferred" if state == QUEUED and is_deferred else state


def _log_not_stored(key: str, outcome: str, problem: Exception) -> None:
    log.warning("email outcome not stored", event_id=key.partition(":")[0], outcome=outcome, error=type(problem).__name__)


def hash_purpose(settings: Settings) -> str:
    return f"email log, {settings.mode} mode"


def address_key(address: str) -> str:
    """Normalize an address: ASCII domain, ASCII characters in lower case, all other characters unchanged."""
    address = address.strip()
    try:
        address = ascii_address(address)
    except BadDomain:
        pass
    return "".join(item.lower() if item.isascii() else item for item in address)


def _id(key: str) -> str:
    event, *rest = key.split(":", 2)
    if rest:
        rest[0] = FORMER_NAMES.get(rest[0], rest[0])
    return hashlib.sha256(":".join((event, *rest)).encode()).hexdigest()


def _new(settings: Settings, key: str, to: str, *, kind: str, business_id: str | None) -> EmailRecord:
    at = clock.wall()
    return EmailRecord(
        id=_id(key),
        event_id=key.partition(":")[0],
        kind=kind,
        business_id=business_id,
        address_hash=address_hash(settings, to),
        message_id=f"{keyed_hash(settings.secret_keys, 'message-id', key)[:32]}@{ascii_domain(settings.hostname)}",
        state=QUEUED,
        reason=None,
        code=None,
        attempts=0,
        deferred_at=None,
        created_at=at,
        updated_at=at,
    )


def _end(db: Any, key: str, state: str, reason: str | None = None, code: int | None = None) -> bool:
    """Set the final state. Returns False if the row already has one."""
    row = db.get(EmailRecord, _id(key))
    if row is None or row.state != QUEUED:
        return False
    row.state, row.reason, row.code, row.updated_at = state, reason, code, clock.wall()
    return True


def _work(db: Any, key: str) -> Outbox | None:
    """Return the outbox entry of this email; the key begins with its event id."""
    event_id = key.partition(":")[0]
    found: Outbox | None = db.get(Outbox, event_id) or db.get(Outbox, event_id + MAIL_PART)
    return found
