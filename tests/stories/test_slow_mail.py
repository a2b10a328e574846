"""With a slow mail server two workers send no email twice, nothing else waits, and SIGTERM ends after the current emails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from auth.portal_links import mail_portal_link
from billing.model.subscriptions import Subscription
from core import clock, outbox_claims
from core.outbox import Outbox, emit
from core.scope import everything, system
from core.settings import Settings
from core.worker import SENDERS
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.house.test_jobs_take_turns import Town
from tests.serving.server import free_port
from tests.smtp_server import SmtpServer

ROOT = Path(__file__).resolve().parents[2]
EMAILS = 8


@pytest.fixture
def played() -> None:
    """The fixture's name requests a database with the history of the cast (tests/conftest.py)."""


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    server = SmtpServer()
    server.start()
    server.gate.clear()
    yield server
    server.gate.set()
    server.stop()


@pytest.fixture
def apps(settings: Settings, make_app: Callable[..., Flask], smtp: SmtpServer, played: None) -> list[Flask]:
    mailed = replace(settings, mail_server="127.0.0.1", mail_port=smtp.port)
    return [make_app(mailed), make_app(mailed)]


def soon(true: Callable[[], bool], seconds: float = 60.0) -> bool:
    until = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def emails_for_ben(app: Flask, cast: Cast) -> None:
    with app.app_context(), cast.services.database.open(system(cast.birch), write=True) as db:
        for _ in range(EMAILS):
            mail_portal_link(db, cast.birch, cast.ben.customer_id, settings=cast.services.settings)


def work(cast: Cast, *where: Any) -> list[Outbox]:
    with cast.services.database.open(everything("a test looks")) as db:
        return list(db.scalars(select(Outbox).where(*where)))


def test_two_workers_send_each_email_once_and_nothing_else_waits_for_a_slow_mail_server(
    apps: list[Flask], engine: Any, past: Any, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_claims, "LEASE", timedelta(seconds=3))
    monkeypatch.setattr("core.worker.LEASE", timedelta(seconds=3))
    cast = past(engine).for_services(apps[0].extensions["portal"])
    town = Town(cast)
    before = town.subscription(cast.ada_at_birch).period_n
    stop, began = threading.Event(), time.monotonic()
    workers = [threading.Thread(target=app.extensions["portal"].worker.run_forever, args=(stop,), daemon=True) for app in apps]
    emails_for_ben(apps[0], cast)
    for item in workers:
        item.start()
    try:
        assert soon(lambda: len(smtp.began) == min(EMAILS, 2 * SENDERS)), "each sender has one email"
        town.change(
            Subscription,
            Subscription.id == cast.ada_at_birch.subscription_id,
            next_billing_at=clock.now() - timedelta(minutes=1),
            previous_billing_at=None,
        )
        with cast.services.database.open(everything("other work"), write=True) as db:
            other = emit(db, "product.created", business_id=cast.acorn)
        assert soon(lambda: town.subscription(cast.ada_at_birch).period_n == before + 1), "the renewal"
        assert soon(lambda: work(cast, Outbox.id == other)[0].state == "done"), "other work"
        assert soon(lambda: bool(work(cast, Outbox.type == "payment.succeeded", Outbox.state == "mail")))
        [renewed] = work(cast, Outbox.type == "payment.succeeded", Outbox.state == "mail")
        assert "webhooks.queue" in renewed.done, "webhooks of the renewal do not wait for its email"
        assert soon(lambda: time.monotonic() - began > 5), "longer than a lease"
        assert smtp.received == []
        smtp.gate.set()
        assert soon(lambda: not work(cast, Outbox.state.in_(("pending", "mail"))), 120), [
            (item.type, item.state, item.attempts, item.error, item.due_at) for item in work(cast, Outbox.state.in_(("pending", "mail")))
        ]
    finally:
        stop.set()
        smtp.gate.set()
        for app in apps:
            app.extensions["portal"].worker.wake()
        for item in workers:
            item.join(30)
    assert len([item for item in smtp.received if "/session/" in item.text]) == EMAILS
    assert max(Counter(item.message_id for item in smtp.received).values()) == 1


@on_sqlite
def test_sigterm_ends_after_the_emails_at_hand_and_gives_the_rest_back(
    apps: list[Flask], settings: Settings, engine: Any, past: Any, smtp: SmtpServer
) -> None:
    """On SQLite the worker runs inside `serve`, on PostgreSQL separately."""
    cast = past(engine).for_services(apps[0].extensions["portal"])
    emails_for_ben(apps[0], cast)
    command = ["serve", "--port", str(free_port())] if engine.name == "sqlite" else ["worker"]
    environment = {
        **os.environ,
        "PORTAL_BASE_URL": settings.base_url,
        "DATABASE_URL": settings.database_url,
        "DATABASE_OWNER_URL": settings.database_owner_url or "",
        "PORTAL_DATA_DIR": str(settings.data_dir),
        "MAIL_SERVER": "127.0.0.1",
        "MAIL_PORT": str(smtp.port),
        "PORTAL_MODE": "test",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "wsgi", *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert soon(lambda: len(smtp.began) == SENDERS)
        process.send_signal(signal.SIGTERM)
        assert soon(lambda: process.poll() is not None, 1.0) is False, "it waits for the emails that are being sent"
        smtp.gate.set()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert len(smtp.received) == SENDERS == len(work(cast, Outbox.type == "portal_link.requested", Outbox.state == "done"))
    left = work(cast, Outbox.state.in_(("pending", "mail")), Outbox.type == "portal_link.requested")
    assert len(left) == EMAILS - SENDERS and all(item.due_at <= clock.wall() for item in left), "due for the next worker at once"
    apps[1].extensions["portal"].worker.drain()
    assert len(smtp.received) == EMAILS and max(Counter(item.message_id for item in smtp.received).values()) == 1
