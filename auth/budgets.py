"""Budgets: how often something may be done. They commit on their own, so that an error answer cannot give them back."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from auth import tokens
from auth.models import Budget
from core import clock
from core.conflicts import retried
from core.db import Database, ScopedSession
from core.reach import is_loopback
from core.scope import everything
from core.settings import Settings

INTERVAL = timedelta(seconds=30)
"""Between two sign-in emails to one address."""
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FAILURES_A_DAY = 20
PLANTED_A_DAY = 500


@dataclass(frozen=True)
class Limit:
    """`is_spaced`: where it is used up, the next one is put off until the window ends (`book`), not dropped."""

    key: str
    at_most: int
    within: timedelta
    is_spaced: bool = False


def letters(settings: Settings, address_key: str, browser: str | None = None) -> list[Limit]:
    """Letters to one address. A browser that signed in with it before has its own: nobody can lock Ada out."""
    who = tokens.hashed(settings, "address", address_key)[:32] + (f":{browser}" if browser else "")
    return [Limit(f"letter:30s:{who}", 1, INTERVAL, is_spaced=True), Limit(f"letter:hour:{who}", 5, HOUR),
            Limit(f"letter:day:{who}", 15, DAY)]


def asks(settings: Settings, source: str | None) -> list[Limit]:
    where = _source(settings, source)
    return [Limit(f"ask:minute:{where}", 10, MINUTE), Limit(f"ask:hour:{where}", 60, HOUR)] if where else []


def codes(settings: Settings, source: str | None) -> list[Limit]:
    where = _source(settings, source)
    return [Limit(f"code:hour:{where}", 30, HOUR)] if where else []


def failures(settings: Settings, address_key: str) -> Limit:
    return Limit(f"failed:{tokens.hashed(settings, 'address', address_key)[:32]}", FAILURES_A_DAY, DAY)


def unknown_letters(settings: Settings, address_key: str) -> list[Limit]:
    """"No purchases under this address": one in 7 days an address, 100 an hour in all."""
    who = tokens.hashed(settings, "address", address_key)[:32]
    return [Limit("unknown:all", 100, HOUR), Limit(f"unknown:{who}", 1, timedelta(days=7))]


def logouts(database: Database, settings: Settings, party: str, source: str | None) -> list[Limit]:
    """Logout tokens that are none: from one source, and for one provider from everywhere. A source that brought a true one for this
    provider within the week is not held by the second, so that nobody can keep a provider's word out."""
    where = _source(settings, source)
    limits = [Limit(f"logout:{where}", 60, MINUTE)] if where else []
    if where and is_spent(database, _brought_a_true_one(party, where)):
        return limits
    return [*limits, Limit(f"logout:of:{party}", 120, MINUTE)]


def true_logout(database: Database, settings: Settings, party: str, source: str | None, spent: list[Limit]) -> None:
    """What was counted is given back, and the source is known from now on."""
    where = _source(settings, source)
    for one in spent:
        give_back(database, one)
    if where:
        spend(database, [_brought_a_true_one(party, where)])


def _brought_a_true_one(party: str, where: str) -> Limit:
    return Limit(f"logout:true:{party}:{where}", 1, timedelta(days=7))


def planted_letters(settings: Settings, address_key: str, business_id: str) -> list[Limit]:
    """Letters of businesses to people who never paid or accepted them: three a day an address, from all of them together, and
    so many a day of one business: a deployment where anybody may begin one is no machine for writing to strangers."""
    return [Limit(f"planted:{tokens.hashed(settings, 'address', address_key)[:32]}", 3, DAY),
            Limit(f"planted:of:{business_id}", PLANTED_A_DAY, DAY)]


def discounts(settings: Settings, who: str, source: str | None) -> list[Limit]:
    """Discount codes that were none: of one person (`who`), and from one source."""
    where = _source(settings, source)
    limits = [Limit(f"discount:hour:{who}", 10, HOUR), Limit(f"discount:day:{who}", 30, DAY)]
    return [*limits, Limit(f"discount:from:{where}", 60, HOUR)] if where else limits


def portal_links(customer_id: str, business_id: str) -> list[Limit]:
    """Letters with a link of a business that is known: as many as one customer can want in a day."""
    return [Limit(f"portal-links:{business_id}:{customer_id}", 20, DAY)]


@retried
def spend(database: Database, limits: list[Limit]) -> bool:
    """Count one under every limit, or, when any of them is used up, under none. True: go ahead."""
    if not limits:
        return True
    with database.open(everything("budgets"), write=True, repeatable=True) as db:
        rows = [(limit, _row(db, limit)) for limit in sorted(limits, key=lambda one: one.key)]  # one lock order
        if any(row.count >= limit.at_most for limit, row in rows):
            return False
        for _, row in rows:
            row.count += 1
    return True


def book(database: Database, limits: list[Limit]) -> datetime | None:
    """Count one under every limit and return when it may be done: now, or when the interval of a spaced limit ends; each one that
    is booked begins the next interval. None, and nothing is counted, where another limit is used up."""
    due = clock.wall()
    if not limits:
        return due
    with database.open(everything("budgets"), write=True) as db:
        rows = [(limit, _row(db, limit)) for limit in sorted(limits, key=lambda one: one.key)]  # one lock order
        if any(row.count >= limit.at_most for limit, row in rows if not limit.is_spaced):
            return None
        due = max([due, *(row.window_start + limit.within for limit, row in rows if limit.is_spaced and row.count)])
        for limit, row in rows:
            if limit.is_spaced:
                row.window_start, row.count = due, 1
            else:
                row.count += 1
    return due


def is_spent(database: Database, limit: Limit) -> bool:
    with database.open(everything("budgets")) as db:
        row = db.scalar(select(Budget).where(Budget.key == limit.key))
        return row is not None and row.count >= limit.at_most and row.window_start + limit.within > clock.wall()


def _row(db: ScopedSession, limit: Limit) -> Budget:
    """The counter, locked, its window begun anew where it was over."""
    at = clock.wall()
    query = select(Budget).where(Budget.key == limit.key).with_for_update()
    row = db.scalar(query)
    if row is None:
        try:
            with db.begin_nested():
                row = Budget(key=limit.key, window_start=at, count=0)
                db.add(row)
        except IntegrityError:  # somebody counted first
            row = db.scalars(query).one()
    if row.window_start + limit.within <= at:
        row.window_start, row.count = at, 0
    return row


def is_ourselves(settings: Settings, source: str | None) -> bool:
    """A loopback test deployment, asked from its own machine: all are one source there."""
    return _source(settings, source) is None


def source_key(settings: Settings, source: str | None) -> str:
    """One client as the budgets count it: an IPv4 address, or the /64 that one line gets with IPv6; hashed."""
    try:
        address = ipaddress.ip_address((source or "").split("%")[0])
    except ValueError:
        return tokens.hashed(settings, "source", str(None))[:32]
    if isinstance(address, ipaddress.IPv6Address):
        return tokens.hashed(settings, "source", str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False)))[:32]
    return tokens.hashed(settings, "source", str(address))[:32]


def _source(settings: Settings, source: str | None) -> str | None:
    """`source_key`, or None on a loopback test deployment asked from its own machine: all are one source there."""
    if settings.is_test and settings.is_loopback and is_loopback((source or "").split("%")[0]):
        return None
    return source_key(settings, source)


@retried
def give_back(database: Database, limit: Limit) -> None:
    """Uncount one: what looked like a failure was none."""
    with database.open(everything("budgets"), write=True, repeatable=True) as db:
        row = _row(db, limit)
        row.count = max(0, row.count - 1)


@retried
def take(database: Database, key: str, count: int, at_most: int, within: timedelta) -> tuple[int, int, datetime]:
    """Up to `count` of what is left under `key`. Returns (how many, how many are gone now, when the window began)."""
    with database.open(everything("budgets"), write=True, repeatable=True) as db:
        row = _row(db, Limit(key, at_most, within))
        given = max(min(count, at_most - row.count), 0)
        row.count += given
        return given, row.count, row.window_start
