"""Reads the events of an account that happened while no webhook arrived, for systems that keep a list of them.

An event is stored like a webhook under the event's id, so what already arrived as a webhook is not read twice. A page and the cursor are
written in one transaction.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, select

from core import clock
from core.scope import system
from core.services import Services
from tenants.external.account import ExternalAccount, PullCursor, note_failure
from tenants.external.incoming_webhooks import reader_of, store
from tenants.external.reader import UNREADABLE, AccountReader
from tenants.external.system import CallFailed, Hint

EVERY = timedelta(minutes=10)
OVERLAP = timedelta(minutes=10)  # an event may be listed some time after it happened
LATER = timedelta(minutes=5)  # after a failed call
OLDEST = timedelta(days=30)  # no account keeps events for longer
TOO_LATE = "The events of more than 30 days ago are no longer kept. Run the pull again."
MAX_PAGES = 1_000
"""Pages of one reading, against an account whose list never ends."""


def read_page(services: Services, business_id: str, system_name: str) -> bool:
    """Store the next page of events of an account that is due. Returns whether more is due. Raises CallFailed."""
    at, cursor_id = clock.wall(), f"events/{system_name}"
    with services.database.open(system(business_id), write=True) as db:
        account = db.scalar(select(ExternalAccount).where(ExternalAccount.id == system_name, ExternalAccount.events_due_at <= at))
        if account is None:
            return False
        cursor = db.scalar(select(PullCursor).where(PullCursor.id == cursor_id))
        if cursor is None:
            cursor = PullCursor(business_id=business_id, id=cursor_id, until=at, page=0, rows=0)
            db.add(cursor)
        is_too_late = account.events_until is not None and at - account.events_until > OLDEST
        since = max((account.events_until or account.created_at) - OVERLAP, at - OLDEST)
        position, account_id = cursor.cursor, account.account_id
    if is_too_late:
        note_failure(services.database, business_id, system_name, TOO_LATE)
    reader = reader_of(services, business_id, system_name, retries=0)
    if reader is None:
        return False
    try:
        hints, following = _events(reader, since, position)
    except CallFailed:
        with services.database.open(system(business_id), write=True) as db:
            account = db.scalar(select(ExternalAccount).where(ExternalAccount.id == system_name))
            if account is not None:
                account.events_due_at = clock.wall() + LATER
        raise
    with services.database.open(system(business_id), write=True) as db:
        account = db.scalar(select(ExternalAccount).where(ExternalAccount.id == system_name).with_for_update())
        cursor = db.scalar(select(PullCursor).where(PullCursor.id == cursor_id).with_for_update())
        if account is None or cursor is None or account.account_id != account_id:
            return False
        store(db, business_id, system_name, [hint for hint in hints if hint.kind])
        account.heard_at = clock.wall()
        cursor.cursor, cursor.page, cursor.rows = following, cursor.page + 1, cursor.rows + len(hints)
        if following is None or cursor.page >= MAX_PAGES:
            account.events_until, account.events_due_at = cursor.until, clock.wall() + EVERY
            db.execute(delete(PullCursor).where(PullCursor.id == cursor_id))
            return False
    return True


def _events(reader: AccountReader, since: datetime, position: str | None) -> tuple[list[Hint], str | None]:
    try:
        return reader.system.events(reader.api, since, position)
    except UNREADABLE:
        raise CallFailed(502, "The list of events is unreadable.") from None
