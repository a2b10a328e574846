"""Challenges that prove control of an email address. Only the worker looks addresses up, when it sends the email."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select, update

from auth import rate_limits, tokens
from auth.models import Challenge
from core import clock, ids
from core.db import Database, ScopedSession
from core.metrics.instruments import SIGN_IN_FAILURES
from core.outbox import emit
from core.scope import everything
from core.settings import Settings

LIFE = timedelta(minutes=10)
TRIES = 5
MOST_LIVE = 5
_QUIETLY = {"synchronize_session": False}


@dataclass(frozen=True)
class ChallengeRequest:
    """A request for a challenge. `known`: this browser's id if the address signed in here before."""

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
    joins: dict[str, Any] | None = None  # the provider account to link once the address is proved


def request_challenge(database: Database, settings: Settings, wanted: ChallengeRequest) -> datetime | None:
    """Store the challenge and queue the email. Returns when the email is due: now, or after the interval since the last one.

    Returns None if a rate limit is exceeded and no email is sent. The page shown is the same.
    """
    if not rate_limits.spend(database, rate_limits.sign_in_requests(settings, wanted.source)):
        return None
    if (waiting := _waiting(database, settings, wanted)) is not None:
        return waiting
    due = rate_limits.book(database, rate_limits.emails(settings, wanted.address_key, wanted.known))
    if due is None:
        return None
    at = clock.wall()
    browser_hash = tokens.hashed(settings, "browser", wanted.browser)
    challenge_id = ids.new_id("chl")
    with database.open(everything("request a sign-in challenge"), write=True) as db:
        if not _make_room(db, wanted, browser_hash):
            return None
        for_another = (Challenge.address_key != wanted.address_key) | (Challenge.purpose != wanted.purpose)
        db.execute(
            update(Challenge)
            .where(Challenge.browser_hash == browser_hash, live(at), *([for_another] if wanted.joins is None else []))
            .values(revoked_at=at),
            execution_options={"synchronize_session": False},
        )  # this browser's earlier code for the same address stays valid until the new email is sent (`note_sent`)
        db.add(
            Challenge(
                id=challenge_id,
                purpose=wanted.purpose,
                browser_hash=browser_hash,
                identity_id=wanted.identity_id,
                address_key=wanted.address_key,
                email=wanted.email,
                door="business" if wanted.business_id else "unified",
                business_id=wanted.business_id,
                link_hash=tokens.hashed(settings, "link", tokens.link_token(settings, "link", challenge_id)),
                code_hash=tokens.hashed(settings, "code", f"{challenge_id}:{tokens.code(settings, challenge_id)}"),
                device=wanted.device,
                locale=wanted.locale,
                next=wanted.next,
                joins=wanted.joins,
                created_at=at,
                send_at=due,
                expires_at=due + LIFE,
            )
        )
        emit(db, "auth.challenge_requested", noun=challenge_id, data={"challenge_id": challenge_id}, due_at=due)
    return due


def _waiting(database: Database, settings: Settings, wanted: ChallengeRequest) -> datetime | None:
    """Return when an identical, already queued email of this browser is due. A repeated request changes nothing."""
    at = clock.wall()
    query = (
        select(Challenge.send_at)
        .where(
            Challenge.browser_hash.in_(tokens.hashes(settings, "browser", wanted.browser)),
            live(at),
            Challenge.send_at > at,
            Challenge.address_key == wanted.address_key,
            Challenge.purpose == wanted.purpose,
            Challenge.business_id.is_not_distinct_from(wanted.business_id),
            Challenge.next == wanted.next,
            Challenge.identity_id.is_not_distinct_from(wanted.identity_id),
        )
        .limit(1)
    )
    if wanted.joins is not None:
        return None
    with database.open(everything("find a queued sign-in email")) as db:
        return db.scalar(query)


def newer(database: Database, challenge: Challenge) -> Challenge | None:
    """Return the valid challenge of the same browser and address that replaced this one."""
    if challenge.revoked_at is None:
        return None
    query = select(Challenge).where(
        Challenge.browser_hash == challenge.browser_hash,
        Challenge.address_key == challenge.address_key,
        Challenge.purpose == challenge.purpose,
        Challenge.created_at > challenge.created_at,
        live(clock.wall()),
    )
    with database.open(everything("find a newer sign-in email")) as db:
        return db.scalar(query.order_by(Challenge.created_at.desc()).limit(1))


def by_link(database: Database, settings: Settings, token: str) -> Challenge | None:
    """Return the challenge of a link token, live or not, detached. Reading does not consume it."""
    with database.open(everything("view a sign-in link")) as db:
        return db.scalar(select(Challenge).where(Challenge.link_hash.in_(tokens.hashes(settings, "link", token))))


def by_id(database: Database, challenge_id: str) -> Challenge | None:
    with database.open(everything("find an earlier challenge")) as db:
        return db.scalar(select(Challenge).where(Challenge.id == challenge_id))


def of_browser(database: Database, settings: Settings, browser: str) -> Challenge | None:
    """Return the live challenge whose code the person can have: the newest emailed one, otherwise the newest. Detached."""
    with database.open(everything("find the challenge of a code")) as db:
        hashes = tokens.hashes(settings, "browser", browser)
        query = select(Challenge).where(Challenge.browser_hash.in_(hashes), live(clock.wall()))
        return db.scalar(query.order_by(Challenge.sent_at.is_(None), Challenge.created_at.desc()).limit(1))


def is_live(challenge: Challenge) -> bool:
    return challenge.used_at is None and challenge.revoked_at is None and challenge.expires_at > clock.wall()


def requested_in_browser(settings: Settings, challenge: Challenge, browser: str | None) -> bool:
    return browser is not None and challenge.browser_hash in tokens.hashes(settings, "browser", browser)


def try_code(database: Database, settings: Settings, challenge: Challenge | None, typed: str, source: str | None) -> bool:
    """Return whether the typed code is right. Each try is counted before the comparison, in a separate transaction.

    Also returns False if a limit is exceeded: 30 codes an hour per source, 5 tries per challenge, 20 failures a day per address.
    Limits are charged only for live challenges with tries left.
    """
    if challenge is None or not is_live(challenge) or not tries_left(challenge):
        SIGN_IN_FAILURES.labels("expired_code").inc()
        return False
    if not rate_limits.spend(database, rate_limits.codes(settings, source)):
        return False
    failures = rate_limits.failures(settings, challenge.address_key)
    if not rate_limits.spend(database, [failures]):  # refunded below if the code is right
        return False
    with database.open(everything("check a code"), write=True) as db:
        counted = db.execute(
            update(Challenge)
            .where(Challenge.id == challenge.id, Challenge.tries < TRIES, live(clock.wall()))
            .values(tries=Challenge.tries + 1),
            execution_options={"synchronize_session": False},
        )
        if counted.rowcount != 1:  # type: ignore[attr-defined]
            return False
    is_right = challenge.code_hash in tokens.hashes(settings, "code", f"{challenge.id}:{tokens.tidy_code(typed)}")
    if is_right:
        rate_limits.give_back(database, failures)
    else:
        SIGN_IN_FAILURES.labels("wrong_code").inc()
    return is_right


def tries_left(challenge: Challenge | None) -> int:
    return max(0, TRIES - challenge.tries) if challenge else 0


def consume(db: ScopedSession, challenge: Challenge) -> bool:
    """Mark the challenge as used, atomically. Of parallel calls, exactly one returns True."""
    at = clock.wall()
    used = db.execute(
        update(Challenge).where(Challenge.id == challenge.id, live(at)).values(used_at=at), execution_options={"synchronize_session": False}
    )
    if used.rowcount != 1:  # type: ignore[attr-defined]
        return False
    db.execute(update(Challenge).where(*siblings(challenge), live(at)).values(revoked_at=at), execution_options=_QUIETLY)
    return True


def siblings(challenge: Challenge) -> tuple[ColumnElement[bool], ...]:
    """Conditions for other challenges of the same browser, purpose and address. Proving one proves all."""
    return (
        Challenge.id != challenge.id,
        Challenge.browser_hash == challenge.browser_hash,
        Challenge.purpose == challenge.purpose,
        Challenge.address_key == challenge.address_key,
    )


def live(at: datetime) -> ColumnElement[bool]:
    return Challenge.used_at.is_(None) & Challenge.revoked_at.is_(None) & (Challenge.expires_at > at)


def _make_room(db: ScopedSession, wanted: ChallengeRequest, browser_hash: str) -> bool:
    """Keep at most five live challenges per address. Returns False if there is no room.

    A browser that signed in with the address before revokes the oldest challenge instead.
    """
    at = clock.wall()
    mine = (Challenge.address_key == wanted.address_key) & (Challenge.browser_hash != browser_hash) & live(at)
    if (db.scalar(select(func.count(Challenge.id)).where(mine)) or 0) < MOST_LIVE:
        return True
    if wanted.known is None:
        return False
    oldest = db.scalars(select(Challenge).where(mine).order_by(Challenge.created_at).limit(1)).one()
    oldest.revoked_at = at
    return True
