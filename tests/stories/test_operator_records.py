"""The outcome of every email, found by a hash of its address, and the runs of recurring jobs. No address is stored."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from core import clock, email_log, email_log_queries, job_runs
from core.email_log import EmailRecord
from core.guard import raw_sql
from core.handlers import Handlers
from core.job_runs import JobRun
from core.mail import EmailMessage, Mailer
from core.mail_errors import Deferred
from core.operations import health
from core.operations.audit import OperatorAction
from core.scope import everything
from core.services import Services
from core.worker import Tick, Worker
from tenants.operator.labels import OUTCOMES
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.stories.operators import SECRET, actions, failed_work, sign_in, with_secret


class Answers:
    """An SMTP server that answers by the local part of the address. `taken`: the recipients of accepted emails.

    `meanwhile` runs before each answer about an email.
    """

    def __init__(self) -> None:
        self.port, self.taken = 0, list[str]()
        self.meanwhile: Callable[[], object] = lambda: None

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        answer = {"nobody": "550 no such mailbox", "full": "452 mailbox full"}.get(address.partition("@")[0])
        if answer is None:
            envelope.rcpt_tos.append(address)
        else:
            self.meanwhile()
        return answer or "250 ok"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.meanwhile()
        if envelope.rcpt_tos[0].startswith("spam"):
            return "554 looks like spam"
        self.taken += envelope.rcpt_tos
        return "250 taken"


@pytest.fixture
def smtp() -> Iterator[Answers]:
    answers = Answers()
    with socket.create_server(("127.0.0.1", 0)) as free:
        answers.port = free.getsockname()[1]
    controller = Controller(answers, hostname="127.0.0.1", port=answers.port, enable_SMTPUTF8=False)
    controller.start()
    yield answers
    controller.stop()


def send(mailer: Mailer, to: str, key: str) -> None:
    """Send an email and ignore failures, because the log has the outcome either way."""
    with suppress(Exception):
        mailer.send(EmailMessage(to, "Hello", "Words for Ada"), key)


def outcomes(services: Services, address: str) -> list[tuple[str, str, int | None, int]]:
    """Return (event, outcome, code, attempts), oldest first."""
    with services.database.open(everything("a test looks at emails")) as db:
        found = reversed(email_log_queries.of_address(db, services.settings, address))
        return [(item.event_id, item.outcome, item.code, item.attempts) for item in found]


@contextmanager
def broken_email_log(services: Services) -> Iterator[None]:
    """Make writes to the email log fail."""
    for old, new in (("email_log", "email_log_away"), ("email_log_away", "email_log")):
        with raw_sql(), services.database.engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")
        if new == "email_log_away":
            yield


def test_every_outcome_of_an_email_is_found_by_its_address(app: Flask, services: Services, smtp: Answers) -> None:
    settings = replace(services.settings, mail_server="127.0.0.1", mail_port=smtp.port)
    mailer = Mailer(settings, services.database)
    send(mailer, "Ada@Marlow.example", "evt_1:payment_failed")
    send(mailer, "ada@marlow.example", "evt_2:owner_notice:ada@marlow.example")
    for to in ("nobody@marlow.example", "full@marlow.example", "spam@marlow.example", "josé@marlow.example"):
        send(mailer, to, f"evt_4:receipt:{to}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]
    send(Mailer(replace(settings, mail_port=closed), services.database), "ben@hill.example", "evt_5:receipt")
    assert outcomes(services, "ADA@marlow.EXAMPLE") == [("evt_1", "sent", 250, 1), ("evt_2", "sent", 250, 1)]
    assert outcomes(services, "nobody@marlow.example") == [("evt_4", "refused", 550, 1)]
    assert outcomes(services, "full@marlow.example") == [("evt_4", "deferred", 452, 1)]
    assert outcomes(services, "spam@marlow.example") == [("evt_4", "refused", 554, 1)]
    assert outcomes(services, "josé@marlow.example") == [("evt_4", "deferred", None, 1)], "the server may learn to take it"
    mailer.send_each((EmailMessage(to, "Hello", "Hello"), f"evt_6:notice:{to}") for to in ("josé@marlow.example", "eve@marlow.example"))
    assert outcomes(services, "josé@marlow.example")[1:] == [("evt_6", "refused", None, 1)], "another address of the person got it"
    assert outcomes(services, "ben@hill.example") == [("evt_5", "deferred", None, 1)]
    for _ in range(2):
        send(mailer, "ben@hill.example", "evt_5:receipt")
    assert outcomes(services, "ben@hill.example") == [("evt_5", "sent", 250, 2)], "one row, however often it is tried"
    states = {email_log.QUEUED, email_log.SENT, email_log.KEPT, email_log.REFUSED, email_log.WITHHELD}
    assert set(OUTCOMES) == states | {"deferred"}, "the page has words for each"
    with services.database.open(everything("a test looks for addresses")) as db:
        for row in db.scalars(select(EmailRecord)):
            assert not any("marlow.example" in str(value) or "hill.example" in str(value) for value in vars(row).values())


@on_sqlite
def test_each_mailbox_has_its_own_hash(services: Services) -> None:
    """Only ASCII characters are folded, because others may belong to other people (the Kelvin sign is no k, İ no i)."""

    def of(address: str) -> str:
        return email_log.address_hash(services.settings, address)

    assert of("Ada@Marlow.example ") == of("ada@marlow.EXAMPLE") and of("ada@Bücher.example") == of("ada@xn--bcher-kva.example")
    for item, other in (
        ("É@marlow.example", "é@marlow.example"),
        ("\u212aim@marlow.example", "kim@marlow.example"),
        ("İ@marlow.example", "i\u0307@marlow.example"),
        ("ada@faß.example", "ada@fass.example"),
    ):
        assert of(item) != of(other), item


def test_an_operator_looks_up_an_address_that_is_neither_stored_nor_shown(
    cast: Cast, app: Flask, services: Services, smtp: Answers
) -> None:
    with_secret(services)
    [kept, deferred, sent, refused] = [failed_work(cast, "set_aside") for _ in range(4)]
    send(services.mailer, cast.ADA, f"{kept}:paused")
    mailer = Mailer(replace(services.settings, mail_server="127.0.0.1", mail_port=smtp.port), services.database)
    for id, to in ((deferred, "full@marlow.example"), (refused, "nobody@marlow.example"), (sent, "ada.sent@marlow.example")):
        send(mailer, to, f"{id}:paused")
    operator = sign_in(app)
    operator.get("/operator/emails")
    assert "Enter an email address" in operator.submit("emails", address="Ada", expect=422).text
    for address, id, words in (
        (f" {cast.ADA.upper()} ", kept, ["Kept in the test mailbox"]),
        ("ada.sent@marlow.example", sent, ["Sent", "SMTP 250"]),
        ("full@marlow.example", deferred, ["Deferred", "SMTP 452", "after one attempt"]),
        ("nobody@marlow.example", refused, ["Refused", "SMTP 550"]),
    ):
        found = operator.submit("emails", address=address)
        assert found.soup is not None
        [row] = [row.get_text(" ", strip=True) for row in found.soup.select("section[aria-labelledby=found] tbody tr")]
        assert row.startswith(f"subscription.paused {id}") and all(word in row for word in words), row
        assert address.strip().lower() not in found.body.decode().lower() and "Words for Ada" not in found.text
        assert "no such mailbox" not in found.text, "the server's words may hold an address"
    assert "No email to this address" in operator.submit("emails", address="mallory@void.example").text
    looked = actions(services, "signed_in")
    assert [item[0] for item in looked] == ["emails_looked_up"] * 5 and len({item[1] for item in looked}) == 5
    assert not any("@" in str(value) for item in looked for value in item)
    assert cast.ADA not in operator.get("/operator/actions").text


@on_sqlite
def test_a_rotated_key_still_finds_older_emails(services: Services) -> None:
    send(services.mailer, "ada@marlow.example", "evt_1:receipt")
    services.settings = replace(services.settings, secret_keys=("a newer key " * 4, *services.settings.secret_keys))
    assert len(outcomes(services, "ada@marlow.example")) == 1
    live = replace(services.settings, mode="live")
    assert email_log.address_hash(services.settings, "ada@marlow.example") != email_log.address_hash(live, "ada@marlow.example"), (
        "test and live have hashes of their own"
    )


def test_old_records_are_removed(cast: Cast, app: Flask, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(email_log, "BATCH", 2)
    with_secret(services)
    sign_in(app)
    for number in range(6):
        send(services.mailer, cast.ADA, f"evt_{number}:receipt")
    at = clock.wall()
    with services.database.open(everything("a test makes records old"), write=True) as db:
        for days, ids in ((91, ("evt_0", "evt_1", "evt_2", "evt_3", "evt_4")), (89, ("evt_5",))):
            db.execute(update(EmailRecord).where(EmailRecord.event_id.in_(ids)).values(updated_at=at - timedelta(days=days)))
        db.execute(update(OperatorAction).values(at=at - timedelta(days=401)))
    for tick in services.worker.ticks:
        if tick.name in ("old operator records", "old sign-ins"):
            tick.run()
    assert [outcome[0] for outcome in outcomes(services, cast.ADA)] == ["evt_5"] and not actions(services)


@on_sqlite
def test_an_outcome_that_cannot_be_written_sends_no_email_again(services: Services, smtp: Answers) -> None:
    """The log fails while the server accepts the first email, so the second record fails and the work is repeated."""
    mailer = Mailer(replace(services.settings, mail_server="127.0.0.1", mail_port=smtp.port), services.database)
    emails = [(EmailMessage(to, "Hello", "Hello"), f"evt_1:notice:{to}") for to in ("ada@marlow.example", "ben@hill.example")]
    with ExitStack() as away:
        smtp.meanwhile = lambda: away.enter_context(broken_email_log(services))
        with pytest.raises(OperationalError):
            mailer.send_each(emails)
    assert smtp.taken == ["ada@marlow.example"] and outcomes(services, "ada@marlow.example") == [("evt_1", "queued", None, 1)]
    smtp.meanwhile = lambda: None
    assert mailer.send_each(emails) == []
    assert smtp.taken == ["ada@marlow.example", "ben@hill.example"]
    assert outcomes(services, "ada@marlow.example") == [("evt_1", "sent", 250, 2)]
    assert outcomes(services, "ben@hill.example") == [("evt_1", "sent", 250, 1)]


@on_sqlite
def test_a_deferral_that_cannot_be_written_is_still_a_deferral(services: Services, smtp: Answers) -> None:
    """The worker uses the delay of deferrals. With another error it would give the email up sooner."""
    mailer = Mailer(replace(services.settings, mail_server="127.0.0.1", mail_port=smtp.port), services.database)
    with ExitStack() as away:
        smtp.meanwhile = lambda: away.enter_context(broken_email_log(services))
        with pytest.raises(Deferred, match="452"):
            mailer.send(EmailMessage("full@marlow.example", "Hello", "Hello"), "evt_1:receipt")
    assert outcomes(services, "full@marlow.example") == [("evt_1", "queued", None, 1)]


def test_mail_health_distinguishes_outages_from_refused_addresses(services: Services, smtp: Answers) -> None:
    services.settings = replace(services.settings, mail_server="127.0.0.1", mail_port=smtp.port)
    services.mailer = Mailer(services.settings, services.database)
    send(services.mailer, "ada@marlow.example", "evt_1:receipt")
    send(services.mailer, "nobody@marlow.example", "evt_2:receipt")
    found = health.mail(services)
    assert found is not None and found.sent_at and not found.fails and found.counts == {"sent": 1, "refused": 1}
    assert found.refused_at and found.refused_code == 550 and found.deferred_at is None
    send(services.mailer, "full@marlow.example", "evt_3:receipt")
    found = health.mail(services)
    assert found is not None and found.fails and found.deferred_at and found.deferred_code == 452
    send(services.mailer, "ada@marlow.example", "evt_4:receipt")
    found = health.mail(services)
    assert found is not None and not found.fails and found.deferred_at, "the last deferral stays known"


# --- recurring jobs


def run_of(database: Any, job: str) -> JobRun | None:
    with database.open(everything("a test looks at runs")) as db:
        return db.get(JobRun, job)


def test_the_last_run_success_and_failure_of_a_job_are_kept(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job_runs.run(database, "renewals", lambda: None)
    first = run_of(database, "renewals")
    assert first is not None and first.succeeded_at and first.failures == 0
    job_runs.run(database, "renewals", lambda: None)
    again = run_of(database, "renewals")
    assert again is not None and again.ran_at == first.ran_at, "written at most every 15 seconds"

    def broken() -> None:
        raise KeyError("ada@marlow.example")

    with pytest.raises(KeyError):
        job_runs.run(database, "renewals", broken)
    failed = run_of(database, "renewals")
    assert failed is not None and failed.failures == 1, "another outcome is written at once"
    assert failed.error == "KeyError" and failed.succeeded_at == first.succeeded_at
    monkeypatch.setattr(job_runs, "WRITE_EVERY", 0.0)
    job_runs.run(database, "renewals", lambda: None)
    well = run_of(database, "renewals")
    assert well is not None and well.succeeded_at and well.succeeded_at > failed.ran_at and well.failures == 0


def test_the_worker_records_the_runs_of_its_jobs(database: Any) -> None:
    ran, stop = threading.Event(), threading.Event()

    def fail() -> None:
        ran.set()
        raise ValueError("no")

    worker = Worker(database, Handlers(), [Tick("a job", timedelta(hours=1), lambda: None), Tick("another", timedelta(hours=1), fail)])
    thread = threading.Thread(target=worker.run_forever, args=(stop,), daemon=True)
    thread.start()
    assert ran.wait(60)
    stop.set()
    worker.wake()
    thread.join(60)
    well, broken = run_of(database, "a job"), run_of(database, "another")
    assert well is not None and well.succeeded_at and broken is not None and broken.error == "ValueError"


def test_the_operator_secret_is_not_in_the_database(app: Flask, services: Services) -> None:
    with_secret(services)
    sign_in(app)
    with services.database.open(everything("a test looks for the secret")) as db:
        assert all(SECRET not in str(vars(row)) for row in db.scalars(select(OperatorAction)))
