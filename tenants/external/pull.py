"""Reads a whole account page by page. A page and the cursor are written in one transaction, so an interrupted pull can continue.

Lists are ordered newest first, so new rows would shift the pages. The first pass reads only rows that were created before the pull
began; a second pass reads the rows created since.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select

from billing.imports import Counts
from billing.model.lifecycle import LIVE
from billing.model.payments import PaymentMethod
from billing.model.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.scope import system
from tenants.external.account import ExternalAccount, PullCursor, reference
from tenants.external.read_limits import ReadLimit
from tenants.external.reader import REQUESTS, SECONDS, SOURCE, UNREADABLE, AccountReader
from tenants.external.resources import RESOURCES, SIZE, Resource, plain

OVERLAP = timedelta(minutes=5)  # tolerates clock differences
MAX_PAGES = 50_000  # per list, against accounts whose list never ends

Progress = Callable[[str, int], None]
"""Called with the name of the resource and the number of rows read so far."""


@dataclass
class Position:
    """The position of one pass over one resource."""

    until: datetime
    page: int
    rows: int
    is_done: bool


def pull(reader: AccountReader, report: Progress = lambda name, rows: None) -> Counts:
    """Read everything in the account. Rows that did not change are not written again."""
    _begin(reader)
    counts = Counts()
    for resource in RESOURCES:
        counts += _read(reader, resource, "", report)
    for resource in RESOURCES:
        if resource.dated:
            counts += _read(reader, resource, "since", report)
    counts += _methods(reader, report)
    with reader.database.open(system(reader.business_id), write=True) as db:
        account = db.scalar(select(ExternalAccount).where(ExternalAccount.id == SOURCE))
        if account is not None:
            account.pulled_at = clock.wall()
        db.execute(delete(PullCursor).where(PullCursor.id.startswith(f"{SOURCE}:")))  # the next pull starts from the beginning
    return counts


def _begin(reader: AccountReader) -> None:
    """Create the cursors, all with the same `until`. A pull that continues keeps the `until` of its start."""
    at = clock.wall()
    with reader.database.open(system(reader.business_id), write=True) as db:
        known = {row.id: row for row in db.scalars(select(PullCursor).where(PullCursor.id.startswith(f"{SOURCE}:")))}
        until = min((row.until for row in known.values()), default=at)
        for resource in RESOURCES:
            for part in ("", "since"):
                item = f"{SOURCE}:{resource.name}:{part}"
                if item not in known:
                    db.add(PullCursor(business_id=reader.business_id, id=item, until=until, page=0, rows=0))


def _read(reader: AccountReader, resource: Resource, part: str, report: Progress) -> Counts:
    item, counts = f"{SOURCE}:{resource.name}:{part}", Counts()
    while True:
        position = _position(reader, item)
        report(resource.name, position.rows)
        if position.is_done:
            return counts
        reader.budget = ReadLimit(REQUESTS, SECONDS)
        items = _page(reader, resource, part, position)
        records = reader.records_of(resource, items)

        def advance(db: ScopedSession, size: int = len(items)) -> None:
            row = db.scalar(select(PullCursor).where(PullCursor.id == item).with_for_update())
            assert row is not None
            row.page, row.rows = row.page + 1, row.rows + size
            row.done_at = clock.wall() if size < SIZE or row.page >= MAX_PAGES else None

        counts += reader.keep(records, advance)


def _page(reader: AccountReader, resource: Resource, part: str, position: Position) -> list[Any]:
    filters: dict[str, Any] = {"page_number": position.page, "page_size": SIZE}
    if resource.dated:
        filters |= {"created_at_gte": position.until - OVERLAP} if part else {"created_at_lte": position.until}
    try:
        items = reader.wait(lambda: resource.page(reader.api, **filters)).items
        return list(items) if isinstance(items, list | tuple) else []
    except UNREADABLE as error:
        reader.skip(f"unreadable page: {type(error).__name__}", [resource.name])
        return []


def _position(reader: AccountReader, item: str) -> Position:
    with reader.database.open(system(reader.business_id)) as db:
        row = db.scalar(select(PullCursor).where(PullCursor.id == item))
    assert row is not None
    return Position(row.until, row.page, row.rows, row.done_at is not None)


def _methods(reader: AccountReader, report: Progress) -> Counts:
    """Read the payment methods of active subscriptions whose last four digits are unknown."""
    counts, after, seen = Counts(), "", 0
    while True:
        with reader.database.open(system(reader.business_id)) as db:
            rows = db.execute(
                select(PaymentMethod.customer_id).distinct()
                .join(Subscription, (Subscription.business_id == PaymentMethod.business_id)
                      & (Subscription.payment_method_id == PaymentMethod.id))
                .where(PaymentMethod.account_id == reader.origin.account_id, PaymentMethod.last4.is_(None), Subscription.status.in_(LIVE),
                       PaymentMethod.customer_id > after).order_by(PaymentMethod.customer_id).limit(SIZE)
            ).scalars().all()  # fmt: skip
        if not rows:
            return counts
        for customer_id in rows:
            reader.budget = ReadLimit(REQUESTS, SECONDS)
            counts += methods_of(reader, customer_id)
        after, seen = rows[-1], seen + len(rows)
        report("payment methods", seen)


def methods_of(reader: AccountReader, customer_id: str) -> Counts:
    """Read the saved payment methods of one customer: brand, last four digits, expiry. Does nothing if the account has no such customer."""
    from dodopayments import NotFoundError

    external_id = reference(reader.database, reader.business_id, reader.origin, "customer", customer_id)
    if external_id is None:
        return Counts()
    try:
        answer = reader.wait(lambda: reader.api.customers.retrieve_payment_methods(external_id))
        listed = [plain(item) for item in list(answer.items)[:SIZE]]
    except NotFoundError:
        reader.skip("the account no longer has this customer", [external_id])
        return Counts()
    except UNREADABLE as error:
        reader.skip(f"unreadable payment methods: {type(error).__name__}", [external_id])
        return Counts()
    found = [reader.read("payment_method", {**item, "customer_id": external_id}) for item in listed]
    return reader.keep([item for item in found if item is not None])
