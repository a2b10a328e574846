"""One business's servers never answer, or its rows never end: nobody else notices. One test per attack.

While each runs, with four request threads as `flask serve` has them and the worker beside them: `/healthz` answers within a second,
somebody else's sign-in email is there within five, and another business's renewal is done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from joserfc.jwk import KeySet
from sqlalchemy import insert, select, update

from auth import domains as domain_room
from auth.domains.models import Domain
from auth.models import BrowserSession
from auth.provider.models import App, AppSession
from auth.providers.discovery import Known
from auth.providers.models import Connection, ProviderState
from billing.subscriptions import Subscription
from core import clock
from core.mailbox import MailboxLetter
from core.outbox import Outbox
from core.scope import everything
from core.settings import Settings
from tests.cast import Cast
from tests.hanging import Hanging, hanging
from tests.house.test_jobs_take_turns import Town
from tests.visitor import Visitor

assert domain_room
THREADS = 4
ATTACKERS = 6  # requests at once: every thread is busy, and more wait for one


class Served:
    """The application with as many request threads as `flask serve` gives it, and its worker."""

    def __init__(self, app: Flask, cast: Cast) -> None:
        self.app, self.cast, self.house = app, cast, app.extensions["portal"]
        self.town = Town(cast)
        self.pool = ThreadPoolExecutor(THREADS)
        self.stop = threading.Event()
        self.worker = threading.Thread(target=self.house.worker.run_forever, args=(self.stop,), daemon=True)

    def __enter__(self) -> Served:
        self.visitor = Visitor(self.app)
        self.visitor.get("/login")
        self.before = self.town.subscription(self.cast.ada_at_birch).period_n
        self.town.change(Subscription, Subscription.id == self.cast.ada_at_birch.subscription_id,
                         next_billing_at=clock.now() - timedelta(minutes=1), previous_billing_at=None)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.house.worker.wake()
        self.worker.join(30)
        self.pool.shutdown(cancel_futures=True)

    def request(self, call: Callable[[], Any]) -> Future[Any]:
        return self.pool.submit(call)

    def nobody_notices(self) -> None:
        """Call it when the attack has begun."""
        self.worker.start()
        slowest = 0.0
        for _ in range(5):
            began = time.monotonic()
            assert self.request(lambda: self.app.test_client().get("/healthz").status_code).result(30) == 200
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.1)
        assert slowest < 1.0, f"/healthz took {slowest:.1f} s"
        began = time.monotonic()
        self.request(lambda: self.visitor.post("/login", {"email": self.cast.BEN}, follow=False, expect=303)).result(30)
        self.house.worker.wake()
        assert self.soon(lambda: bool(self.town.rows(MailboxLetter, MailboxLetter.to == self.cast.BEN)), 5.0), "the sign-in email"
        took = time.monotonic() - began
        assert took < 5.0, f"the sign-in email took {took:.1f} s"
        assert self.soon(lambda: self.town.subscription(self.cast.ada_at_birch).period_n == self.before + 1, 20.0), "Birch's renewal"

    def soon(self, true: Callable[[], bool], seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not (found := true()) and time.monotonic() < until:
            time.sleep(0.05)
        return found


@pytest.fixture
def played() -> None:
    """Its name asks for a database with the cast's past (tests/conftest.py)."""


@pytest.fixture
def served(settings: Settings, make_app: Callable[..., Flask], engine: Any, past: Any, played: None) -> Iterator[Served]:
    app = make_app(replace(settings, outgoing_loopback=True))
    with Served(app, past(engine).told_to(app.extensions["portal"])) as one:
        yield one


@pytest.fixture
def silent() -> Iterator[Hanging]:
    with hanging() as one:
        yield one


def connection(served: Served, issuer: str, enabled: bool = True) -> str:
    business_id = served.cast.acorn
    served.town.add(Connection(business_id=business_id, id="con_1", issuer=issuer, client_id="portal", client_secret="", label="Acorn ID",
                               claim="email", is_enabled=enabled, tested_at=clock.wall(), created_at=clock.wall(), removed_at=None))
    return f"/login/{business_id}/with/sso"


def logout(served: Served, path: str) -> Any:
    return served.app.test_client().post(f"{path}/logout", data={"logout_token": "a.b.c"})


def test_logout_tokens_for_a_provider_that_never_answers(served: Served, silent: Hanging) -> None:
    path = connection(served, silent.url)
    posts = [served.request(lambda: logout(served, path)) for _ in range(ATTACKERS)]
    served.nobody_notices()
    assert {one.result(30).status_code for one in posts} <= {400, 503}
    assert silent.calls <= 3, "failures are cached, and one fetch runs at a time"


def test_nothing_is_fetched_for_a_connection_that_is_not_switched_on(served: Served, silent: Hanging) -> None:
    path = connection(served, silent.url, enabled=False)
    posts = [served.request(lambda: logout(served, path)) for _ in range(ATTACKERS)]
    posts += [served.request(lambda: served.app.test_client().get(f"{path}/callback?state=x&code=y")) for _ in range(2)]
    served.nobody_notices()
    assert all(one.result(30).status_code in (400, 503) for one in posts) and silent.calls == 0


def test_sign_in_with_a_provider_that_never_answers(served: Served, silent: Hanging) -> None:
    path = connection(served, silent.url)
    people = [Visitor(served.app) for _ in range(ATTACKERS)]
    for one in people:
        one.get(f"/login/{served.cast.acorn}")
    posts = [served.request(lambda one=one: one.post(path, {"next": ""}, expect=None)) for one in people]
    served.nobody_notices()
    pages = [one.result(30) for one in posts]
    assert {page.status for page in pages} <= {502, 503} and all("Acorn ID" in page.text for page in pages)


def test_a_token_endpoint_that_never_answers(served: Served, silent: Hanging) -> None:
    """The page says that it waits, looks again by itself, and says at last that there is no answer."""
    path = connection(served, silent.url)
    metadata = {"authorization_endpoint": f"{silent.url}/a", "token_endpoint": f"{silent.url}/t", "jwks_uri": f"{silent.url}/k"}
    discovery = served.app.extensions["oidc_discovery"]
    discovery._known[silent.url] = Known(metadata, KeySet([]), time.monotonic(), time.monotonic())
    people = [Visitor(served.app) for _ in range(ATTACKERS)]
    backs = []
    for one in people:
        one.get(f"/login/{served.cast.acorn}")
        there = one.post(path, {"next": ""}).soup.find("a", class_="btn")["href"]
        backs.append(f"{path}/callback?code=c&state=" + there.split("state=")[1].split("&")[0])
    posts = [served.request(lambda one=one, back=back: one.get(back, expect=None)) for one, back in zip(people, backs, strict=True)]
    served.nobody_notices()
    waiting = [n for n, one in enumerate(posts) if "Waiting for Acorn ID" in one.result(30).text]
    assert waiting, "somebody waits"
    one, back = people[waiting[0]], backs[waiting[0]]
    assert one.page.soup.find("meta", {"http-equiv": "refresh"})["content"] == "2"
    assert Visitor(served.app).get(back, expect=400).status == 400, "another browser takes nothing"
    assert served.soon(lambda: "Waiting" not in one.get(back, expect=None).text, 20.0)
    assert one.page.status == 502 and "does not answer" in one.page.text
    assert one.get(back, expect=400).status == 400, "an outcome is told once"
    assert silent.calls <= len(people), "each code is sent once"
    with served.house.database.open(everything("states")) as db:
        assert all(row.used_at for row in db.scalars(select(ProviderState)))


def test_apps_that_never_answer_a_logout(served: Served, silent: Hanging) -> None:
    at, ada = clock.wall(), served.cast.ada_at_acorn
    served.town.add(App(business_id=ada.business_id, id="app_1", name="Notes", redirect_uris=[], post_logout_uris=[],
                        backchannel_uri=silent.url, created_at=at))
    served.town.add(*(AppSession(
        business_id=ada.business_id, customer_id=ada.customer_id, id=f"sid_{n}", app_id="app_1", identity_id=None, grant_id="gone",
        subject="s", scope="openid", is_offline=False, auth_time=at, redirect_uri="x", challenge="x", code_hash=f"h{n}", code_expires_at=at,
        code_used_at=at, created_at=at, expires_at=at + timedelta(days=1)) for n in range(30)))
    served.nobody_notices()
    assert served.soon(lambda: silent.calls > 0, 10.0), "it was tried"
    assert silent.calls <= 6, "one after the other, with pauses"


def test_name_servers_that_never_answer(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A console page that asks DNS, and the daily look at twenty domains."""
    free, asked = threading.Event(), []

    def resolve(name: str) -> list[str]:
        asked.append(name)
        free.wait(5.0)
        return []

    binding = served.app.extensions["domains"]
    monkeypatch.setattr(binding, "resolve", resolve)
    at = clock.wall() - timedelta(days=2)
    rows = [Domain(business_id=served.cast.acorn, id=f"dom_{n}", host=f"x{n}.acorn.example", token="t", created_at=at, verified_at=at,
                   checked_at=at) for n in range(20)]
    served.town.add(*rows)

    def look(row: Domain) -> str:
        try:
            return str(binding.says_so_soon(row))
        except Exception as problem:
            return type(problem).__name__

    posts = [served.request(lambda row=row: look(row)) for row in rows]
    served.nobody_notices()
    assert {one.result(30) for one in posts} <= {"Pending", "Unknown"}
    free.set()
    assert served.soon(lambda: look(rows[0]) == "False", 10.0), "the answer is there when it is asked for again"


def test_subscriptions_that_can_never_be_renewed(served: Served) -> None:
    ada = served.town.subscription(served.cast.ada_at_acorn)
    served.town.copies(ada, 60, next_billing_at=clock.now() - timedelta(days=1), previous_billing_at=None, zone="Nowhere/Land")
    served.nobody_notices()


def test_very_much_work_of_one_business(served: Served) -> None:
    at = clock.wall() - timedelta(hours=1)
    row = {"type": "subscription.updated", "lane": served.cast.acorn, "business_id": served.cast.acorn, "actor_type": "system", "data": {},
           "at": at, "due_at": at, "state": "pending", "attempts": 0, "fence": 0, "done": [],
           "customer_id": served.cast.ada_at_acorn.customer_id, "noun_id": served.cast.ada_at_acorn.subscription_id}
    with served.house.database.open(everything("very much work"), write=True) as db:
        db.execute(insert(Outbox), [{**row, "id": f"evt_{n:08d}"} for n in range(20_000)])
    served.nobody_notices()
    with served.house.database.open(everything("the rest is of no interest"), write=True) as db:
        db.execute(update(Outbox).where(Outbox.state == "pending").values(state="done"), execution_options={"synchronize_session": False})
        db.execute(update(BrowserSession).values(last_seen_at=clock.wall()), execution_options={"synchronize_session": False})
