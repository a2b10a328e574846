"""Reads a whole account page by page. A page and the cursor are written in one transaction, so an interrupted pull can continue.

Lists are ordered newest first, so new rows would shift the pages. The first pass reads only rows that were created before the pull
began; a second pass reads the rows created since.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select

from billing.imports import Counts
from core import clock
from core.db import ScopedSession
from core.scope import system
from tenants.external.account import ExternalAccount, PullCursor
from tenants.external.read_limits import ReadLimit
from tenants.external.reader import REQUESTS, SECONDS, UNREADABLE, AccountReader
from tenants.external.system import MAX_PAGES, AccountPage, Created, Progress, Resource


@dataclass
class Position:
    """The position of one pass over one resource."""

    until: datetime
    cursor: str | None
    rows: int
    is_done: bool


def pull(reader: AccountReader, report: Progress = lambda name, rows: None) -> Counts:
    """Read everything in the account. Rows that did not change are not written again."""
    until = _begin(reader)
    counts = Counts()
    for resource in reader.system.resources:
        counts += _read(reader, resource, "", report)
    for resource in reader.system.resources:
        if resource.dated:
            counts += _read(reader, resource, "since", report)
    counts += reader.system.finish(reader, report)
    with reader.database.open(system(reader.business_id), write=True) as db:
        account = db.scalar(select(ExternalAccount).where(ExternalAccount.id == reader.origin.system))
        if account is not None:
            account.pulled_at = clock.wall()
            if reader.system.has_events:
                account.events_until, account.events_due_at = account.events_until or until, clock.wall()
        db.execute(
            delete(PullCursor).where(PullCursor.id.startswith(f"{reader.origin.system}:"))
        )  # the next pull starts from the beginning
    return counts


def _begin(reader: AccountReader) -> datetime:
    """Create the cursors, all with the same `until`, and return it. A pull that continues keeps the `until` of its start."""
    at = clock.wall()
    with reader.database.open(system(reader.business_id), write=True) as db:
        known = {row.id: row for row in db.scalars(select(PullCursor).where(PullCursor.id.startswith(f"{reader.origin.system}:")))}
        until = min((row.until for row in known.values()), default=at)
        for resource in reader.system.resources:
            for part in ("", "since"):
                item = f"{reader.origin.system}:{resource.name}:{part}"
                if item not in known:
                    db.add(PullCursor(business_id=reader.business_id, id=item, until=until, page=0, rows=0))
    return until


def _read(reader: AccountReader, resource: Resource, part: str, report: Progress) -> Counts:
    item, counts = f"{reader.origin.system}:{resource.name}:{part}", Counts()
    while True:
        position = _position(reader, item)
        report(resource.name, position.rows)
        if position.is_done:
            return counts
        reader.budget = ReadLimit(REQUESTS, SECONDS)
        page = _page(reader, resource, part, position)
        records = reader.records_of(resource, page.items)

        def advance(db: ScopedSession, page: AccountPage = page) -> None:
            row = db.scalar(select(PullCursor).where(PullCursor.id == item).with_for_update())
            assert row is not None
            row.page, row.rows, row.cursor = row.page + 1, row.rows + len(page.items), page.next
            row.done_at = clock.wall() if page.next is None or row.page >= MAX_PAGES else None

        counts += reader.keep(records, advance)


def _page(reader: AccountReader, resource: Resource, part: str, position: Position) -> AccountPage:
    created = Created()
    if resource.dated:
        created = Created(since=position.until) if part else Created(until=position.until)
    try:
        return reader.wait(lambda: reader.system.page(reader.api, resource, position.cursor, created))  # type: ignore[no-any-return]
    except UNREADABLE as error:
        reader.skip(f"unreadable page: {type(error).__name__}", [resource.name])
        return AccountPage([], None)


def _position(reader: AccountReader, item: str) -> Position:
    with reader.database.open(system(reader.business_id)) as db:
        row = db.scalar(select(PullCursor).where(PullCursor.id == item))
    assert row is not None
    return Position(row.until, row.cursor, row.rows, row.done_at is not None)
