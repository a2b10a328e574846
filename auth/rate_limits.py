"""Rate limits. Counts commit in separate transactions, so that a failed request does not undo them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from auth import tokens
from auth.models import RateLimitCount
from core import clock
from core.address_policy import is_loopback
from core.db import Database, ScopedSession
from core.metrics.instruments import THROTTLED
from core.scope import everything
from core.settings import Settings
from core.transaction_retry import retried

INTERVAL = timedelta(seconds=30)
"""Minimum time between two sign-in emails to one address."""
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FAILURES_A_DAY = 20
ACCEPTANCE_EMAILS_A_DAY = 500
DECIDED = timedelta(days=7)
"""How long the decision for an event is kept: longer than its work is retried."""


@dataclass(frozen=True)
class Limit:
    """`is_spaced`: when used up, the next action is postponed to the end of the window (`book`) instead of dropped."""

    key: str
    at_most: int
    within: timedelta
    is_spaced: bool = False


def emails(settings: Settings, address_key: str, browser: str | None = None) -> list[Limit]:
    """Limits for sign-in emails to one address.

    A browser that signed in with the address before has separate limits, so that others cannot lock its owner out.
    """
    who = tokens.hashed(settings, "address", address_key)[:32] + (f":{browser}" if browser else "")
    return [Limit(f"email:30s:{who}", 1, INTERVAL, is_spaced=True), Limit(f"email:hour:{who}", 5, HOUR), Limit(f"email:day:{who}", 15, DAY)]


def sign_in_requests(settings: Settings, source: str | None) -> list[Limit]:
    where = _source(settings, source)
    return [Limit(f"sign_in:minute:{where}", 10, MINUTE), Limit(f"sign_in:hour:{where}", 60, HOUR)] if where else []


def statements(settings: Settings, source: str | None) -> list[Limit]:
    """Limits for statements that are declared without signing in. Separate from sign-in, so that neither uses up the other."""
    where = _source(settings, source)
    return [Limit(f"statement:minute:{where}", 10, MINUTE), Limit(f"statement:hour:{where}", 60, HOUR)] if where else []


def codes(settings: Settings, source: str | None) -> list[Limit]:
    where = _source(settings, source)
    return [Limit(f"code:hour:{where}", 30, HOUR)] if where else []


def failures(settings: Settings, address_key: str) -> Limit:
    return Limit(f"failed:{tokens.hashed(settings, 'address', address_key)[:32]}", FAILURES_A_DAY, DAY)


def unknown_address_emails(settings: Settings, address_key: str) -> list[Limit]:
    """Limits for "No purchases under this address" emails: one in 7 days per address, 100 an hour in total."""
    who = tokens.hashed(settings, "address", address_key)[:32]
    return [Limit("unknown:all", 100, HOUR), Limit(f"unknown:{who}", 1, timedelta(days=7))]


def logouts(database: Database, settings: Settings, party: str, source: str | None) -> list[Limit]:
    """Limits for invalid logout tokens: per source, and per provider from all sources.

    A source that sent a valid token for this provider within a week is exempt from the second limit, so that attackers cannot
    block the provider.
    """
    where = _source(settings, source)
    limits = [Limit(f"logout:{where}", 60, MINUTE)] if where else []
    if where and is_spent(database, _sent_valid_logout(party, where)):
        return limits
    return [*limits, Limit(f"logout:of:{party}", 120, MINUTE)]


def accept_logout(database: Database, settings: Settings, party: str, source: str | None, spent: list[Limit]) -> None:
    """Undo the counts of a valid token and remember its source."""
    where = _source(settings, source)
    for item in spent:
        give_back(database, item)
    if where:
        spend(database, [_sent_valid_logout(party, where)])


def _sent_valid_logout(party: str, where: str) -> Limit:
    return Limit(f"logout:true:{party}:{where}", 1, timedelta(days=7))


def acceptance_emails(settings: Settings, address_key: str, business_id: str) -> list[Limit]:
    """Limits for emails of businesses to people who never paid or accepted them.

    Three a day per address for all businesses together, and a daily maximum per business, so that a deployment with open
    registration cannot be used for spam.
    """
    return [
        Limit(f"acceptance:{tokens.hashed(settings, 'address', address_key)[:32]}", 3, DAY),
        Limit(f"acceptance:of:{business_id}", ACCEPTANCE_EMAILS_A_DAY, DAY),
    ]


def discounts(settings: Settings, who: str, source: str | None) -> list[Limit]:
    """Limits for invalid discount codes: per person (`who`) and per source."""
    where = _source(settings, source)
    limits = [Limit(f"discount:hour:{who}", 10, HOUR), Limit(f"discount:day:{who}", 30, DAY)]
    return [*limits, Limit(f"discount:from:{where}", 60, HOUR)] if where else limits


def portal_links(customer_id: str, business_id: str) -> list[Limit]:
    """Limit for portal link emails of accepted businesses: 20 a day per customer."""
    return [Limit(f"portal-links:{business_id}:{customer_id}", 20, DAY)]


@retried
def spend(database: Database, limits: list[Limit]) -> bool:
    """Count one under every limit and return True. If any limit is used up, count nothing and return False."""
    if not limits:
        return True
    with database.open(everything("rate limits"), write=True, repeatable=True) as db:
        rows = [(limit, _row(db, limit)) for limit in sorted(limits, key=lambda item: item.key)]  # one lock order
        if used_up := [limit for limit, row in rows if row.count >= limit.at_most]:
            _count(used_up)
            return False
        for _, row in rows:
            row.count += 1
    return True


@retried
def spend_for(database: Database, event: str, limits: list[Limit]) -> bool:
    """Like `spend`, for the work of one event. Idempotent: a repeat for the same event counts nothing and returns the same."""
    if not limits:
        return True
    with database.open(everything("rate limits"), write=True, repeatable=True) as db:
        decided = _row(db, Limit(f"event:{event}", 1, DECIDED))  # 0: not yet, 1: go ahead, 2: a limit was used up
        if decided.count == 0:
            rows = [(limit, _row(db, limit)) for limit in sorted(limits, key=lambda item: item.key)]  # one lock order
            decided.count = 2 if any(row.count >= limit.at_most for limit, row in rows) else 1
            for _, row in rows:
                row.count += int(decided.count == 1)
        return decided.count == 1


def book(database: Database, limits: list[Limit]) -> datetime | None:
    """Count one under every limit and return when the action is due: now, or when the interval of a spaced limit ends.

    Each booking starts the next interval. Returns None and counts nothing if another limit is used up.
    """
    due = clock.wall()
    if not limits:
        return due
    with database.open(everything("rate limits"), write=True) as db:
        rows = [(limit, _row(db, limit)) for limit in sorted(limits, key=lambda item: item.key)]  # one lock order
        if used_up := [limit for limit, row in rows if row.count >= limit.at_most and not limit.is_spaced]:
            _count(used_up)
            return None
        due = max([due, *(row.window_start + limit.within for limit, row in rows if limit.is_spaced and row.count)])
        for limit, row in rows:
            if limit.is_spaced:
                row.window_start, row.count = due, 1
            else:
                row.count += 1
    return due


def _count(used_up: list[Limit]) -> None:
    """Count for the operators' metrics by the prefix of the key. The rest of the key identifies a person."""
    for kind in {limit.key.partition(":")[0] for limit in used_up}:
        THROTTLED.labels(kind).inc()


def is_spent(database: Database, limit: Limit) -> bool:
    with database.open(everything("rate limits")) as db:
        row = db.scalar(select(RateLimitCount).where(RateLimitCount.key == limit.key))
        return row is not None and row.count >= limit.at_most and row.window_start + limit.within > clock.wall()


def _row(db: ScopedSession, limit: Limit) -> RateLimitCount:
    """Return the counter, locked. Starts a new window if the last one is over."""
    at = clock.wall()
    query = select(RateLimitCount).where(RateLimitCount.key == limit.key).with_for_update()
    row = db.scalar(query)
    if row is None:
        try:
            with db.begin_nested():
                row = RateLimitCount(key=limit.key, window_start=at, count=0)
                db.add(row)
        except IntegrityError:  # another transaction created it first
            row = db.scalars(query).one()
    if row.window_start + limit.within <= at:
        row.window_start, row.count = at, 0
    return row


def is_ourselves(settings: Settings, source: str | None) -> bool:
    """Return whether a loopback test deployment was called from its own machine, where all clients share one source."""
    return _source(settings, source) is None


def source_key(settings: Settings, source: str | None) -> str:
    """Return the hashed key of a client: its IPv4 address, or the /64 network of its IPv6 address."""
    try:
        address = ipaddress.ip_address((source or "").split("%")[0])
    except ValueError:
        return tokens.hashed(settings, "source", str(None))[:32]
    if isinstance(address, ipaddress.IPv6Address):
        return tokens.hashed(settings, "source", str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False)))[:32]
    return tokens.hashed(settings, "source", str(address))[:32]


def _source(settings: Settings, source: str | None) -> str | None:
    """Return `source_key`, or None on a loopback test deployment called from its own machine."""
    if settings.is_test and settings.is_loopback and is_loopback((source or "").split("%")[0]):
        return None
    return source_key(settings, source)


@retried
def give_back(database: Database, limit: Limit) -> None:
    """Uncount one, for an action that turned out not to be a failure."""
    with database.open(everything("rate limits"), write=True, repeatable=True) as db:
        row = _row(db, limit)
        row.count = max(0, row.count - 1)


@retried
def take(database: Database, key: str, count: int, at_most: int, within: timedelta) -> tuple[int, int, datetime]:
    """Take up to `count` of the remainder under `key`. Returns (number taken, total taken, start of the window)."""
    with database.open(everything("rate limits"), write=True, repeatable=True) as db:
        row = _row(db, Limit(key, at_most, within))
        given = max(min(count, at_most - row.count), 0)
        row.count += given
        return given, row.count, row.window_start
