"""Sign-in tokens per mode, rate limits, adding and removing addresses, and what each proof opens."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from auth import (
    account_merge,
    challenge_emails,
    challenges,
    email_addresses,
    own_sessions,
    passkeys,
    portal_links,
    rate_limits,
    session_lifecycle,
    sessions,
    tokens,
)
from auth.challenges import ChallengeRequest
from auth.models import Challenge, DynamicLink, Identity, IdentityEmail, Merge
from auth.oidc_server import subject
from auth.passkeys import Passkey
from auth.rate_limits import Limit
from auth.sessions import Visit
from billing.customers.businesses import create_business
from billing.customers.customers import create_customer
from core import clock
from core.db import Database
from core.errors import Conflict, Forbidden
from core.scope import everything, person, system
from core.services import Services
from core.settings import Settings
from tests.engines import Sqlite

ADA, OLD, MALLORY = "ada@marlow.example", "ada@old.example", "mallory@void.example"


@pytest.fixture
def settings(sqlite: Sqlite) -> Iterator[Settings]:
    urls, drop = sqlite.fresh()
    yield Settings(base_url="http://localhost", **urls)
    drop()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings)
    yield database
    database.dispose()


@pytest.fixture
def app(settings: Settings, database: Database) -> Iterator[Flask]:
    app = Flask("portal")
    app.extensions["portal"] = Services(settings, database)
    with app.app_context():
        yield app


@pytest.fixture
def rows(database: Database, app: Flask) -> dict[str, str]:
    with database.open(everything("a test's business"), write=True) as db:
        acorn = create_business(db, name="Acorn", currency="EUR").business_id
    out = {"acorn": acorn}
    with database.open(system(acorn), write=True) as db:
        for email in (ADA, OLD, MALLORY):
            out[email] = create_customer(db, acorn, email=email, name="Somebody").customer_id
    return out


def asking(email: str, browser: str = "b", **more: Any) -> ChallengeRequest:
    return ChallengeRequest(email=email, address_key=email, browser=browser, source=None, device="", locale="en", **more)


def newest(database: Database) -> Challenge:
    with database.open(everything("a test looks")) as db:
        return db.scalars(select(Challenge).order_by(Challenge.created_at.desc()).limit(1)).one()


def proved(database: Database, settings: Settings, email: str, before: Visit | None = None) -> tuple[Visit, str]:
    """Sign in by email."""
    with database.open(everything("a test lets time pass"), write=True) as db:
        db.query(rate_limits.RateLimitCount).delete()
    assert challenges.request_challenge(database, settings, asking(email))
    secret = session_lifecycle.sign_in(database, settings, newest(database), before, "Firefox")
    visit = sessions.load(database, settings, secret or "")
    assert visit and secret
    return visit, secret


def joined(database: Database, settings: Settings) -> tuple[Visit, str]:
    """Ada, with her old address added."""
    visit, secret = proved(database, settings, ADA)
    email_addresses.request_address(database, settings, visit, OLD, browser="b", source=None, device="", locale="en")
    email_addresses.add(database, settings, newest(database), visit)
    again = sessions.load(database, settings, secret)
    assert again
    return again, secret


def test_a_test_token_is_refused_in_live_mode_and_keys_rotate() -> None:
    test = Settings(secret_keys=("one",))
    live = replace(test, mode="live")
    assert tokens.hashed(test, "link", "x") != tokens.hashed(live, "link", "x")
    assert tokens.link_token(test, "link", "chl_1") != tokens.link_token(live, "link", "chl_1")
    assert tokens.unsign(live, "known", tokens.sign(test, "known", 1)) is None
    rotated = replace(test, secret_keys=("two", "one"))
    stored = tokens.hashed(test, "link", tokens.link_token(test, "link", "chl_1"))
    assert tokens.link_token(rotated, "link", "chl_1", stored) == tokens.link_token(test, "link", "chl_1")
    assert stored in tokens.hashes(rotated, "link", tokens.link_token(test, "link", "chl_1"))
    assert tokens.unsign(rotated, "known", tokens.sign(test, "known", 1)) == 1


def test_codes_are_read_with_spaces_and_in_any_case() -> None:
    code = tokens.code(Settings(), "chl_1")
    assert len(code) == 8 and not set(code) & set("01OIL")
    assert tokens.tidy_code(f" {code[:4].lower()}-{code[4:]} ") == code
    assert tokens.mask("ada@marlow.example") == "a••@marlow.example"


def test_rate_limits_hold_in_parallel_and_reset(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = Limit("k", 7, timedelta(minutes=1))
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: rate_limits.spend(database, [limit]), range(30))) == 7
    assert rate_limits.is_spent(database, limit)
    later = clock.wall() + timedelta(seconds=61)
    monkeypatch.setattr(clock, "wall", lambda: later)
    assert rate_limits.spend(database, [limit]) and not rate_limits.is_spent(database, limit)


def test_a_refused_request_counts_against_no_other_limit(database: Database) -> None:
    a, b = Limit("a", 5, rate_limits.HOUR), Limit("b", 0, rate_limits.HOUR)
    assert not rate_limits.spend(database, [a, b])
    assert all(rate_limits.spend(database, [a]) for _ in range(5))


def test_emails_requested_at_once_are_sent_one_interval_apart(database: Database, settings: Settings) -> None:
    with ThreadPoolExecutor(7) as pool:
        due = list(pool.map(lambda _: rate_limits.book(database, rate_limits.emails(settings, ADA)), range(7)))
    booked = sorted(item for item in due if item is not None)
    assert len(booked) == 5, "five an hour"
    assert [after - before for before, after in zip(booked, booked[1:], strict=False)] == [rate_limits.INTERVAL] * 4
    assert booked[0] <= clock.wall() < booked[1]
    assert rate_limits.book(database, rate_limits.emails(settings, ADA, "a browser that Ada used before")) <= clock.wall()  # type: ignore[operator]


def test_a_source_is_an_ipv6_64_and_loopback_is_not_limited() -> None:
    settings = Settings()
    assert rate_limits.sign_in_requests(settings, "2001:db8::1") == rate_limits.sign_in_requests(settings, "2001:db8::ffff:2")
    assert rate_limits.sign_in_requests(settings, "2001:db8::1") != rate_limits.sign_in_requests(settings, "2001:db8:0:1::1")
    assert rate_limits.sign_in_requests(settings, "127.0.0.1") == []
    assert rate_limits.sign_in_requests(replace(settings, base_url="https://portal.example"), "127.0.0.1")


def test_a_newer_request_ends_the_earlier_code_of_its_browser_only(database: Database, settings: Settings, app: Flask) -> None:
    for browser in ("one", "two", "one"):
        with database.open(everything("a test lets time pass"), write=True) as db:
            db.query(rate_limits.RateLimitCount).delete()
        assert challenges.request_challenge(database, settings, asking(ADA, browser))
    with database.open(everything("a test looks")) as db:
        asked = list(db.scalars(select(Challenge).order_by(Challenge.created_at)))
    assert [c.revoked_at is None for c in asked] == [True, True, True], "none of them was emailed yet"
    challenge_emails.note_sent(database, asked[2])
    with database.open(everything("a test looks")) as db:
        assert [c.revoked_at is None for c in db.scalars(select(Challenge).order_by(Challenge.created_at))] == [False, True, True]


def test_at_most_five_emails_are_valid_and_a_known_browser_gets_one_more(database: Database, settings: Settings, app: Flask) -> None:
    answers = []
    for n in range(7):
        with database.open(everything("a test lets time pass"), write=True) as db:
            db.query(rate_limits.RateLimitCount).delete()
        answers.append(challenges.request_challenge(database, settings, asking(ADA, f"b{n}", known="k" if n == 6 else None)) is not None)
    assert answers == [True] * 5 + [False, True]
    with database.open(everything("a test counts")) as db:
        assert db.scalar(select(func.count(Challenge.id)).where(Challenge.revoked_at.is_(None))) == 5


def test_two_addresses_belong_to_one_identity(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    visit, _ = joined(database, settings)
    assert visit.addresses == (ADA, OLD)
    assert set(sessions.scope_for_unified(visit).customer_ids) == {rows[ADA], rows[OLD]}


def test_a_secondary_address_opens_its_own_rows_first(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    joined(database, settings)
    weak, _ = proved(database, settings, OLD)
    assert sessions.scope_for_unified(weak).customer_ids == (rows[OLD],)
    with pytest.raises(Forbidden):
        email_addresses.remove(database, weak, ADA)
    strong, _ = proved(database, settings, ADA, before=weak)
    assert set(sessions.scope_for_unified(strong).customer_ids) == {rows[ADA], rows[OLD]}


def test_an_email_to_a_secondary_address_refreshes_no_main_session(
    database: Database, settings: Settings, rows: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    strong, _ = joined(database, settings)
    now = clock.wall
    monkeypatch.setattr(clock, "wall", lambda: now() + timedelta(hours=2))
    both, _ = proved(database, settings, OLD, before=strong)
    assert set(both.addresses) == {ADA, OLD} and not sessions.proved_within(both)
    told = subject.of_visit(database, both, rows["acorn"])
    assert told and told.customer_id == rows[ADA] and told.auth_time == strong.proved_at, "what an app is told, too"
    weak, _ = proved(database, settings, OLD)
    assert weak.addresses == (OLD,) and sessions.proved_within(weak), "its own rows are its own"
    told = subject.of_visit(database, weak, rows["acorn"])
    assert told and told.customer_id == rows[OLD] and told.auth_time == weak.proved_at
    again, _ = proved(database, settings, ADA, before=both)
    assert sessions.proved_within(again)


def test_a_secondary_address_sees_and_ends_its_own_sessions_only(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    strong, secret = joined(database, settings)
    weak, _ = proved(database, settings, OLD)
    assert [item.id for item in own_sessions.sessions_of(database, weak)] == [weak.session_id]
    assert {item.id for item in own_sessions.sessions_of(database, strong)} == {weak.session_id, strong.session_id}
    assert not own_sessions.end_one(database, weak, strong.session_id) and own_sessions.end_all(database, weak, keep_here=True) == 0
    assert sessions.load(database, settings, secret)
    assert own_sessions.end_all(database, strong, keep_here=True) == 1


def test_removing_an_address_ends_its_sessions(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    ada, secret = joined(database, settings)
    _, weak = proved(database, settings, OLD)
    email_addresses.remove(database, ada, OLD)
    assert sessions.load(database, settings, weak) is None
    again = sessions.load(database, settings, secret)
    assert again and sessions.scope_for_unified(again).customer_ids == (rows[ADA],)
    with pytest.raises(Conflict):
        email_addresses.remove(database, again, ADA)


def test_removing_a_passkey_ends_its_other_sessions(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    """Access by other proofs stays. Sessions from before passkeys were recorded end, because their proof is unknown."""
    ada, _ = proved(database, settings, ADA)
    mine = str(ada.identity_id)

    def by_key(key: str | None, before: Visit | None = None) -> tuple[str, Visit]:
        with database.open(everything("somebody signs in with a passkey"), write=True) as db:
            secret = session_lifecycle.open_session(
                db, settings, mine, before, "Phone", sign_in_method="passkey", address_key=None, is_known=True, grant={"passkey_id": key}
            )
        visit = sessions.load(database, settings, secret)
        assert visit and visit.is_person
        return secret, visit

    with database.open(person(mine, []), write=True) as db:
        for key in ("lost", "kept"):
            db.add(Passkey(identity_id=mine, id=key, name=key, public_key=b"", sign_count=0, is_backed_up=False, created_at=clock.wall()))
    (here, at), (lost, phone), (kept, _), (unsure, _), (both, _) = (
        by_key("lost"),
        by_key("lost"),
        by_key("kept"),
        by_key(None),
        by_key("lost", proved(database, settings, ADA)[0]),
    )
    email_addresses.make_primary(database, phone, ADA)
    with database.open(person(mine, []), write=True) as db:
        passkeys.remove(db, "lost", at.session_id)
    alive = {
        name: bool(visit and visit.is_person)
        for name, visit in (
            (name, sessions.load(database, settings, secret))
            for name, secret in (("here", here), ("lost", lost), ("kept", kept), ("unsure", unsure), ("proved by a letter too", both))
        )
    }
    assert alive == {"here": True, "lost": False, "kept": True, "unsure": False, "proved by a letter too": True}
    assert len(own_sessions.sessions_of(database, at)) == 4, "what opens nothing is not shown as signed in"


def test_a_click_of_a_victim_merges_no_account(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    mallory, _ = proved(database, settings, MALLORY)
    with database.open(everything("a test lets time pass"), write=True) as db:
        db.query(rate_limits.RateLimitCount).delete()
    email_addresses.request_address(database, settings, mallory, ADA, browser="mallorys", source=None, device="", locale="en")
    asked = newest(database)
    ada, _ = proved(database, settings, ADA)
    for visit in (ada, None):
        with pytest.raises(Forbidden):
            email_addresses.add(database, settings, asked, visit)
    with database.open(everything("a test counts")) as db:
        assert db.scalar(select(func.count()).select_from(Identity)) == 2


def test_merging_an_identity_brings_its_purchases(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    _, before = proved(database, settings, OLD)
    visit, secret = joined(database, settings)
    with database.open(everything("which merge is asked")) as db:
        asked = db.scalars(select(Merge.id)).one()
    assert visit.addresses == (ADA,) and sessions.load(database, settings, before), "a letter alone moves nothing"
    assert account_merge.agree(database, visit, asked) and sessions.load(database, settings, before) is None
    again = sessions.load(database, settings, secret)
    assert again and again.addresses == (ADA, OLD)
    with database.open(everything("a test counts")) as db:
        assert db.scalar(select(func.count(IdentityEmail.id))) == 2


def test_the_main_address_can_change(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    visit, secret = joined(database, settings)
    email_addresses.make_primary(database, visit, OLD)
    again = sessions.load(database, settings, secret)
    assert again and again.primary_email == OLD and again.addresses == (OLD, ADA)


def test_sessions_end_by_idleness(database: Database, settings: Settings, rows: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    visit, secret = proved(database, settings, ADA)
    start = clock.wall()
    for days in (6, 12, 18, 24):
        monkeypatch.setattr(clock, "wall", lambda days=days: start + timedelta(days=days))
        assert sessions.load(database, settings, secret)
    assert not sessions.proved_within(visit)
    monkeypatch.setattr(clock, "wall", lambda: start + timedelta(days=30, seconds=1))
    assert sessions.load(database, settings, secret) is None
    monkeypatch.setattr(clock, "wall", lambda: start)
    _, other = proved(database, settings, ADA)
    monkeypatch.setattr(clock, "wall", lambda: start + timedelta(days=7, seconds=1))
    assert sessions.load(database, settings, other) is None


def test_portal_links_are_single_use_and_revocable(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    with database.open(system(rows["acorn"]), write=True) as db:
        item, url = portal_links.create_dynamic_link(db, rows["acorn"], rows[ADA])
        two = portal_links.mail_portal_link(db, rows["acorn"], rows[ADA])
        taken, _ = portal_links.create_dynamic_link(db, rows["acorn"], rows[OLD])
        assert portal_links.revoke(db, rows["acorn"], taken.id) and not portal_links.revoke(db, "bus_other", item.id)
    assert portal_links.url_of(settings, item) == url != portal_links.url_of(settings, two)
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: session_lifecycle.add_link_grant(database, settings, item, None, "")[0], range(12)))
    assert done.count(True) == 1
    assert session_lifecycle.add_link_grant(database, settings, taken, None, "") == (False, None)
    with database.open(everything("a test looks")) as db:
        assert db.scalars(select(DynamicLink).where(DynamicLink.id == two.id)).one().used_at is None
