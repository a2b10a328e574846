"""Tokens of a mode, budgets that hold, addresses that join and leave, and what each proof opens."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from auth import budgets, challenges, linking, links, merging, passkeys, sessions, signing, tokens
from auth.budgets import Limit
from auth.challenges import Asking
from auth.models import Challenge, DynamicLink, Identity, IdentityEmail
from auth.passkeys import Passkey
from auth.provider import who
from auth.sessions import Visit
from billing.commands.businesses import create_business
from billing.commands.customers import create_customer
from core import clock
from core.db import Database
from core.errors import Conflict, Forbidden
from core.scope import everything, person, system
from core.settings import Settings
from core.web import House
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
    app = Flask("house")
    app.extensions["portal"] = House(settings, database)
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


def asking(email: str, browser: str = "b", **more: Any) -> Asking:
    return Asking(email=email, address_key=email, browser=browser, source=None, device="", locale="en", **more)


def newest(database: Database) -> Challenge:
    with database.open(everything("a test looks")) as db:
        return db.scalars(select(Challenge).order_by(Challenge.created_at.desc()).limit(1)).one()


def proved(database: Database, settings: Settings, email: str, before: Visit | None = None) -> tuple[Visit, str]:
    """Signed in by letter."""
    with database.open(everything("a test lets time pass"), write=True) as db:
        db.query(budgets.Budget).delete()
    assert challenges.ask(database, settings, asking(email))
    secret = signing.sign_in(database, settings, newest(database), before, "Firefox")
    visit = sessions.load(database, settings, secret or "")
    assert visit and secret
    return visit, secret


def joined(database: Database, settings: Settings) -> tuple[Visit, str]:
    """Ada, with her old address added."""
    visit, secret = proved(database, settings, ADA)
    linking.ask_to_add(database, settings, visit, OLD, browser="b", source=None, device="", locale="en")
    linking.add(database, settings, newest(database), visit)
    again = sessions.load(database, settings, secret)
    assert again
    return again, secret


def test_a_test_token_is_nothing_in_live_and_keys_rotate() -> None:
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


def test_codes_are_typed_as_people_type() -> None:
    code = tokens.code(Settings(), "chl_1")
    assert len(code) == 8 and not set(code) & set("01OIL")
    assert tokens.tidy_code(f" {code[:4].lower()}-{code[4:]} ") == code
    assert tokens.mask("ada@marlow.example") == "a••@marlow.example"


def test_budgets_hold_in_parallel_and_begin_anew(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = Limit("k", 7, timedelta(minutes=1))
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: budgets.spend(database, [limit]), range(30))) == 7
    assert budgets.is_spent(database, limit)
    later = clock.wall() + timedelta(seconds=61)
    monkeypatch.setattr(clock, "wall", lambda: later)
    assert budgets.spend(database, [limit]) and not budgets.is_spent(database, limit)


def test_one_used_up_limit_spends_none(database: Database) -> None:
    a, b = Limit("a", 5, budgets.HOUR), Limit("b", 0, budgets.HOUR)
    assert not budgets.spend(database, [a, b])
    assert all(budgets.spend(database, [a]) for _ in range(5))


def test_emails_that_are_asked_for_at_once_are_sent_one_interval_apart(database: Database, settings: Settings) -> None:
    with ThreadPoolExecutor(7) as pool:
        due = list(pool.map(lambda _: budgets.book(database, budgets.letters(settings, ADA)), range(7)))
    booked = sorted(one for one in due if one is not None)
    assert len(booked) == 5, "five an hour"
    assert [after - before for before, after in zip(booked, booked[1:], strict=False)] == [budgets.INTERVAL] * 4
    assert booked[0] <= clock.wall() < booked[1]
    assert budgets.book(database, budgets.letters(settings, ADA, "a browser that Ada used before")) <= clock.wall()  # type: ignore[operator]


def test_one_source_is_an_ipv6_64_and_loopback_counts_only_in_the_open() -> None:
    settings = Settings()
    assert budgets.asks(settings, "2001:db8::1") == budgets.asks(settings, "2001:db8::ffff:2")
    assert budgets.asks(settings, "2001:db8::1") != budgets.asks(settings, "2001:db8:0:1::1")
    assert budgets.asks(settings, "127.0.0.1") == []
    assert budgets.asks(replace(settings, base_url="https://portal.example"), "127.0.0.1")


def test_asking_again_ends_the_same_browsers_letter_only(database: Database, settings: Settings, app: Flask) -> None:
    for browser in ("one", "two", "one"):
        with database.open(everything("a test lets time pass"), write=True) as db:
            db.query(budgets.Budget).delete()
        assert challenges.ask(database, settings, asking(ADA, browser))
    with database.open(everything("a test looks")) as db:
        assert [c.revoked_at is None for c in db.scalars(select(Challenge).order_by(Challenge.created_at))] == [False, True, True]


def test_at_most_five_letters_are_live_and_a_known_browser_still_gets_one(database: Database, settings: Settings, app: Flask) -> None:
    answers = []
    for n in range(7):
        with database.open(everything("a test lets time pass"), write=True) as db:
            db.query(budgets.Budget).delete()
        answers.append(challenges.ask(database, settings, asking(ADA, f"b{n}", known="k" if n == 6 else None)) is not None)
    assert answers == [True] * 5 + [False, True]
    with database.open(everything("a test counts")) as db:
        assert db.scalar(select(func.count(Challenge.id)).where(Challenge.revoked_at.is_(None))) == 5


def test_two_addresses_are_one_person(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    visit, _ = joined(database, settings)
    assert visit.addresses == (ADA, OLD)
    assert set(sessions.scope_for_unified(visit).customer_ids) == {rows[ADA], rows[OLD]}


def test_a_secondary_address_opens_its_own_rows_first(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    joined(database, settings)
    weak, _ = proved(database, settings, OLD)
    assert sessions.scope_for_unified(weak).customer_ids == (rows[OLD],)
    with pytest.raises(Forbidden):
        linking.remove(database, weak, ADA)
    strong, _ = proved(database, settings, ADA, before=weak)
    assert set(sessions.scope_for_unified(strong).customer_ids) == {rows[ADA], rows[OLD]}


def test_a_letter_to_the_weaker_address_freshens_no_session_of_the_main_one(
    database: Database, settings: Settings, rows: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    strong, _ = joined(database, settings)
    now = clock.wall
    monkeypatch.setattr(clock, "wall", lambda: now() + timedelta(hours=2))
    both, _ = proved(database, settings, OLD, before=strong)
    assert set(both.addresses) == {ADA, OLD} and not sessions.proved_within(both)
    told = who.of_visit(database, both, rows["acorn"])
    assert told and told.customer_id == rows[ADA] and told.auth_time == strong.proved_at, "what an app is told, too"
    weak, _ = proved(database, settings, OLD)
    assert weak.addresses == (OLD,) and sessions.proved_within(weak), "its own rows are its own"
    told = who.of_visit(database, weak, rows["acorn"])
    assert told and told.customer_id == rows[OLD] and told.auth_time == weak.proved_at
    again, _ = proved(database, settings, ADA, before=both)
    assert sessions.proved_within(again)


def test_the_weaker_address_sees_and_ends_its_own_browsers_alone(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    strong, secret = joined(database, settings)
    weak, _ = proved(database, settings, OLD)
    assert [one.id for one in signing.sessions_of(database, weak)] == [weak.session_id]
    assert {one.id for one in signing.sessions_of(database, strong)} == {weak.session_id, strong.session_id}
    assert not signing.end_one(database, weak, strong.session_id) and signing.end_all(database, weak, keep_here=True) == 0
    assert sessions.load(database, settings, secret)
    assert signing.end_all(database, strong, keep_here=True) == 1


def test_an_address_that_leaves_takes_its_sessions_along(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    ada, secret = joined(database, settings)
    _, weak = proved(database, settings, OLD)
    linking.remove(database, ada, OLD)
    assert sessions.load(database, settings, weak) is None
    again = sessions.load(database, settings, secret)
    assert again and sessions.scope_for_unified(again).customer_ids == (rows[ADA],)
    with pytest.raises(Conflict):
        linking.remove(database, again, ADA)


def test_a_passkey_that_is_removed_signs_its_other_browsers_out(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    """What a browser proved besides goes on; and of where a session came from before keys were written down nobody can be sure."""
    ada, _ = proved(database, settings, ADA)
    mine = str(ada.identity_id)

    def by_key(key: str | None, before: Visit | None = None) -> tuple[str, Visit]:
        with database.open(everything("somebody signs in with a passkey"), write=True) as db:
            secret = signing.open_session(db, settings, mine, before, "Phone", proof="passkey", address_key=None, is_known=True,
                                          grant={"passkey_id": key})
        visit = sessions.load(database, settings, secret)
        assert visit and visit.is_person
        return secret, visit

    with database.open(person(mine, []), write=True) as db:
        for key in ("lost", "kept"):
            db.add(Passkey(identity_id=mine, id=key, name=key, public_key=b"", sign_count=0, is_backed_up=False, created_at=clock.wall()))
    (here, at), (lost, phone), (kept, _), (unsure, _), (both, _) = (
        by_key("lost"), by_key("lost"), by_key("kept"), by_key(None), by_key("lost", proved(database, settings, ADA)[0]))
    linking.make_primary(database, phone, ADA)
    with database.open(person(mine, []), write=True) as db:
        passkeys.remove(db, "lost", at.session_id)
    alive = {name: bool(visit and visit.is_person) for name, visit in (
        (name, sessions.load(database, settings, secret)) for name, secret in
        (("here", here), ("lost", lost), ("kept", kept), ("unsure", unsure), ("proved by a letter too", both)))}
    assert alive == {"here": True, "lost": False, "kept": True, "unsure": False, "proved by a letter too": True}
    assert len(signing.sessions_of(database, at)) == 4, "what opens nothing is not shown as signed in"


def test_a_victims_click_joins_nothing(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    mallory, _ = proved(database, settings, MALLORY)
    with database.open(everything("a test lets time pass"), write=True) as db:
        db.query(budgets.Budget).delete()
    linking.ask_to_add(database, settings, mallory, ADA, browser="mallorys", source=None, device="", locale="en")
    asked = newest(database)
    ada, _ = proved(database, settings, ADA)
    for visit in (ada, None):
        with pytest.raises(Forbidden):
            linking.add(database, settings, asked, visit)
    with database.open(everything("a test counts")) as db:
        assert db.scalar(select(func.count()).select_from(Identity)) == 2


def test_a_person_of_its_own_brings_its_history(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    _, before = proved(database, settings, OLD)
    visit, secret = joined(database, settings)
    with database.open(everything("which merge is asked")) as db:
        asked = db.scalars(select(merging.Merge.id)).one()
    assert visit.addresses == (ADA,) and sessions.load(database, settings, before), "a letter alone moves nothing"
    assert merging.agree(database, visit, asked) and sessions.load(database, settings, before) is None
    again = sessions.load(database, settings, secret)
    assert again and again.addresses == (ADA, OLD)
    with database.open(everything("a test counts")) as db:
        assert db.scalar(select(func.count(IdentityEmail.id))) == 2


def test_the_main_address_can_change(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    visit, secret = joined(database, settings)
    linking.make_primary(database, visit, OLD)
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


def test_merchants_links_are_single_use_revocable_and_two_when_mailed(database: Database, settings: Settings, rows: dict[str, str]) -> None:
    with database.open(system(rows["acorn"]), write=True) as db:
        one, url = links.create_dynamic_link(db, rows["acorn"], rows[ADA])
        two = links.mail_portal_link(db, rows["acorn"], rows[ADA])
        taken, _ = links.create_dynamic_link(db, rows["acorn"], rows[OLD])
        assert links.revoke(db, rows["acorn"], taken.id) and not links.revoke(db, "bus_other", one.id)
    assert links.url_of(settings, one) == url != links.url_of(settings, two)
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: signing.add_link_grant(database, settings, one, None, "")[0], range(12)))
    assert done.count(True) == 1
    assert signing.add_link_grant(database, settings, taken, None, "") == (False, None)
    with database.open(everything("a test looks")) as db:
        assert db.scalars(select(DynamicLink).where(DynamicLink.id == two.id)).one().used_at is None
