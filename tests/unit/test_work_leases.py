"""Leases of work: renewed while held, checked before each piece, released at a stop. Emails are a separate part."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core import clock
from core.handlers import Handlers
from core.mail_errors import Deferred, MailServerUnreachable, wait_after
from core.outbox import MAIL_PART, SIGN_IN, Outbox, emit
from core.outbox_claims import BACKOFF, Work
from core.scope import everything
from core.worker import Worker


class Workshop:
    """Workers with one handler of work and one that sends email, and a list of what they did, in order."""

    def __init__(self, database: Any) -> None:
        self.database, self.did = database, []
        self.fails: dict[str, Exception] = {}

    def worker(self) -> Worker:
        handlers = Handlers()
        for name, sends in (("email", True), ("work", False)):
            handlers.on("*", self._handler(name), name, sends=sends)
        return Worker(self.database, handlers)

    def _handler(self, name: str) -> Callable[[Work], None]:
        def handle(work: Work) -> None:
            self.did.append((name, work.id))
            if name in self.fails:
                raise self.fails[name]

        return handle

    def leave(self, count: int = 1, type: str = "acorn.fell") -> list[str]:
        with self.database.open(everything("events of a test"), write=True) as db:
            return [emit(db, type) for _ in range(count)]

    def rows(self) -> dict[str, Outbox]:
        with self.database.open(everything("a test looks")) as db:
            return {outbox.id: outbox for outbox in db.scalars(select(Outbox).order_by(Outbox.id))}

    def time_passes(self, seconds: float = 3600) -> None:
        with self.database.open(everything("time passes"), write=True) as db:
            for outbox in db.scalars(select(Outbox).where(Outbox.state.in_(("pending", "mail")))):
                outbox.due_at -= timedelta(seconds=seconds)


@pytest.fixture
def site(database: Any) -> Workshop:
    return Workshop(database)


def test_work_is_not_done_after_its_lease_ended(site: Workshop) -> None:
    ids, slow, quick = site.leave(3), site.worker(), site.worker()
    batch = slow.claim()
    slow.perform(*batch[0])
    site.time_passes()  # the first email took longer than a lease
    assert quick.drain() == 2
    for claim in batch[1:]:
        slow.perform(*claim)
    assert sorted(site.did) == sorted([(name, id) for id in ids for name in ("email", "work")])


def test_leases_are_renewed_while_work_is_held_and_no_longer(site: Workshop) -> None:
    site.leave(2)
    slow, quick = site.worker(), site.worker()
    first, second = slow.claim()
    site.time_passes(119)
    slow._claims.renew()
    site.time_passes(119)
    assert quick.claim() == [], "238 seconds under a lease of 120"
    slow.perform(*first)
    slow._claims.forget([second])
    slow._claims.renew()
    site.time_passes(119)
    assert [work.id for work, _, _ in quick.claim()] == [second[0].id]
    assert site.rows()[first[0].id].state == "done"


def test_a_stop_finishes_current_work_and_releases_the_rest(site: Workshop) -> None:
    ids, stop, worker = site.leave(5), threading.Event(), site.worker()
    worker.around = lambda: (stop.set(), threading.Lock())[1]  # the stop comes with the first one
    assert worker._work_through(worker.claim(), stop, "all") == 1
    assert sorted(row.state for row in site.rows().values()) == ["done"] + ["pending"] * 4
    assert site.worker().drain() == 4
    assert sorted(site.did) == sorted([(name, id) for id in ids for name in ("email", "work")])


def test_waiting_emails_do_not_delay_other_work(site: Workshop) -> None:
    [id], worker = site.leave(), site.worker()
    worker._work_through(worker.claim(), threading.Event(), "work")
    row = site.rows()[id]
    assert (site.did, row.state, row.done) == ([("work", id)], "mail", ["work"])
    [claim] = worker._claim_emails("")
    worker.perform(*claim, part="emails")
    assert site.did == [("work", id), ("email", id)] and site.rows()[id].state == "done"


def test_sign_in_emails_have_separate_senders(site: Workshop) -> None:
    [sign_in], [other] = site.leave(type="auth.challenge_requested"), site.leave()
    worker = site.worker()
    assert [work.id for work, _, _ in worker.claim(without=SIGN_IN)] == [other]
    assert [work.id for work, _, _ in worker._claim_emails(SIGN_IN)] == [sign_in]


def test_failing_work_and_failing_emails_do_not_delay_each_other(site: Workshop) -> None:
    [id], worker = site.leave(), site.worker()
    site.fails = {"work": RuntimeError("not now"), "email": MailServerUnreachable("nobody there")}
    worker.drain()
    rows = site.rows()
    assert [(row.state, row.attempts) for row in rows.values()] == [("pending", 1), ("mail", 1)] and list(rows) == [id, id + MAIL_PART]
    del site.fails["email"]
    site.did.clear()
    site.time_passes()
    worker.drain()
    assert sorted(site.did) == [("email", id), ("work", id)] and site.rows()[id + MAIL_PART].state == "done"
    site.time_passes()
    del site.fails["work"]
    worker.drain()
    assert sorted(site.did) == [("email", id), ("work", id), ("work", id)] and site.rows()[id].state == "done"


def test_an_unreachable_mail_server_is_retried_each_minute_for_days(site: Workshop) -> None:
    away, busy = MailServerUnreachable("nobody there"), Deferred("451 later")
    waits = [wait_after(away, n) for n in range(7000)]
    assert None not in waits and max(waits) == timedelta(minutes=1) and sum(waits, timedelta(0)) > timedelta(days=4)  # type: ignore[type-var]
    later = [wait_after(busy, n) for n in range(500)]
    assert sum(later, timedelta(0)) > timedelta(days=4) and wait_after(busy, 500) is None  # type: ignore[arg-type]
    [id], worker = site.leave(), site.worker()
    site.fails = {"email": away}
    for tries in range(1, len(BACKOFF) + 3):
        worker.drain()
        row = site.rows()[id]
        assert (row.state, row.attempts) == ("mail", tries) and row.due_at - clock.wall() <= timedelta(minutes=1)
        site.time_passes()


def test_an_email_that_breaks_its_handler_is_given_up(site: Workshop) -> None:
    [id], worker = site.leave(), site.worker()
    site.fails = {"email": RuntimeError("a template that does not exist")}
    for _ in range(len(BACKOFF) + 2):
        worker.drain()
        site.time_passes(13 * 3600)
    row = site.rows()[id]
    assert row.state == "given_up" and "does not exist" in str(row.error) and len(site.did) == len(BACKOFF) + 2
