"""/metrics has the right values, on both engines, and during a database outage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from flask import Flask
from sqlalchemy import update

from auth.rate_limits import Limit, spend
from billing.charging.ports import Trace
from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.model.payment_accounts import sandbox_account_id
from billing.model.subscriptions import Subscription
from core import clock, job_runs
from core.job_runs import JobRun
from core.mail import EmailMessage, Mailer
from core.mail_errors import Deferred
from core.mail_metrics import Subject
from core.metrics import snapshot
from core.outbox import Outbox, emit
from core.outbox_claims import BACKOFF
from core.recurring_jobs import JobFailure
from core.scope import everything
from core.settings import Settings
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.harness.database_proxy import DatabaseProxy, database_proxy
from tests.prometheus_text import Scrape, scrape
from tests.serving.server import free_port
from tests.visitor import Visitor

HOUR = timedelta(hours=1)


def change(services: Any, kind: Any, *where: Any, **values: Any) -> None:
    with services.database.open(everything("a test changes"), write=True) as db:
        db.execute(update(kind).where(*where).values(**values), execution_options={"synchronize_session": False})


def left(services: Any, type: str, business_id: str | None = None, **values: Any) -> str:
    with services.database.open(everything("work of a test"), write=True) as db:
        item = emit(db, type, business_id=business_id)
    if values:
        change(services, Outbox, Outbox.id == item, **values)
    return item


def test_queues_say_how_much_is_due_and_for_how_long(cast: Cast, app: Flask) -> None:
    services, at = cast.services, clock.wall()
    left(services, "product.created", cast.acorn, due_at=at - HOUR)
    left(services, "product.created", cast.birch, due_at=at - HOUR / 2)
    left(services, "auth.challenge_requested", due_at=at - timedelta(minutes=5))
    left(services, "product.created", cast.acorn, due_at=at + HOUR)
    left(services, "product.created", cast.acorn, due_at=at + HOUR, attempts=2, fence=2)
    left(services, "product.created", cast.acorn, due_at=at + HOUR, fence=1)
    left(services, "product.created", cast.acorn, state="given_up", attempts=9)
    left(services, "product.created", cast.acorn, state="mail", due_at=at - HOUR)
    left(services, "auth.challenge_requested", state="mail", due_at=at + HOUR, attempts=1)
    now = scrape(app)
    assert [now("portal_queue_items", queue=item) for item in ("business", "emails", "sign_in", "system")] == [2, 1, 1, 0]
    assert now("portal_work_items", queue="sign_in", state="retrying") == 1, "the mail server did not take it"
    assert 3600 <= now("portal_queue_oldest_seconds", queue="business") < 3700
    assert 300 <= now("portal_queue_oldest_seconds", queue="sign_in") < 400
    states = {
        item: now("portal_work_items", queue="business", state=item) for item in ("due", "running", "retrying", "scheduled", "given_up")
    }
    assert states == {"due": 2, "running": 1, "retrying": 1, "scheduled": 1, "given_up": 1}
    assert now("portal_work_items", queue="sign_in", state="due") == 1


def test_failing_work_shows_its_age_and_then_as_given_up(cast: Cast, app: Flask) -> None:
    """Every failure moves the due date, so the queue looks short although no work succeeds."""
    services, worker = cast.services, cast.services.worker
    services.handlers.on("product.created", lambda work: 1 / 0, "broken")
    item = left(services, "product.created", cast.acorn)
    worker.drain()
    assert scrape(app)("portal_work_items", queue="business", state="retrying") == 1
    old = f"evt_{int((time.time() - 7200) * 1000):012x}aaaaaaaaaa"
    change(services, Outbox, Outbox.id == item, id=old)
    assert 7200 <= scrape(app)("portal_work_failing_oldest_seconds", queue="business") < 7300
    change(services, Outbox, Outbox.id == old, attempts=len(BACKOFF), due_at=clock.wall())
    worker.drain()
    now = scrape(app)
    assert now("portal_work_items", queue="business", state="given_up") == 1
    assert now("portal_work_failing_oldest_seconds", queue="business") == 0


def test_job_runs_are_counted_by_success_and_failure(cast: Cast, app: Flask) -> None:
    worker = cast.services.worker
    tick = next(item for item in worker.ticks if item.name == "renewals")
    before = scrape(app)
    assert before("portal_job_last_success_timestamp_seconds", job="renewals") == 0, "it has never run"
    assert before("portal_job_interval_seconds", job="renewals") == 5
    began = time.time()
    job_runs.run(worker.database, "renewals", tick.run)
    good = scrape(app)
    assert began - 1 <= good("portal_job_last_success_timestamp_seconds", job="renewals") <= time.time() + 1
    assert good("portal_job_seconds_count", job="renewals") == before.get("portal_job_seconds_count", job="renewals") + 1

    with pytest.raises(ZeroDivisionError):
        job_runs.run(worker.database, "renewals", lambda: 1 / 0)
    bad = scrape(app)
    assert bad("portal_job_failing_runs", job="renewals") == 1
    assert bad("portal_job_last_run_timestamp_seconds", job="renewals") >= good("portal_job_last_run_timestamp_seconds", job="renewals")
    assert bad("portal_job_last_success_timestamp_seconds", job="renewals") == good(
        "portal_job_last_success_timestamp_seconds", job="renewals"
    )
    assert bad("portal_job_failures_total", job="renewals") == before.get("portal_job_failures_total", job="renewals") + 1
    with cast.services.database.open(everything("a test looks")) as db:
        row = db.get(JobRun, "renewals")
        assert row is not None and row.error == "ZeroDivisionError"
    job_runs.run(worker.database, "renewals", tick.run)
    assert scrape(app)("portal_job_failing_runs", job="renewals") == 0


def test_job_runs_are_recorded_at_intervals(cast: Cast) -> None:
    job_runs.run(cast.services.database, "quick", lambda: None)
    change(cast.services, JobRun, JobRun.name == "quick", duration_ms=-1)
    job_runs.run(cast.services.database, "quick", lambda: None)
    with cast.services.database.open(everything("a test looks")) as db:
        row = db.get(JobRun, "quick")
        assert row is not None and row.duration_ms == -1, "nothing was written"


def test_late_renewals_and_failed_rows_are_counted(cast: Cast, app: Flask) -> None:
    item = cast.ada_at_acorn.subscription_id
    assert scrape(app)("portal_renewals_due") == 0
    change(cast.services, Subscription, Subscription.id == item, next_billing_at=clock.now() - 3 * HOUR, previous_billing_at=None)
    with cast.services.database.open(everything("a failure of a test"), write=True) as db:
        db.add(
            JobFailure(
                business_id=cast.acorn,
                id=f"renewals:{item}",
                job="renewals",
                row_id=item,
                failures=3,
                error="x",
                retry_at=clock.wall() + HOUR,
                began_at=clock.wall(),
                failed_at=clock.wall(),
            )
        )
    now = scrape(app)
    assert now("portal_renewals_due") == 1, "also while it backs off"
    assert 3 * 3600 <= now("portal_renewals_oldest_seconds") < 3 * 3600 + 100
    assert now("portal_job_failed_rows", job="renewals") == 1
    change(cast.services, Subscription, Subscription.id == item, collected_by="elsewhere")
    assert scrape(app)("portal_renewals_due") == 0, "another system renews it"


def test_reconciliation_exceptions_are_counted(cast: Cast, app: Flask) -> None:
    with cast.services.database.open(everything("an exception of a test"), write=True) as db:
        db.add(
            ReconciliationException(
                business_id=cast.acorn,
                id=cast.ada_at_acorn.payment_id,
                noun="payment",
                reason="amount_differs",
                noted_at=clock.wall() - HOUR,
            )
        )
    now = scrape(app)
    assert now("portal_reconciliation_exceptions", reason="amount_differs") == 1
    assert now("portal_reconciliation_exceptions", reason="window_over") == 0
    assert 3600 <= now("portal_reconciliation_oldest_seconds") < 3700
    change(cast.services, ReconciliationException, ReconciliationException.business_id == cast.acorn, closed_at=clock.wall())
    assert scrape(app)("portal_reconciliation_exceptions", reason="amount_differs") == 0


def test_the_webhook_backlog_is_counted(cast: Cast, app: Flask) -> None:
    from tenants.webhooks.models import Delivery, Endpoint

    at = clock.wall() - HOUR
    with cast.services.database.open(everything("webhooks of a test"), write=True) as db:
        for id, failing in (("ep_1", None), ("ep_2", at)):
            db.add(
                Endpoint(
                    business_id=cast.acorn,
                    id=id,
                    url="http://localhost/",
                    secret="",
                    created_at=at,
                    due_at=at,
                    updated_at=at,
                    failing_since=failing,
                )
            )
            db.flush()
            for n, state in enumerate(("pending", "pending", "delivered")):
                db.add(
                    Delivery(
                        business_id=cast.acorn,
                        id=f"whd_{id}_{n}",
                        endpoint_id=id,
                        event_id=f"evt_{n}",
                        message_id=f"m{n}",
                        type="x",
                        data={},
                        event_at=at,
                        state=state,
                        due_at=at,
                        created_at=at,
                    )
                )
    now = scrape(app)
    assert now("portal_queue_items", queue="webhooks") == 4
    assert 3600 <= now("portal_queue_oldest_seconds", queue="webhooks") < 3700
    assert {item: now("portal_webhook_endpoints", state=item) for item in ("healthy", "failing", "disabled")} == {
        "healthy": 1,
        "failing": 1,
        "disabled": 0,
    }


# --- emails, the processor, signing in


class _MailServer:
    reply = "250 OK"

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if self.reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.reply

    async def handle_DATA(self, _server: Any, _session: Any, _envelope: Any) -> str:
        return "250 OK"


@on_sqlite
def test_emails_are_counted_by_template_and_outcome(settings: Settings, database: Any, make_app: Callable[..., Flask]) -> None:
    handler, app = _MailServer(), make_app(settings)
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    mailer = Mailer(replace(settings, mail_server="127.0.0.1", mail_port=controller.port), database)
    message = EmailMessage("ada@marlow.example", Subject("Hello", "sign_in"), "Hello")
    before = scrape(app)

    def send(number: int, reply: str) -> None:
        handler.reply = reply
        try:
            mailer.send(message, f"evt_{number}:sign_in")
        except Deferred:
            assert reply[0] == "4"

    for number, reply in enumerate(("250 OK", "250 OK", "550 no such mailbox", "451 try later")):
        send(number, reply)
    controller.stop()
    send(4, "421 it is down")
    now = scrape(app)
    found = {
        outcome: now("portal_emails_total", kind="sign_in", outcome=outcome)
        - before.get("portal_emails_total", kind="sign_in", outcome=outcome)
        for outcome in ("sent", "refused", "deferred")
    }
    assert found == {"sent": 2, "refused": 1, "deferred": 2}
    assert "ada@" not in now.text and "marlow" not in now.text


@on_sqlite
def test_an_email_is_counted_under_the_template_it_was_rendered_from(app: Flask) -> None:
    from core.mail import render_email

    with app.app_context():
        subject, text, html = render_email("address_changed", "de", to="a@b.example", what="added", address="c@d.example", url="x")
    assert EmailMessage("a@b.example", subject, text, html).kind == "address_changed"
    assert EmailMessage("a@b.example", "Hello", "Hello").kind == "other"


def test_processor_calls_are_counted_by_answer(cast: Cast, app: Flask) -> None:
    processor, before = cast.services.processor, scrape(app)
    change(
        cast.services,
        Subscription,
        Subscription.id == cast.ada_at_acorn.subscription_id,
        next_billing_at=clock.now() - HOUR,
        previous_billing_at=None,
    )
    next(tick for tick in cast.services.worker.ticks if tick.name == "renewals").run()
    account = (cast.acorn, sandbox_account_id(cast.acorn))
    processor.gateway_of(account).look_up(Trace("no such key"))

    def broken(_trace: Trace) -> None:
        raise ConnectionError

    cast.services.gateway.cancel = broken
    try:
        with pytest.raises(ConnectionError):
            processor.gateway_of(account).cancel(Trace("x"))
    finally:
        del cast.services.gateway.cancel
    now = scrape(app)
    for call, outcome in (("charge", "succeeded"), ("look_up", "not_found"), ("cancel", "error")):
        assert (
            now("portal_processor_calls_total", call=call, outcome=outcome)
            == before.get("portal_processor_calls_total", call=call, outcome=outcome) + 1
        ), call
    timed = [item.get("portal_processor_call_seconds_count", call="look_up") for item in (before, now)]
    assert timed[1] == timed[0] + 1


@on_sqlite
def test_failed_sign_ins_and_used_up_limits_are_counted_by_reason(cast: Cast, app: Flask) -> None:
    before, ada = scrape(app), Visitor(app)
    ada.get("/login")
    ada.post("/login", {"csrf_token": ada.token(), "email": Cast.ADA})
    ada.get("/login/sent")
    token = ada.token()
    ada.post("/login/code", {"csrf_token": token, "code": "WRONGONE"}, expect=None)
    item = Limit("email:hour:somebody", 1, HOUR)
    assert spend(cast.services.database, [item]) and not spend(cast.services.database, [item])
    now = scrape(app)
    assert now("portal_sign_in_failures_total", reason="wrong_code") == before("portal_sign_in_failures_total", reason="wrong_code") + 1
    assert now("portal_throttled_total", limit="email") == before.get("portal_throttled_total", limit="email") + 1
    assert "somebody" not in now.text


# --- the database


def test_statements_connections_and_the_clock_are_measured(cast: Cast, app: Flask, engine: Any) -> None:
    before = scrape(app)
    Visitor(app).get("/login")
    now = scrape(app)
    assert now("portal_database_statement_seconds_count", database="primary") > before(
        "portal_database_statement_seconds_count", database="primary"
    )
    assert now("portal_database_up") == 1 and now("portal_database_schema_current") == 1
    assert abs(now("portal_clock_difference_seconds")) < 5, "both are on this machine"
    with cast.services.database.open(everything("a connection that is held")) as db:
        db.get(JobRun, "x")
        held = scrape(app)("portal_database_pool_in_use", database="primary")
    after = scrape(app)
    assert held == after("portal_database_pool_in_use", database="primary") + 1
    assert after("portal_database_pool_limit", database="primary") >= 16


def test_the_replica_is_measured_separately(settings: Settings, make_app: Callable[..., Flask]) -> None:
    app = make_app(replace(settings, database_replica_url=settings.database_url))
    with app.extensions["portal"].database.open(everything("read from the replica"), replica=True) as db:
        db.get(JobRun, "x")
    now = scrape(app)
    assert now("portal_replica_up") == 1 and now("portal_replica_lag_seconds") == 0
    assert now("portal_database_statement_seconds_count", database="replica") > 0


@pytest.fixture
def proxy(settings: Settings) -> Iterator[DatabaseProxy]:
    with database_proxy(settings.database_url) as item:
        yield item


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize("silent", [False, True], ids=["down", "silent"])
def test_a_scrape_answers_while_the_database_is_away(
    settings: Settings, proxy: DatabaseProxy, make_app: Callable[..., Flask], silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(replace(settings, database_url=proxy.url(settings.database_url)))
    assert scrape(app)("portal_database_up") == 1
    if silent:
        proxy.silent = True
    else:
        proxy.cut()
    began = time.monotonic()
    away = scrape(app, patience=1.0)
    assert time.monotonic() - began < 20
    assert away("portal_database_up") == 0 and away("portal_build_info", **away.labels("portal_build_info")[0]) == 1
    assert "portal_requests_total" in away.names and "portal_queue_items" not in away.names
    proxy.restore()
    until = time.monotonic() + 60
    while not (back := scrape(app, patience=1.0))("portal_database_up"):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert "portal_queue_items" in back.names


def test_an_unreadable_metric_hides_no_other(cast: Cast, app: Flask) -> None:
    def broken(db: Any) -> Any:
        yield snapshot.gauge("portal_never", "x", {(): 1})
        db.execute(update(Outbox).values(state="x"))  # refused: this session only reads

    services = cast.services
    services.metrics.add("a broken one", broken)
    try:
        now = scrape(app)
    finally:
        del services.metrics._reads["a broken one"]
    assert now("portal_metrics_failed", group="a broken one") == 1 and "portal_never" not in now.names
    assert now("portal_metrics_failed", group="queues") == 0 and now("portal_database_up") == 1


# --- who may ask


@on_sqlite
def test_metrics_are_for_operators_under_any_host(tmp_path: Any, settings: Settings, make_app: Callable[..., Flask]) -> None:
    """A scraper connects to each process by its address, which is not an accepted Host for people."""
    live = replace(
        settings,
        mode="live",
        base_url="https://portal.example",
        secret_keys=("k" * 40,),
        operator_secret="secret of operators",
        gateway="none",
        mail_server="127.0.0.1",
        mail_default_sender="portal@portal.example",
        allow_sqlite=True,
    )
    from core import schema

    live = replace(live, database_url=f"sqlite:///{tmp_path / 'live.sqlite3'}")
    schema.upgrade(live)
    client = make_app(live).test_client()
    good = {"Authorization": "Bearer secret of operators"}
    for base in ("https://portal.example", "http://10.0.0.7:5000", "http://localhost"):
        assert client.get("/metrics", base_url=base).status_code == 404
        for wrong in ("Bearer", "Bearer ", "Bearer wrong", "Basic secret of operators", "secret of operators", "Bearer \N{SNOWMAN}"):
            assert client.get("/metrics", base_url=base, headers={"Authorization": wrong}).status_code == 404
        assert client.get("/metrics", base_url=base, headers=good).status_code == 200
        assert client.get("/metrics", base_url=base, headers={"X-Operator-Secret": "secret of operators"}).status_code == 200
    assert Scrape(client.get("/metrics", headers=good).text)("portal_database_up") == 1
    assert client.get("/", base_url="http://10.0.0.7:5000").status_code == 421
