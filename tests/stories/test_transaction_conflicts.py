"""Transaction conflicts: one lock order for people, and rolled-back transactions run again if they had no external effects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask, flash, request, session
from sqlalchemy import select, update

from auth import account_merge, close_account, session_lifecycle, sessions
from auth.models import BrowserSession, Grant, Identity, IdentityEmail, Merge
from auth.sessions import Visit
from billing.customers.businesses import create_business
from billing.model.parties import Business
from core import clock, transaction_retry
from core.background_calls import BackgroundCalls
from core.db import Database
from core.errors import PortalError
from core.request_context import db, open_for_request, services
from core.scope import everything
from core.security import csrf_exempt
from core.settings import Settings
from core.transaction_retry import note_effect, retried
from tenants.external.page_calls import PageCalls

ROUNDS = 16


def together(*works: Callable[[], object]) -> list[object]:
    """Run in threads at the same time. Returns each result or error."""
    gate, out = threading.Barrier(len(works)), [None] * len(works)

    def run(n: int) -> None:
        gate.wait()
        try:
            out[n] = works[n]()
        except Exception as problem:
            out[n] = problem

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return out


def person(database: Database, settings: Settings, name: str) -> Visit:
    """Create a person with two addresses and two sessions. Returns the visit of one session."""
    keys = [f"{name}@{services}.example" for services in ("home", "work")]
    with database.open(everything("somebody"), write=True) as db:
        db.add(Identity(identity_id=f"idn_{name}", name="", created_at=clock.wall()))
        db.flush()
        for n, key in enumerate(keys):
            db.add(
                IdentityEmail(
                    identity_id=f"idn_{name}", id=f"eml_{name}{n}", email=key, email_key=key, is_primary=n == 0, verified_at=clock.wall()
                )
            )
        db.flush()
        secrets = [
            session_lifecycle.open_session(
                db, settings, f"idn_{name}", None, "Firefox", sign_in_method="email", address_key=keys[0], is_known=True
            )
            for _ in range(2)
        ]
    visit = sessions.load(database, settings, secrets[0])
    assert visit is not None
    return visit


@pytest.mark.parametrize("who_closes", ["into", "from"])
def test_parallel_closing_and_merging_do_not_deadlock(database: Database, settings: Settings, who_closes: str) -> None:
    for n in range(ROUNDS):
        into, other = person(database, settings, f"ada{n}"), person(database, settings, f"ben{n}")
        at = clock.wall()
        with database.open(everything("both want it"), write=True) as db:
            db.add(
                Merge(
                    id=f"mrg_{n}",
                    into_id=into.identity_id,
                    from_id=other.identity_id,
                    email=other.email,
                    email_key=other.email,
                    into_agreed_at=None,
                    from_agreed_at=at,
                    created_at=at,
                    expires_at=at + account_merge.LIFE,
                    ended_at=None,
                )
            )
        closes = into if who_closes == "into" else other
        out = together(
            lambda n=n, into=into: account_merge.agree(database, into, f"mrg_{n}"),
            lambda closes=closes: close_account.close(database, closes),
        )
        assert all(item is None or item is True or isinstance(item, PortalError) for item in out), out
        with database.open(everything("who is left")) as db:
            left = set(db.scalars(select(Identity.identity_id).where(Identity.identity_id.in_([into.identity_id, other.identity_id]))))
            emails = set(
                db.scalars(select(IdentityEmail.identity_id).where(IdentityEmail.identity_id.in_([into.identity_id, other.identity_id])))
            )
            open_ = set(
                db.scalars(
                    select(BrowserSession.identity_id)
                    .join(Grant, Grant.session_id == BrowserSession.id)
                    .where(BrowserSession.identity_id == closes.identity_id, BrowserSession.revoked_at.is_(None))
                )
            )
        merged, closed = out[0] is True, out[1] is None
        assert merged or closed, "one of the two was done"
        if closed:
            assert closes.identity_id not in left and not open_
        assert emails == left, "no address without a person, and no person without an address"


# --- requests


@pytest.fixture
def meeting(settings: Settings, make_app: Callable[..., Flask]) -> Any:
    """An application with pages that lock two businesses in opposite orders, so that their first runs conflict."""
    app = make_app(settings)
    with app.extensions["portal"].database.open(everything("two businesses"), write=True) as rows:
        app.ids = [create_business(rows, name=name, currency="EUR").business_id for name in ("Acorn", "Birch")]  # type: ignore[attr-defined]
    app.runs, app.gate = [], threading.Barrier(2)  # type: ignore[attr-defined]

    def rename(business_id: str, name: str) -> None:
        db().execute(
            update(Business).where(Business.business_id == business_id).values(name=name), execution_options={"synchronize_session": False}
        )

    @app.post("/meet/<way>")
    @csrf_exempt
    def meet(way: str) -> Any:
        app.runs.append(way)  # type: ignore[attr-defined]
        open_for_request(everything("a page of a test"))
        if request.args.get("effect"):
            with services().database.open(everything("something that stays"), write=True):
                pass
        flash(f"{way} is done")
        ids = app.ids if way == "up" else app.ids[::-1]  # type: ignore[attr-defined]
        rename(ids[0], f"{way} first")
        if len(app.runs) <= 2 and not app.extensions["portal"].database.is_sqlite:  # type: ignore[attr-defined]
            app.gate.wait(20)  # type: ignore[attr-defined]
        rename(ids[1], f"{way} second")
        uploaded = request.files.get("file")
        return {"done": way, "flashes": len(session.get("_flashes", [])), "size": len(uploaded.read()) if uploaded else 0}

    return app


def post(app: Flask, way: str, **more: Any) -> Callable[[], Any]:
    import io

    def call() -> Any:
        data = {"file": (io.BytesIO(b"x" * 100), "x.png")}
        return app.test_client().post(f"/meet/{way}", query_string=more, data=data, headers={"Accept": "application/json"})

    return call


def test_a_conflicting_request_is_run_again(meeting: Any) -> None:
    answers = together(post(meeting, "up"), post(meeting, "down"))
    assert [answer.status_code for answer in answers] == [200, 200], answers
    assert [answer.json for answer in answers] == [{"done": way, "flashes": 1, "size": 100} for way in ("up", "down")]
    with meeting.extensions["portal"].database.open(everything("what came of it")) as rows:
        names = [rows.scalar(select(Business.name).where(Business.business_id == row_id)) for row_id in meeting.ids]
    assert names in (["up first", "up second"], ["down second", "down first"]), "one after the other, each as a whole"
    if not meeting.extensions["portal"].database.is_sqlite:
        assert len(meeting.runs) == 3


def test_a_request_with_effects_outside_is_not_run_again(meeting: Any) -> None:
    """It committed something. Its page says so, and an API client is told that it may repeat the call."""
    if meeting.extensions["portal"].database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    answers = together(post(meeting, "up", effect="1"), post(meeting, "down", effect="1"))
    assert sorted(answer.status_code for answer in answers) == [200, 409] and len(meeting.runs) == 2
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.headers["Retry-After"] == "1" and refused.json["code"] == "CONFLICT"


def test_conflicting_functions_run_again_unless_they_have_effects(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    with database.open(everything("two businesses"), write=True) as rows:
        ids = [create_business(rows, name=name, currency="EUR").business_id for name in ("Acorn", "Birch")]
    for effect in (False, True):
        gate, runs = threading.Barrier(2), []

        @retried
        def both(order: list[str], effect: bool = effect, gate: Any = gate, runs: Any = runs) -> None:
            runs.append(order)
            if effect:
                note_effect()
            with database.open(everything("both of them"), write=True) as rows:
                for n, item in enumerate(order):
                    rows.scalar(select(Business).where(Business.business_id == item).with_for_update())
                    if n == 0 and len(runs) <= 2:
                        with suppress_broken(gate):
                            gate.wait(10)

        out = together(lambda both=both: both(ids), lambda both=both: both(ids[::-1]))
        if effect:
            assert sum(item is not None and transaction_retry.is_conflict(item) for item in out) == 1 and len(runs) == 2  # type: ignore[arg-type]
        else:
            assert out == [None, None] and len(runs) == 3


@contextmanager
def suppress_broken(_gate: threading.Barrier) -> Iterator[None]:
    try:
        yield
    except threading.BrokenBarrierError:
        pass


def test_background_calls_count_as_effects() -> None:
    """Otherwise the request would run again and call again."""
    for ask in (
        lambda: BackgroundCalls().wait_for("a provider", "its keys", str),
        lambda: BackgroundCalls().start("a provider", "a logout", str),
        lambda: PageCalls().wait_for("bus_a", str),
    ):
        before = transaction_retry.effects()
        ask()
        assert transaction_retry.effects() == before + 1
