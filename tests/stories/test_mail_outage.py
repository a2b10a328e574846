"""The mail server is off, slow, or refuses: no email is lost or sent twice, and links and codes work when the email arrives."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from auth import recovery
from auth.models import Challenge
from auth.portal_links import mail_portal_link
from billing.customers import queries as customer_queries
from billing.customers.customers import create_customer, update_customer
from billing.model.invoices import Invoice
from core import clock
from core.email_log import EmailRecord
from core.outbox import Event, Outbox, emit
from core.scope import everything, system
from tenants import memberships
from tenants.emails import notify_owners
from tenants.team import Membership
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.smtp_server import Received, SmtpServer
from tests.visitor import Visitor

NEW_OWNER, PENDING_ACCEPTANCE, MOVED, OLD = "olga@acorn.example", "pat@hill.example", "pat@moor.example", "ada@old.example"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Advance the wall clock by seconds."""
    now, real = [timedelta(0)], clock.wall

    def pass_time(seconds: float) -> None:
        now[0] += timedelta(seconds=seconds)

    def wall() -> datetime:
        return real() + now[0]

    monkeypatch.setattr(clock, "wall", wall)
    return pass_time


@pytest.fixture
def smtp(services: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmtpServer]:
    """A mail server that is off until it is started."""
    server = SmtpServer()
    server.serve(services, monkeypatch.setattr)
    yield server
    server.stop()


def ask(visitor: Visitor, email: str, door: str = "/login?again=1") -> None:
    visitor.get(door)
    visitor.submit("login", email=email)


def code_in(email: Received) -> str:
    found = re.search(r"\b(?!TEST MODE)([A-Z0-9]{4} [A-Z0-9]{4})\b", email.text)
    assert found, email.text
    return found.group(1)


def rows(services: Any, kind: Any, *where: Any) -> list[Any]:
    with services.database.open(everything("a test looks")) as db:
        found = list(db.scalars(select(kind).where(*where)))
        db.expunge_all()
        return found


def staff(services: Any, business_id: str, *emails: str) -> None:
    with services.database.open(everything("owners of a test"), write=True) as db:
        for n, email in enumerate(emails):
            db.add(
                Membership(
                    business_id=business_id,
                    id=f"mem_{n}",
                    identity_id=f"idn_{n}",
                    email=email,
                    email_key=email,
                    name="",
                    role="owner",
                    created_at=clock.wall(),
                )
            )


def wait_out(services: Any, later: Any, seconds: int, step: int = 40) -> None:
    """Advance the time and run a worker."""
    for _ in range(0, seconds, step):
        services.worker.drain()
        later(step)
    services.worker.drain()


def test_ten_minutes_without_a_mail_server_only_delay_every_kind_of_email(
    cast: Cast, visitor: Callable[..., Visitor], services: Any, app: Any, smtp: SmtpServer, later: Any
) -> None:
    staff(services, cast.acorn, cast.SAM, "tess@acorn.example")
    by_code, by_link, nobody = visitor(), visitor(), visitor()
    ask(by_code, cast.BEN)
    ask(by_link, cast.ADA, f"/login/{cast.acorn}?again=1")
    ask(nobody, "nobody@void.example")
    [invoice, *_] = rows(services, Invoice, Invoice.customer_id == cast.ben.customer_id)
    recovery.request_recovery(services.database, services.settings, invoice.number, business_id=cast.birch, device="", source=None)
    with app.app_context():
        with services.database.open(everything("the first owner"), write=True) as db:
            memberships.invite(db, cast.birch, NEW_OWNER, "owner")
        with services.database.open(system(cast.acorn), write=True) as db:
            notify_owners(db, "rules_changed", "rules")
            pat = create_customer(db, cast.acorn, email=PENDING_ACCEPTANCE, name="Pat")
            mail_portal_link(db, cast.acorn, pat.customer_id, settings=services.settings)
            mail_portal_link(db, cast.acorn, cast.ada_at_acorn.customer_id, settings=services.settings)
            moves = create_customer(db, cast.acorn, email=MOVED, name="Pat")
            update_customer(db, customer_queries.get_customer(db, moves.customer_id), email="pat@new.example")
            for type in ("payment.succeeded", "subscription.active", "subscription.renewal_reminder"):
                data = {"payment_id": cast.ada_at_acorn.payment_id, "amount": 2900, "currency": "EUR", "next_billing_at": None}
                emit(
                    db,
                    type,
                    business_id=cast.acorn,
                    customer_id=cast.ada_at_acorn.customer_id,
                    noun=cast.ada_at_acorn.subscription_id,
                    data=data,
                )
    wait_out(services, later, 11 * 60, 165)
    assert smtp.received == []
    waiting = rows(services, Outbox, Outbox.state.in_(("pending", "mail")))
    assert min(item.attempts for item in waiting) > 4 and {item.state for item in waiting} == {"mail"}
    smtp.start()
    later(61)
    services.worker.drain()
    later(61)
    services.worker.drain()

    got = Counter(item.to.lower() for item in smtp.received)
    assert got == {
        cast.BEN: 2,
        cast.ADA: 5,
        "nobody@void.example": 1,
        NEW_OWNER: 1,
        cast.SAM: 1,
        "tess@acorn.example": 1,
        MOVED: 1,
        PENDING_ACCEPTANCE: 1,
    }, got
    assert max(Counter(item.message_id for item in smtp.received).values()) == 1
    assert {row.state for row in rows(services, Outbox)} == {"done"} and {row.state for row in rows(services, EmailRecord)} == {"sent"}
    by_code.get("/login/sent")
    by_code.submit("/login/code", code=code_in(next(item for item in smtp.of(cast.BEN) if "/login/link/" in item.text)))
    assert "Birch" in by_code.get("/").text
    to_ada = {("/login/link/" in item.text, "/session/" in item.text): item for item in smtp.of(cast.ADA)}
    by_link.open_link(to_ada[True, False].text)
    assert "Acorn" in by_link.get(f"/business/{cast.acorn}/").text
    for text in (to_ada[False, True].text, smtp.of(PENDING_ACCEPTANCE)[0].text):
        visitor().open_link(text, "/session/")
    assert "No purchases" in smtp.of("nobody@void.example")[0].text


def test_a_withheld_email_is_recorded(cast: Cast, services: Any, app: Any, smtp: SmtpServer) -> None:
    smtp.start()
    with app.app_context(), services.database.open(system(cast.acorn), write=True) as db:
        pat = create_customer(db, cast.acorn, email=PENDING_ACCEPTANCE, name="Pat").customer_id
        for _ in range(5):
            mail_portal_link(db, cast.acorn, pat, settings=services.settings)
    services.worker.drain()
    assert len(smtp.received) == 3, "three a day to somebody who never bought there"
    withheld = rows(services, EmailRecord, EmailRecord.state == "withheld")
    assert [(item.kind, item.reason, item.business_id) for item in withheld] == [("portal_link.requested", "limit", cast.acorn)] * 2
    told = rows(services, Event, Event.type == "email.withheld")
    assert [(item.customer_id, item.data) for item in told] == [(pat, {"about": "portal_link.requested", "why": "limit"})] * 2


@pytest.mark.parametrize("at", ["answers", "at_data"])
def test_a_refused_recipient_is_reported_to_the_business_once(
    cast: Cast, visitor: Callable[..., Visitor], services: Any, app: Any, smtp: SmtpServer, later: Any, at: str
) -> None:
    smtp.start()
    staff(services, cast.birch, cast.SAM, "gone@birch.example")
    getattr(smtp, at).update({cast.BEN: "550 5.1.1 No such user here", "gone@birch.example": "550 5.1.1 No such user here"})
    with app.app_context(), services.database.open(system(cast.birch), write=True) as db:
        mail_portal_link(db, cast.birch, cast.ben.customer_id, settings=services.settings)
        notify_owners(db, "rules_changed", "rules")
    ask(visitor(), cast.BEN)
    wait_out(services, later, 600, 200)
    assert Counter(smtp.tries) == {cast.BEN: 2, "gone@birch.example": 1, cast.SAM: 1}
    assert [item.to for item in smtp.received] == [cast.SAM]
    told = rows(services, Event, Event.type == "email.refused")
    assert sorted((item.business_id, item.customer_id, item.data["about"], item.data["email"]) for item in told) == sorted(
        [
            (cast.birch, cast.ben.customer_id, "portal_link.requested", cast.BEN),
            (cast.birch, "", "owners.notified", "gone@birch.example"),
            (cast.birch, cast.ben.customer_id, "auth.challenge_requested", cast.BEN),
        ]
    )
    assert any("550 5.1.1 No such user here" in item.data["reason"] for item in told)
    said = [json.loads(line) for line in app.test_cli_runner().invoke(args=["emails", "--to", "Ben@hill.example"]).output.splitlines()]
    assert sorted((item["about"], item["state"], item["reason"], item["code"]) for item in said if "about" in item) == [
        (about, "refused", "550 5.1.1 No such user here", 550) for about in ("auth.challenge_requested", "portal_link.requested")
    ]
    assert {row.state for row in rows(services, Outbox)} == {"done"}


@on_sqlite
def test_the_business_reads_of_a_refused_email_in_its_activity(cast: Cast, services: Any, app: Any, smtp: SmtpServer) -> None:
    from portal.event_sentences import SENTENCES

    smtp.start()
    smtp.answers[cast.BEN] = "550 5.1.1 No such user here"
    with app.app_context(), services.database.open(system(cast.birch), write=True) as db:
        mail_portal_link(db, cast.birch, cast.ben.customer_id, settings=services.settings)
    services.worker.drain()
    [told] = rows(services, Event, Event.type == "email.refused")
    with app.test_request_context("/"):
        assert str(SENTENCES["email.refused"]) % told.data == (
            f"An email to {cast.BEN} was rejected by the recipient's mail server (550 5.1.1 No such user here)."
        )


@on_sqlite
def test_a_person_reads_at_the_other_address_that_a_new_one_refuses_email(
    cast: Cast, visitor: Callable[..., Visitor], services: Any, smtp: SmtpServer
) -> None:
    smtp.start()
    smtp.answers[OLD] = "550 5.1.1 No such user here"
    ada = visitor()
    ada.sign_in(cast.ADA)
    ada.get("/profile/addresses")
    ada.submit("/profile/addresses", email=OLD)
    services.worker.drain()
    services.worker.drain()
    assert "We could not send an email to one of your addresses" in smtp.of(cast.ADA)[-1].subject
    assert OLD in smtp.of(cast.ADA)[-1].text


def test_an_email_that_is_refused_for_now_is_tried_again_with_longer_waits(
    cast: Cast, services: Any, app: Any, smtp: SmtpServer, later: Any
) -> None:
    smtp.start()
    smtp.answers[cast.BEN] = "451 4.7.1 Please try again later"
    with app.app_context(), services.database.open(system(cast.birch), write=True) as db:
        mail_portal_link(db, cast.birch, cast.ben.customer_id, settings=services.settings)
        mail_portal_link(db, cast.birch, cast.ada_at_birch.customer_id, settings=services.settings)
    for tries, seconds in ((1, 31), (2, 61), (3, 121)):
        services.worker.drain()
        assert len([attempt for attempt in smtp.tries if attempt == cast.BEN]) == tries
        services.worker.drain()
        [waits] = rows(services, EmailRecord, EmailRecord.state == "queued")
        assert (waits.outcome, waits.code, waits.attempts) == ("deferred", 451, tries) and waits.deferred_at == waits.updated_at
        later(seconds)
    del smtp.answers[cast.BEN]
    services.worker.drain()
    services.worker.drain()
    assert Counter(item.to for item in smtp.received) == {cast.BEN: 1, cast.ADA: 1}
    assert {(row.state, row.code, row.attempts, row.deferred_at is None) for row in rows(services, EmailRecord)} == {
        ("sent", 250, 1, True),
        ("sent", 250, 4, False),
    }


@on_sqlite
def test_a_deferred_address_repeats_no_email_to_others(cast: Cast, services: Any, app: Any, smtp: SmtpServer, later: Any) -> None:
    smtp.start()
    staff(services, cast.birch, "busy@birch.example", cast.SAM)
    smtp.answers["busy@birch.example"] = "450 4.2.1 Mailbox busy"
    with app.app_context(), services.database.open(system(cast.birch), write=True) as db:
        notify_owners(db, "rules_changed", "rules")
    services.worker.drain()
    assert [item.to for item in smtp.received] == [cast.SAM]
    smtp.answers.clear()
    later(31)
    services.worker.drain()
    assert [item.to for item in smtp.received] == [cast.SAM, "busy@birch.example"]


def test_the_code_in_the_mailbox_works_until_the_next_email_is_sent(
    cast: Cast, visitor: Callable[..., Visitor], services: Any, smtp: SmtpServer, later: Any
) -> None:
    smtp.start()
    item, other = visitor(), visitor()
    for who in (item, other):
        for _ in range(2):  # the second one waits until half a minute after the first
            ask(who, cast.BEN if who is item else cast.ADA)
            services.worker.drain()
    assert len(smtp.of(cast.BEN)) == 1
    item.get("/login/sent")
    item.submit("/login/code", code=code_in(smtp.of(cast.BEN)[0]))
    assert "Birch" in item.get("/").text
    later(31)
    services.worker.drain()
    assert len(smtp.of(cast.BEN)) == 1, "who is in needs no further code"
    first, second = smtp.of(cast.ADA)
    other.get("/login/sent")
    other.submit("/login/code", code=code_in(first), expect=422)
    other.submit("/login/code", code=code_in(second))
    assert "Acorn" in other.get("/").text


def test_a_code_has_five_tries_while_another_email_waits(
    cast: Cast, visitor: Callable[..., Visitor], services: Any, smtp: SmtpServer, later: Any
) -> None:
    smtp.start()
    item = visitor()
    for _ in range(2):
        ask(item, cast.BEN)
        services.worker.drain()
    item.get("/login/sent")
    for _ in range(5):
        item.submit("/login/code", code="WRNG CDES", expect=422)
    item.submit("/login/code", code=code_in(smtp.of(cast.BEN)[0]), expect=422)
    assert sorted(challenge.tries for challenge in rows(services, Challenge)) == [0, 5]
    later(31)
    services.worker.drain()
    item.submit("/login/code", code=code_in(smtp.of(cast.BEN)[1]))
    assert "Birch" in item.get("/").text


@on_sqlite
def test_repeated_requests_during_an_outage_send_one_email(
    cast: Cast, visitor: Callable[..., Visitor], services: Any, smtp: SmtpServer, later: Any
) -> None:
    item = visitor()
    for _ in range(3):
        ask(item, cast.BEN)
        wait_out(services, later, 60, 20)
    smtp.start()
    later(61)
    services.worker.drain()
    [email] = smtp.of(cast.BEN)
    item.get("/login/sent")
    item.submit("/login/code", code=code_in(email))
    assert "Birch" in item.get("/").text


@on_sqlite
def test_a_sign_in_email_of_the_day_before_is_not_sent(
    cast: Cast, visitor: Callable[..., Visitor], services: Any, smtp: SmtpServer, later: Any
) -> None:
    ask(visitor(), cast.BEN)
    services.worker.drain()
    later(25 * 3600)
    smtp.start()
    services.worker.drain()
    assert smtp.received == []
    assert [(row.state, row.reason) for row in rows(services, EmailRecord) if row.state != "queued"] == [("withheld", "too_late")]


@on_sqlite
def test_an_email_keeps_its_message_id_when_keys_and_host_change(
    cast: Cast, services: Any, app: Any, smtp: SmtpServer, later: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server accepted the email, and the worker died before recording it. The repeated email has the same Message-ID."""
    from dataclasses import replace

    from core import email_log
    from core.mail import Mailer

    smtp.start()
    with app.app_context(), services.database.open(system(cast.birch), write=True) as db:
        mail_portal_link(db, cast.birch, cast.ben.customer_id, settings=services.settings)
    with monkeypatch.context() as dying:
        dying.setattr(email_log, "sent", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        services.worker.drain()
    settings = replace(
        services.mailer.settings, secret_keys=("a newer key", *services.settings.secret_keys), base_url="http://portal.example"
    )
    monkeypatch.setattr(services, "mailer", Mailer(settings, services.database))
    later(2)
    services.worker.drain()
    first, second = smtp.received
    assert first.message_id == second.message_id
    services.worker.drain()
    assert len(smtp.received) == 2
