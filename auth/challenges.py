"""Asking for a proof of an address. Nothing here looks an address up: the worker does, when it writes the letter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select, update

from auth import budgets, tokens
from auth.models import Challenge
from core import clock, ids
from core.db import Database, ScopedSession
from core.outbox import emit
from core.scope import everything
from core.settings import Settings

LIFE = timedelta(minutes=10)
TRIES = 5
MOST_LIVE = 5


@dataclass(frozen=True)
class Asking:
    """Who asks, for which address, to be let in where. `known`: this browser's number if the address signed in here before."""

    email: str
    address_key: str
    browser: str
    source: str | None
    device: str
    locale: str
    business_id: str | None = None
    next: str = ""
    known: str | None = None
    purpose: str = "sign_in"
    identity_id: str | None = None
    joins: dict[str, Any] | None = None  # a provider's subject that the proof joins


def ask(database: Database, settings: Settings, asking: Asking) -> datetime | None:
    """Write the challenge and leave the email to the worker. Returns when it is due: now, or when the interval after another email to
    the address ends. None: over a budget, no email; the answer is the same."""
    if not budgets.spend(database, budgets.asks(settings, asking.source)):
        return None
    if (waiting := _waiting(database, settings, asking)) is not None:
        return waiting
    due = budgets.book(database, budgets.letters(settings, asking.address_key, asking.known))
    if due is None:
        return None
    at = clock.wall()
    browser_hash = tokens.hashed(settings, "browser", asking.browser)
    challenge_id = ids.new_id("chl")
    with database.open(everything("ask for a proof"), write=True) as db:
        if not _make_room(db, asking, browser_hash):
            return None
        db.execute(
            update(Challenge).where(Challenge.browser_hash == browser_hash, _live(at)).values(revoked_at=at),
            execution_options={"synchronize_session": False},
        )
        db.add(Challenge(
            id=challenge_id, purpose=asking.purpose, browser_hash=browser_hash, identity_id=asking.identity_id,
            address_key=asking.address_key, email=asking.email, door="business" if asking.business_id else "unified",
            business_id=asking.business_id, link_hash=tokens.hashed(settings, "link", tokens.link_token(settings, "link", challenge_id)),
            code_hash=tokens.hashed(settings, "code", f"{challenge_id}:{tokens.code(settings, challenge_id)}"),
            device=asking.device, locale=asking.locale, next=asking.next, joins=asking.joins, created_at=at,
            send_at=due, expires_at=due + LIFE,
        ))
        emit(db, "auth.challenge_asked", noun=challenge_id, data={"challenge_id": challenge_id}, due_at=due)
    return due


def _waiting(database: Database, settings: Settings, asking: Asking) -> datetime | None:
    """When this browser's email is due that waits already for the same; asking for it again changes nothing."""
    at = clock.wall()
    query = select(Challenge.send_at).where(
        Challenge.browser_hash.in_(tokens.hashes(settings, "browser", asking.browser)), _live(at), Challenge.send_at > at,
        Challenge.address_key == asking.address_key, Challenge.purpose == asking.purpose,
        Challenge.business_id.is_not_distinct_from(asking.business_id), Challenge.next == asking.next,
        Challenge.identity_id.is_not_distinct_from(asking.identity_id)).limit(1)
    if asking.joins is not None:
        return None
    with database.open(everything("an email that waits")) as db:
        return db.scalar(query)


def newer(database: Database, challenge: Challenge) -> Challenge | None:
    """The newer challenge of the same browser and address that replaced this one, if it is still valid."""
    if challenge.revoked_at is None:
        return None
    query = select(Challenge).where(
        Challenge.browser_hash == challenge.browser_hash, Challenge.address_key == challenge.address_key,
        Challenge.purpose == challenge.purpose, Challenge.created_at > challenge.created_at, _live(clock.wall()))
    with database.open(everything("a newer sign-in email")) as db:
        return db.scalar(query.order_by(Challenge.created_at.desc()).limit(1))


def by_link(database: Database, settings: Settings, token: str) -> Challenge | None:
    """The challenge of a link token, live or not. Detached; reading consumes nothing."""
    with database.open(everything("look at a sign-in link")) as db:
        return db.scalar(select(Challenge).where(Challenge.link_hash.in_(tokens.hashes(settings, "link", token))))


def by_id(database: Database, challenge_id: str) -> Challenge | None:
    with database.open(everything("an earlier ask")) as db:
        return db.scalar(select(Challenge).where(Challenge.id == challenge_id))


def of_browser(database: Database, settings: Settings, browser: str) -> Challenge | None:
    """The newest live challenge this browser asked for. Detached."""
    with database.open(everything("the code's challenge")) as db:
        hashes = tokens.hashes(settings, "browser", browser)
        query = select(Challenge).where(Challenge.browser_hash.in_(hashes), _live(clock.wall()))
        return db.scalar(query.order_by(Challenge.created_at.desc()).limit(1))


def is_live(challenge: Challenge) -> bool:
    return challenge.used_at is None and challenge.revoked_at is None and challenge.expires_at > clock.wall()


def asked_here(settings: Settings, challenge: Challenge, browser: str | None) -> bool:
    return browser is not None and challenge.browser_hash in tokens.hashes(settings, "browser", browser)


def try_code(database: Database, settings: Settings, challenge: Challenge | None, typed: str, source: str | None) -> bool:
    """Is it the code? Every try is counted before it is compared, in a transaction of its own.

    False also when a budget is used up: 30 codes an hour a source, 5 tries a challenge, 20 failures a day an address. They are
    spent only where a code could be right: on a live challenge with tries left.
    """
    if challenge is None or not is_live(challenge) or not tries_left(challenge):
        return False
    if not budgets.spend(database, budgets.codes(settings, source)):
        return False
    failures = budgets.failures(settings, challenge.address_key)
    if not budgets.spend(database, [failures]):  # taken now, given back below when the code is right
        return False
    with database.open(everything("try a code"), write=True) as db:
        counted = db.execute(
            update(Challenge).where(Challenge.id == challenge.id, Challenge.tries < TRIES, _live(clock.wall()))
            .values(tries=Challenge.tries + 1), execution_options={"synchronize_session": False},
        )
        if counted.rowcount != 1:  # type: ignore[attr-defined]
            return False
    right = challenge.code_hash in tokens.hashes(settings, "code", f"{challenge.id}:{tokens.tidy_code(typed)}")
    if right:
        budgets.give_back(database, failures)
    return right


def tries_left(challenge: Challenge | None) -> int:
    return max(0, TRIES - challenge.tries) if challenge else 0


def consume(db: ScopedSession, challenge: Challenge) -> bool:
    """Use it up, atomically: of any number of parallel calls exactly one gets True."""
    at = clock.wall()
    used = db.execute(
        update(Challenge).where(Challenge.id == challenge.id, _live(at)).values(used_at=at),
        execution_options={"synchronize_session": False},
    )
    return bool(used.rowcount == 1)  # type: ignore[attr-defined]


def _live(at: datetime) -> ColumnElement[bool]:
    return Challenge.used_at.is_(None) & Challenge.revoked_at.is_(None) & (Challenge.expires_at > at)


def _make_room(db: ScopedSession, asking: Asking, browser_hash: str) -> bool:
    """At most five live challenges an address. A browser that signed in before pushes out the oldest; another one waits."""
    at = clock.wall()
    mine = (Challenge.address_key == asking.address_key) & (Challenge.browser_hash != browser_hash) & _live(at)
    if (db.scalar(select(func.count(Challenge.id)).where(mine)) or 0) < MOST_LIVE:
        return True
    if asking.known is None:
        return False
    oldest = db.scalars(select(Challenge).where(mine).order_by(Challenge.created_at).limit(1)).one()
    oldest.revoked_at = at
    return True
