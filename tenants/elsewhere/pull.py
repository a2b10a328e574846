"""Reading a whole account, page by page. Each page and how far it came are one transaction, so that a pull which is killed
goes on where it was, and nothing is lost or written twice.

Lists begin with the newest, so a new row would push the others to later pages: the first reading is narrowed to what was
made before it began, a second one asks for what was made since.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select

from billing.commands.loading import Counts
from billing.lifecycle import LIVE
from billing.payments import PaymentMethod
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.scope import system
from tenants.elsewhere.account import ElsewhereAccount, PullCursor, reference
from tenants.elsewhere.budget import Budget
from tenants.elsewhere.reader import ASKS, SECONDS, SOURCE, UNREADABLE, Reader
from tenants.elsewhere.resources import RESOURCES, SIZE, Resource, plain

OVERLAP = timedelta(minutes=5)  # for clocks that differ
MOST_PAGES = 50_000  # of one list: an account whose list never ends is not read without end

Told = Callable[[str, int], None]
"""Hears the resource's name and how many of its rows were read so far."""


@dataclass
class Stand:
    """How far one reading of one resource is."""

    until: datetime
    page: int
    rows: int
    is_done: bool


def pull(reader: Reader, told: Told = lambda name, rows: None) -> Counts:
    """Everything the account has. After a pull that was finished, everything anew: what is the same is not written again."""
    _begin(reader)
    counts = Counts()
    for resource in RESOURCES:
        counts += _read(reader, resource, "", told)
    for resource in RESOURCES:
        if resource.dated:
            counts += _read(reader, resource, "since", told)
    counts += _methods(reader, told)
    with reader.database.open(system(reader.business_id), write=True) as db:
        account = db.scalar(select(ElsewhereAccount).where(ElsewhereAccount.id == SOURCE))
        if account is not None:
            account.pulled_at = clock.wall()
        db.execute(delete(PullCursor).where(PullCursor.id.startswith(f"{SOURCE}:")))  # the next pull begins anew
    return counts


def _begin(reader: Reader) -> None:
    """Every reading is narrowed to the same moment; a pull that goes on keeps the moment at which it began."""
    at = clock.wall()
    with reader.database.open(system(reader.business_id), write=True) as db:
        known = {row.id: row for row in db.scalars(select(PullCursor).where(PullCursor.id.startswith(f"{SOURCE}:")))}
        until = min((row.until for row in known.values()), default=at)
        for resource in RESOURCES:
            for part in ("", "since"):
                one = f"{SOURCE}:{resource.name}:{part}"
                if one not in known:
                    db.add(PullCursor(business_id=reader.business_id, id=one, until=until, page=0, rows=0))


def _read(reader: Reader, resource: Resource, part: str, told: Told) -> Counts:
    one, counts = f"{SOURCE}:{resource.name}:{part}", Counts()
    while True:
        stand = _stand(reader, one)
        told(resource.name, stand.rows)
        if stand.is_done:
            return counts
        reader.budget = Budget(ASKS, SECONDS)
        items = _page(reader, resource, part, stand)
        records = reader.told(resource, items)

        def along(db: ScopedSession, size: int = len(items)) -> None:
            row = db.scalar(select(PullCursor).where(PullCursor.id == one).with_for_update())
            assert row is not None
            row.page, row.rows = row.page + 1, row.rows + size
            row.done_at = clock.wall() if size < SIZE or row.page >= MOST_PAGES else None

        counts += reader.keep(records, along)


def _page(reader: Reader, resource: Resource, part: str, stand: Stand) -> list[Any]:
    narrowed: dict[str, Any] = {"page_number": stand.page, "page_size": SIZE}
    if resource.dated:
        narrowed |= {"created_at_gte": stand.until - OVERLAP} if part else {"created_at_lte": stand.until}
    try:
        items = reader.wait(lambda: resource.page(reader.api, **narrowed)).items
        return list(items) if isinstance(items, list | tuple) else []
    except UNREADABLE as odd:
        reader.left_out(f"a page that is none: {type(odd).__name__}", [resource.name])
        return []


def _stand(reader: Reader, one: str) -> Stand:
    with reader.database.open(system(reader.business_id)) as db:
        row = db.scalar(select(PullCursor).where(PullCursor.id == one))
    assert row is not None
    return Stand(row.until, row.page, row.rows, row.done_at is not None)


def _methods(reader: Reader, told: Told) -> Counts:
    """Cards of running subscriptions of which no payment said the last four."""
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
            reader.budget = Budget(ASKS, SECONDS)
            counts += methods_of(reader, customer_id)
        after, seen = rows[-1], seen + len(rows)
        told("payment methods", seen)


def methods_of(reader: Reader, customer_id: str) -> Counts:
    """What the account says of the saved methods of one of our customers: brand, last four, expiry. Of a customer that it has no
    more it says nothing."""
    from dodopayments import NotFoundError

    theirs = reference(reader.database, reader.business_id, reader.origin, "customer", customer_id)
    if theirs is None:
        return Counts()
    try:
        said = reader.wait(lambda: reader.api.customers.retrieve_payment_methods(theirs))
        listed = [plain(one) for one in list(said.items)[:SIZE]]
    except NotFoundError:
        reader.left_out("the account has no such customer any more", [theirs])
        return Counts()
    except UNREADABLE as odd:
        reader.left_out(f"methods that are none: {type(odd).__name__}", [theirs])
        return Counts()
    found = [reader.read("payment_method", {**one, "customer_id": theirs}) for one in listed]
    return reader.keep([one for one in found if one is not None])
