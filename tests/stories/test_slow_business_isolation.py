"""Silent servers or endless rows of one business do not affect others. One test per attack.

Each runs with four request threads, as `flask serve` has, and the worker. Meanwhile `/healthz` answers within a second, another person's
sign-in email arrives within five, and another business's renewal is done. A sign-in is timed before each attack: where the machine is so
busy with other things that it takes longer than CALM_SECONDS, the limits grow by the same factor.
"""

from __future__ import annotations

import os
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
from auth.oidc_client.discovery import CachedMetadata
from auth.oidc_client.models import Connection, ProviderState
from auth.oidc_server.models import App, AppSession
from billing.model.subscriptions import Subscription
from core import clock
from core.mailbox import MailboxEmail
from core.outbox import Outbox
from core.scope import everything
from core.settings import Settings
from core.worker import SIGN_IN
from tests.cast import Cast
from tests.house.test_jobs_take_turns import Town
from tests.silent_servers import SilentServer, hanging
from tests.visitor import Visitor

assert domain_room
THREADS = 4
CALM_SECONDS = 0.2  # more than a sign-in takes on an idle machine, from the form to the email
ATTACKERS = 6  # requests at once: every thread is busy, and more wait for one


class Served:
    """The application with as many request threads as `flask serve` has, and its worker."""

    def __init__(self, app: Flask, cast: Cast) -> None:
        self.app, self.cast, self.services = app, cast, app.extensions["portal"]
        self.town = Town(cast)
        self.pool = ThreadPoolExecutor(THREADS)
        self.stop = threading.Event()
        self.worker = threading.Thread(target=self.services.worker.run_forever, args=(self.stop,), daemon=True)

    def __enter__(self) -> Served:
        self.visitor = Visitor(self.app)
        self.visitor.get("/login")
        waiting = os.getloadavg()[0] / (os.cpu_count() or 1)  # how many programs wait for each processor
        self.slowness = max(1.0, waiting, self.time_of_a_calm_sign_in() / CALM_SECONDS)
        self.before = self.town.subscription(self.cast.ada_at_birch).period_n
        self.town.change(
            Subscription,
            Subscription.id == self.cast.ada_at_birch.subscription_id,
            next_billing_at=clock.now() - timedelta(minutes=1),
            previous_billing_at=None,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.services.worker.wake()
        self.worker.join(30)
        self.pool.shutdown(cancel_futures=True)

    def time_of_a_calm_sign_in(self) -> float:
        """Seconds from the form to the email while nothing else runs: how slow this machine is at present."""
        ada = Visitor(self.app)
        ada.get("/login")
        began = time.monotonic()
        ada.post("/login", {"email": self.cast.ADA}, follow=False, expect=303)
        for claim in self.services.worker.claim(only=SIGN_IN):
            self.services.worker.perform(*claim)
        assert self.town.rows(MailboxEmail, MailboxEmail.to == self.cast.ADA), "the sign-in email"
        return time.monotonic() - began

    def request(self, call: Callable[[], Any]) -> Future[Any]:
        return self.pool.submit(call)

    def assert_others_unaffected(self) -> None:
        """Assert, after the attack has begun, that others are not affected."""
        self.worker.start()
        slowest = 0.0
        for _ in range(5):
            began = time.monotonic()
            assert self.request(lambda: self.app.test_client().get("/healthz").status_code).result(30) == 200
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.1)
        assert slowest < self.slowness, f"/healthz took {slowest:.1f} s"
        began = time.monotonic()
        self.request(lambda: self.visitor.post("/login", {"email": self.cast.BEN}, follow=False, expect=303)).result(30)
        self.services.worker.wake()
        assert self.soon(lambda: bool(self.town.rows(MailboxEmail, MailboxEmail.to == self.cast.BEN)), 5.0), "the sign-in email"
        took = time.monotonic() - began
        assert took < 5.0 * self.slowness, f"the sign-in email took {took:.1f} s"
        assert self.soon(lambda: self.town.subscription(self.cast.ada_at_birch).period_n == self.before + 1, 20.0), "Birch's renewal"

    def soon(self, true: Callable[[], bool], seconds: float) -> bool:
        until = time.monotonic() + seconds * self.slowness
        while not (found := true()) and time.monotonic() < until:
            time.sleep(0.05)
        return found


@pytest.fixture
def played() -> None:
    """The fixture's name requests a database with the history of the cast (tests/conftest.py)."""


@pytest.fixture
def served(settings: Settings, make_app: Callable[..., Flask], engine: Any, past: Any, played: None) -> Iterator[Served]:
    app = make_app(replace(settings, outgoing_loopback=True))
    with Served(app, past(engine).for_services(app.extensions["portal"])) as item:
        yield item


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    with hanging() as item:
        yield item


def connection(served: Served, issuer: str, enabled: bool = True) -> str:
    business_id = served.cast.acorn
    served.town.add(
        Connection(
            business_id=business_id,
            id="con_1",
            issuer=issuer,
            client_id="portal",
            client_secret="",
            label="Acorn ID",
            claim="email",
            is_enabled=enabled,
            tested_at=clock.wall(),
            created_at=clock.wall(),
            removed_at=None,
        )
    )
    return f"/login/{business_id}/with/sso"


def logout(served: Served, path: str) -> Any:
    return served.app.test_client().post(f"{path}/logout", data={"logout_token": "a.b.c"})


def test_a_silent_issuer_of_logout_tokens_delays_nobody(served: Served, silent: SilentServer) -> None:
    path = connection(served, silent.url)
    posts = [served.request(lambda: logout(served, path)) for _ in range(ATTACKERS)]
    served.assert_others_unaffected()
    assert {post.result(30).status_code for post in posts} <= {400, 503}
    assert silent.calls <= 3, "failures are cached, and one fetch runs at a time"


def test_a_disabled_connection_is_not_fetched(served: Served, silent: SilentServer) -> None:
    path = connection(served, silent.url, enabled=False)
    posts = [served.request(lambda: logout(served, path)) for _ in range(ATTACKERS)]
    posts += [served.request(lambda: served.app.test_client().get(f"{path}/callback?state=x&code=y")) for _ in range(2)]
    served.assert_others_unaffected()
    assert all(post.result(30).status_code in (400, 503) for post in posts) and silent.calls == 0


def test_a_silent_provider_delays_nobody_elses_sign_in(served: Served, silent: SilentServer) -> None:
    path = connection(served, silent.url)
    people = [Visitor(served.app) for _ in range(ATTACKERS)]
    for identity in people:
        identity.get(f"/login/{served.cast.acorn}")
    posts = [served.request(lambda one=identity: one.post(path, {"next": ""}, expect=None)) for identity in people]
    served.assert_others_unaffected()
    pages = [item.result(30) for item in posts]
    assert {page.status for page in pages} <= {502, 503} and all("Acorn ID" in page.text for page in pages)


def test_a_silent_token_endpoint_delays_nobody(served: Served, silent: SilentServer) -> None:
    """The page says that it is waiting, refreshes, and finally reports that there is no answer."""
    path = connection(served, silent.url)
    metadata = {"authorization_endpoint": f"{silent.url}/a", "token_endpoint": f"{silent.url}/t", "jwks_uri": f"{silent.url}/k"}
    discovery = served.app.extensions["oidc_discovery"]
    discovery._known[silent.url] = CachedMetadata(metadata, KeySet([]), time.monotonic(), time.monotonic())
    people = [Visitor(served.app) for _ in range(ATTACKERS)]
    backs = []
    for item in people:
        item.get(f"/login/{served.cast.acorn}")
        there = item.post(path, {"next": ""}).soup.find("a", class_="btn")["href"]
        backs.append(f"{path}/callback?code=c&state=" + there.split("state=")[1].split("&")[0])
    posts = [served.request(lambda one=item, back=back: one.get(back, expect=None)) for item, back in zip(people, backs, strict=True)]
    served.assert_others_unaffected()
    waiting = [n for n, item in enumerate(posts) if "Waiting for Acorn ID" in item.result(30).text]
    assert waiting, "somebody waits"
    item, back = people[waiting[0]], backs[waiting[0]]
    assert item.page.soup.find("meta", {"http-equiv": "refresh"})["content"] == "2"
    assert Visitor(served.app).get(back, expect=400).status == 400, "another browser takes nothing"
    assert served.soon(lambda: "Waiting" not in item.get(back, expect=None).text, 20.0)
    assert item.page.status == 502 and "Acorn ID is not available at the moment" in item.page.text
    assert item.get(back, expect=400).status == 400, "an outcome is told once"
    assert silent.calls <= len(people), "each code is sent once"
    with served.services.database.open(everything("states")) as db:
        assert all(row.used_at for row in db.scalars(select(ProviderState)))


def test_silent_apps_delay_no_other_logout(served: Served, silent: SilentServer) -> None:
    at, ada = clock.wall(), served.cast.ada_at_acorn
    served.town.add(
        App(
            business_id=ada.business_id,
            id="app_1",
            name="Notes",
            redirect_uris=[],
            post_logout_uris=[],
            backchannel_uri=silent.url,
            created_at=at,
        )
    )
    served.town.add(
        *(
            AppSession(
                business_id=ada.business_id,
                customer_id=ada.customer_id,
                id=f"sid_{n}",
                app_id="app_1",
                identity_id=None,
                grant_id="gone",
                subject="s",
                scope="openid",
                is_offline=False,
                auth_time=at,
                redirect_uri="x",
                challenge="x",
                code_hash=f"h{n}",
                code_expires_at=at,
                code_used_at=at,
                created_at=at,
                expires_at=at + timedelta(days=1),
            )
            for n in range(30)
        )
    )
    served.assert_others_unaffected()
    assert served.soon(lambda: silent.calls > 0, 10.0), "it was tried"
    assert silent.calls <= 6, "one after the other, with pauses"


def test_silent_name_servers_delay_nobody(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A console page that queries DNS, and the daily check of twenty domains."""
    free, asked = threading.Event(), []

    def resolve(name: str) -> list[str]:
        asked.append(name)
        free.wait(5.0)
        return []

    binding = served.app.extensions["domains"]
    monkeypatch.setattr(binding, "resolve", resolve)
    at = clock.wall() - timedelta(days=2)
    rows = [
        Domain(
            business_id=served.cast.acorn,
            id=f"dom_{n}",
            host=f"x{n}.acorn.example",
            token="t",
            created_at=at,
            verified_at=at,
            checked_at=at,
        )
        for n in range(20)
    ]
    served.town.add(*rows)

    def look(row: Domain) -> str:
        try:
            return str(binding.has_record_soon(row))
        except Exception as problem:
            return type(problem).__name__

    posts = [served.request(lambda row=row: look(row)) for row in rows]
    served.assert_others_unaffected()
    assert {post.result(30) for post in posts} <= {"Pending", "Unknown"}
    free.set()
    assert served.soon(lambda: look(rows[0]) == "False", 10.0), "the answer is there when it is asked for again"


def test_failing_renewals_delay_no_other_business(served: Served) -> None:
    ada = served.town.subscription(served.cast.ada_at_acorn)
    served.town.copies(ada, 60, next_billing_at=clock.now() - timedelta(days=1), previous_billing_at=None, zone="Nowhere/Land")
    served.assert_others_unaffected()


def test_a_large_backlog_of_one_business_delays_nobody(served: Served) -> None:
    at = clock.wall() - timedelta(hours=1)
    row = {
        "type": "subscription.updated",
        "lane": served.cast.acorn,
        "business_id": served.cast.acorn,
        "actor_type": "system",
        "data": {},
        "at": at,
        "due_at": at,
        "state": "pending",
        "attempts": 0,
        "fence": 0,
        "done": [],
        "customer_id": served.cast.ada_at_acorn.customer_id,
        "noun_id": served.cast.ada_at_acorn.subscription_id,
    }
    with served.services.database.open(everything("very much work"), write=True) as db:
        db.execute(insert(Outbox), [{**row, "id": f"evt_{n:08d}"} for n in range(20_000)])
    served.assert_others_unaffected()
    with served.services.database.open(everything("the rest is of no interest"), write=True) as db:
        db.execute(update(Outbox).where(Outbox.state == "pending").values(state="done"), execution_options={"synchronize_session": False})
        db.execute(update(BrowserSession).values(last_seen_at=clock.wall()), execution_options={"synchronize_session": False})
