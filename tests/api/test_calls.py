"""The same call twice, and too many of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from core import clock
from core.db import Database
from core.scope import everything
from tenants import repeats
from tenants.keys import read_key
from tenants.rates import Rates
from tenants.repeats import Repeat
from tests.api.conftest import Shop


def ask(desk: Shop, key: str | None = None, path: str = "/customers", named: str = "once", **body: Any) -> httpx.Response:
    return desk.raw("POST", path, key or desk.key, json=body, headers={"Idempotency-Key": named})


def count(desk: Shop, email: str) -> int:
    return len(desk.raw("GET", f"/customers?email={email}", desk.key).json()["items"])


def test_the_same_call_gets_the_first_answer(desk: Shop) -> None:
    first = ask(desk, named="a", email="a@marlow.example", name="Ada")
    again = ask(desk, named="a", email="a@marlow.example", name="Ada")
    assert first.status_code == again.status_code == 200 and first.json() == again.json() and count(desk, "a@marlow.example") == 1
    other = ask(desk, named="a", email="b@marlow.example", name="Ada")
    assert other.status_code == 422 and other.json()["code"] == "INVALID_REQUEST_PARAMETERS" and count(desk, "b@marlow.example") == 0
    elsewhere = ask(desk, path="/products", named="a", name="X")
    assert elsewhere.status_code == 422 and "Idempotency-Key" in elsewhere.json()["message"]
    theirs = ask(desk, desk.other_key, named="a", email="a@marlow.example", name="Ada")
    assert theirs.status_code == 200 and theirs.json()["customer_id"] != first.json()["customer_id"], "a key's name is its own"


def test_a_refusal_did_nothing_and_is_not_kept(desk: Shop) -> None:
    assert ask(desk, named="c", email="nonsense", name="Ada").status_code == 422
    assert ask(desk, named="c", email="c@marlow.example", name="Ada").status_code == 200


def test_ten_at_once_have_one_effect(desk: Shop) -> None:
    said: list[Any] = []

    def go() -> None:
        said.append(ask(desk, named="d", email="d@marlow.example", name="Ada").json().get("customer_id"))

    threads = [threading.Thread(target=go) for _ in range(10)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(set(said)) == 1 and said[0] and count(desk, "d@marlow.example") == 1


def test_an_answer_without_words_is_remembered_too(desk: Shop) -> None:
    addon = desk.sdk().addons.create(name="Backups", currency="EUR", price=1, tax_category="saas").id
    for _ in range(2):
        answer = ask(desk, path=f"/addons/{addon}/unarchive", named="e")
        assert answer.status_code == 200


def test_an_answer_that_is_a_secret_is_kept_sealed(desk: Shop) -> None:
    customer = ask(desk, named="f", email="f@marlow.example", name="Ada").json()["customer_id"]
    first, again = (ask(desk, path=f"/customers/{customer}/customer-portal/session", named="g").json() for _ in range(2))
    assert first == again and "/session/" in first["link"]
    with desk.house.database.open(everything("what is kept of calls")) as db:
        kept = [str(one.body) for one in db.scalars(select(Repeat).where(Repeat.status == 200))]
    assert kept and not any(first["link"].rsplit("/", 1)[1] in one or customer in one for one in kept)


def test_a_forsaken_call_is_taken_up_once(desk: Shop) -> None:
    """It was begun, and its process died: of two that come again after a minute one does it, and the other waits."""
    call = repeats.Call(read_key(desk.house.database, desk.house.settings, desk.key), "POST /api/customers?", b"{}", "h", 0)
    one = repeats.begin(desk.house.database, call)
    with desk.house.database.open(everything("a test lets time pass"), write=True) as db:
        db.execute(update(Repeat).where(Repeat.id == one).values(created_at=clock.wall() - timedelta(minutes=2)))
        seen = db.scalars(select(Repeat).where(Repeat.id == one)).one()
    assert [repeats._take_over(desk.house.database, call, seen) for _ in range(2)] == [True, False]
    with desk.house.database.open(everything("a test lets a day pass"), write=True) as db:
        db.execute(update(Repeat).where(Repeat.id == one).values(created_at=clock.wall() - repeats.KEPT - timedelta(minutes=1)))
    desk.house.worker.drain()
    with desk.house.database.open(everything("what is kept of calls")) as db:
        assert one not in set(db.scalars(select(Repeat.id)))


def test_headers_count_down(desk: Shop) -> None:
    first, second = (desk.raw("GET", "/products", desk.key).headers for _ in range(2))
    assert first["x-ratelimit-limit"] == str(desk.house.settings.api_rate) and 0 < int(second["x-ratelimit-reset"]) <= 60
    assert int(first["x-ratelimit-remaining"]) - int(second["x-ratelimit-remaining"]) == 1
    assert "x-ratelimit-limit" in desk.raw("GET", "/products").headers, "without a key its source is counted"


@pytest.fixture
def rates(database: Database) -> tuple[Rates, Rates]:
    """Two processes on one database."""
    return Rates(database), Rates(database)


def test_no_more_than_the_limit_over_all_processes(rates: tuple[Rates, Rates]) -> None:
    allowed = [one.remaining >= 0 for _ in range(40) for one in (rates[0].call("k", 50), rates[1].call("k", 50))]
    assert sum(allowed) == 50 and not any(allowed[-20:])
    assert rates[0].call("another", 50).remaining == 49
    assert 0 < rates[0].call("k", 50).resets_in <= 61


def test_a_minute_later_it_begins_anew(rates: tuple[Rates, Rates], monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.wall()
    assert [rates[0].call("k", 2).remaining for _ in range(3)] == [1, 0, -1]
    monkeypatch.setattr(clock, "wall", lambda: now + timedelta(seconds=62))
    assert rates[0].call("k", 2).remaining == 1


def test_one_key_waits_for_the_database_alone(rates: tuple[Rates, Rates], monkeypatch: pytest.MonkeyPatch) -> None:
    one, asked, may_go = rates[0], threading.Event(), threading.Event()
    take = one._take

    def slow(who: str, limit: int) -> Any:
        asked.set()
        assert may_go.wait(20)
        return take(who, limit)

    assert one.call("quick", 50).remaining == 49
    monkeypatch.setattr(one, "_take", slow)
    waiting = threading.Thread(target=one.call, args=("slow", 50))
    waiting.start()
    assert asked.wait(20) and one.lock.acquire(timeout=5)
    one.lock.release()
    assert one.call("quick", 50).remaining == 48 and waiting.is_alive()
    may_go.set()
    waiting.join(20)
    assert one.held["slow"].left == 1  # of two that were taken


def test_many_threads_of_a_process_get_no_more_than_the_limit(rates: tuple[Rates, Rates]) -> None:
    with ThreadPoolExecutor(8) as pool:
        allowed = list(pool.map(lambda _: rates[0].call("k", 50).remaining >= 0, range(80)))
    assert sum(allowed) == 50


def test_one_too_many_is_told_when(desk: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(desk.house, "settings", replace(desk.house.settings, api_rate=3))
    desk.house.database.settings = desk.house.settings
    answers = [desk.raw("GET", "/brands", desk.read_key) for _ in range(5)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].json()["code"] == "TOO_MANY_REQUESTS" and 0 < int(answers[-1].headers["Retry-After"]) <= 61
    assert answers[-1].headers["x-ratelimit-remaining"] == "0"
