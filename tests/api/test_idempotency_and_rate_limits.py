"""Repeated API calls, and rate limits of API keys."""

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
from tenants import idempotency_store as store
from tenants.api_keys import read_key
from tenants.idempotency_store import StoredCall
from tenants.rate_limits import Rates
from tests.api.conftest import Site


def ask(api_site: Site, key: str | None = None, path: str = "/customers", named: str = "once", **body: Any) -> httpx.Response:
    return api_site.raw("POST", path, key or api_site.key, json=body, headers={"Idempotency-Key": named})


def count(api_site: Site, email: str) -> int:
    return len(api_site.raw("GET", f"/customers?email={email}", api_site.key).json()["items"])


def test_a_repeated_call_gets_the_first_answer(api_site: Site) -> None:
    first = ask(api_site, named="a", email="a@marlow.example", name="Ada")
    again = ask(api_site, named="a", email="a@marlow.example", name="Ada")
    assert first.status_code == again.status_code == 200 and first.json() == again.json() and count(api_site, "a@marlow.example") == 1
    other = ask(api_site, named="a", email="b@marlow.example", name="Ada")
    assert other.status_code == 422 and other.json()["code"] == "INVALID_REQUEST_PARAMETERS" and count(api_site, "b@marlow.example") == 0
    outside = ask(api_site, path="/products", named="a", name="X")
    assert outside.status_code == 422 and "Idempotency-Key" in outside.json()["message"]
    theirs = ask(api_site, api_site.other_key, named="a", email="a@marlow.example", name="Ada")
    assert theirs.status_code == 200 and theirs.json()["customer_id"] != first.json()["customer_id"], "a key's name is its own"


def test_a_refusal_is_not_stored(api_site: Site) -> None:
    assert ask(api_site, named="c", email="nonsense", name="Ada").status_code == 422
    assert ask(api_site, named="c", email="c@marlow.example", name="Ada").status_code == 200


def test_ten_parallel_calls_have_one_effect(api_site: Site) -> None:
    said: list[Any] = []

    def go() -> None:
        said.append(ask(api_site, named="d", email="d@marlow.example", name="Ada").json().get("customer_id"))

    threads = [threading.Thread(target=go) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(said)) == 1 and said[0] and count(api_site, "d@marlow.example") == 1


def test_an_empty_answer_is_stored_too(api_site: Site) -> None:
    addon = api_site.sdk().addons.create(name="Backups", currency="EUR", price=1, tax_category="saas").id
    for _ in range(2):
        answer = ask(api_site, path=f"/addons/{addon}/unarchive", named="e")
        assert answer.status_code == 200


def test_an_answer_with_a_secret_is_stored_encrypted(api_site: Site) -> None:
    customer = ask(api_site, named="f", email="f@marlow.example", name="Ada").json()["customer_id"]
    first, again = (ask(api_site, path=f"/customers/{customer}/customer-portal/session", named="g").json() for _ in range(2))
    assert first == again and "/session/" in first["link"]
    with api_site.services.database.open(everything("what is kept of calls")) as db:
        kept = [str(stored_call.body) for stored_call in db.scalars(select(StoredCall).where(StoredCall.status == 200))]
    assert kept and not any(first["link"].rsplit("/", 1)[1] in item or customer in item for item in kept)


def test_an_abandoned_call_is_taken_over_once(api_site: Site) -> None:
    """The process of the first call died. Of two repeats after a minute, one does the work and the other waits."""
    call = store.ReceivedCall(
        read_key(api_site.services.database, api_site.services.settings, api_site.key), "POST /api/customers?", b"{}", "h", 0
    )
    item = store.begin(api_site.services.database, call)
    with api_site.services.database.open(everything("a test lets time pass"), write=True) as db:
        db.execute(update(StoredCall).where(StoredCall.id == item).values(created_at=clock.wall() - timedelta(minutes=2)))
        seen = db.scalars(select(StoredCall).where(StoredCall.id == item)).one()
    assert [store._take_over(api_site.services.database, call, seen) for _ in range(2)] == [True, False]
    with api_site.services.database.open(everything("a test lets a day pass"), write=True) as db:
        db.execute(update(StoredCall).where(StoredCall.id == item).values(created_at=clock.wall() - store.KEPT - timedelta(minutes=1)))
    api_site.services.worker.drain()
    with api_site.services.database.open(everything("what is kept of calls")) as db:
        assert item not in set(db.scalars(select(StoredCall.id)))


def test_rate_limit_headers_count_down(api_site: Site) -> None:
    first, second = (api_site.raw("GET", "/products", api_site.key).headers for _ in range(2))
    assert first["x-ratelimit-limit"] == str(api_site.services.settings.api_rate) and 0 < int(second["x-ratelimit-reset"]) <= 60
    assert int(first["x-ratelimit-remaining"]) - int(second["x-ratelimit-remaining"]) == 1
    assert "x-ratelimit-limit" in api_site.raw("GET", "/products").headers, "without a key its source is counted"


@pytest.fixture
def rates(database: Database) -> tuple[Rates, Rates]:
    """Two processes on one database."""
    return Rates(database), Rates(database)


def test_the_rate_limit_holds_across_processes(rates: tuple[Rates, Rates]) -> None:
    allowed = [item.remaining >= 0 for _ in range(40) for item in (rates[0].call("k", 50), rates[1].call("k", 50))]
    assert sum(allowed) == 50 and not any(allowed[-20:])
    assert rates[0].call("another", 50).remaining == 49
    assert 0 < rates[0].call("k", 50).resets_in <= 61


def test_the_rate_limit_resets_after_a_minute(rates: tuple[Rates, Rates], monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.wall()
    assert [rates[0].call("k", 2).remaining for _ in range(3)] == [1, 0, -1]
    monkeypatch.setattr(clock, "wall", lambda: now + timedelta(seconds=62))
    assert rates[0].call("k", 2).remaining == 1


def test_the_rate_limit_of_one_key_locks_no_other_key(rates: tuple[Rates, Rates], monkeypatch: pytest.MonkeyPatch) -> None:
    item, asked, may_go = rates[0], threading.Event(), threading.Event()
    reserve = item._reserve

    def slow(who: str, limit: int) -> Any:
        asked.set()
        assert may_go.wait(20)
        return reserve(who, limit)

    assert item.call("quick", 50).remaining == 49
    monkeypatch.setattr(item, "_reserve", slow)
    waiting = threading.Thread(target=item.call, args=("slow", 50))
    waiting.start()
    assert asked.wait(20) and item.lock.acquire(timeout=5)
    item.lock.release()
    assert item.call("quick", 50).remaining == 48 and waiting.is_alive()
    may_go.set()
    waiting.join(20)
    assert item.batches["slow"].left == 1  # of two that were taken


def test_the_rate_limit_holds_across_threads(rates: tuple[Rates, Rates]) -> None:
    with ThreadPoolExecutor(8) as pool:
        allowed = list(pool.map(lambda _: rates[0].call("k", 50).remaining >= 0, range(80)))
    assert sum(allowed) == 50


def test_a_limited_call_gets_retry_after(api_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(api_site.services, "settings", replace(api_site.services.settings, api_rate=3))
    api_site.services.database.settings = api_site.services.settings
    answers = [api_site.raw("GET", "/brands", api_site.read_key) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].json()["code"] == "TOO_MANY_REQUESTS" and 0 < int(answers[-1].headers["Retry-After"]) <= 61
    assert answers[-1].headers["x-ratelimit-remaining"] == "0"
