"""Answers of a billing system that cannot be read: nothing here is removed for them, and nothing of theirs is stored."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import select

from billing.model.payments import PaymentMethod
from core import clock
from core.errors import Unavailable
from core.outgoing import Outgoing
from core.scope import system
from tenants.external import events, incoming_webhooks
from tenants.external.account import ExternalAccount, ExternalWebhook, PullCursor, Reach, reach
from tenants.external.pull import pull
from tenants.external.system import CallFailed
from tenants.external.systems import SYSTEMS
from tests.conftest import on_sqlite
from tests.harness.stripe_standin import StandIn, running
from tests.stories.stripe_mirror import KEY, account_with, make_events_due, mirrored, reader_of, waiting

pytestmark = on_sqlite

UNREADABLE = [b"", b"<html>Bad gateway</html>", b"[]", b"null", b'"text"', b"7", b"\xff\xfe\x00", b'{"id": ', b"[" * 50_000]


class Answers:
    """A server that answers every request with `body` and `status`."""

    status, body, url = 200, b"{}", ""


@pytest.fixture
def server(services: Any) -> Iterator[Answers]:
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answers.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answers.body)))
            self.end_headers()
            self.wfile.write(answers.body)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    answers.url = f"http://127.0.0.1:{made.server_address[1]}"
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield answers
    made.shutdown()
    made.server_close()


@pytest.fixture
def stand_in(services: Any) -> Iterator[StandIn]:
    services.outgoing, before = Outgoing(replace(services.settings, outgoing_loopback=True)), services.outgoing
    with running() as made:
        yield made
    services.outgoing = before


def point(services: Any, business_id: str, url: str) -> None:
    """Let the account's requests go to another address, as through a broken proxy."""
    known = reach(services.database, services.settings, business_id, "stripe")
    assert known is not None
    with services.database.open(system(business_id), write=True) as db:
        db.scalars(select(ExternalAccount)).one().base_url = url


def test_an_answer_that_is_no_object_is_not_taken_for_one(services: Any, stand_in: StandIn, server: Answers) -> None:
    api = SYSTEMS["stripe"].open(services.outgoing, Reach(server.url, "rk_test_x"))
    for body in UNREADABLE:
        server.body = body
        for call in (lambda: api.get("/v1/customers/cus_1"), lambda: api.post("/v1/subscriptions/sub_1", "key", pause_collection="")):
            with pytest.raises((CallFailed, ValueError)) as refused:
                call()
            assert not isinstance(refused.value, CallFailed) or (refused.value.status, refused.value.is_temporary) == (0, True)
    server.body = b"<html>Busy</html>"
    for status in (404, 409, 429, 500, 502, 503):
        server.status = status
        with pytest.raises(CallFailed) as failed:
            api.get("/v1/customers/cus_1")
        assert failed.value.is_temporary is (status != 404), status


def test_an_unreadable_answer_removes_nothing_and_is_asked_for_again(services: Any, stand_in: StandIn, server: Answers) -> None:
    """A card's event is read through a broken proxy. The card stays, and the event is tried again. A 404 of the account removes it."""
    account_with(stand_in, 3)
    business_id = mirrored(services, stand_in)
    pull(reader_of(services, stand_in, business_id))

    def cards() -> list[PaymentMethod]:
        with services.database.open(system(business_id)) as db:
            return list(db.scalars(select(PaymentMethod).where(PaymentMethod.removed_at.is_(None))))

    before = len(cards())
    reference = stand_in.account(KEY).every("customer")[-1]["invoice_settings"]["default_payment_method"]
    point(services, business_id, server.url)
    for body in UNREADABLE:
        server.body = body
        with pytest.raises(Unavailable):
            incoming_webhooks.follow(services, business_id, "stripe", "payment_method", reference)
    assert len(cards()) == before > 0
    server.status, server.body = 404, b'{"error": {"type": "invalid_request_error", "message": "No such PaymentMethod"}}'
    incoming_webhooks.follow(services, business_id, "stripe", "payment_method", reference)
    assert len(cards()) == before - 1


def test_events_that_cannot_be_read_are_passed_over(services: Any, stand_in: StandIn, server: Answers) -> None:
    """Of a page of the list of events, those that can be read are stored. A list that cannot be read is asked for again."""
    business_id = mirrored(services, stand_in)
    point(services, business_id, server.url)

    def page(*items: Any, more: bool = False) -> bytes:
        import json

        return json.dumps({"object": "list", "data": items, "has_more": more}).encode()

    def event(id: Any, kind: Any = "customer.updated", about: Any = None) -> dict[str, Any]:
        return {"id": id, "type": kind, "data": {"object": about or {"id": "cus_1"}}}

    def read() -> None:
        make_events_due(services, business_id)
        events.read_page(services, business_id, "stripe")

    server.body = page(
        None, 7, "text", [], {}, event(None), event("evt 1"), event("../x"), event("evt_2", kind=None), event("evt_3", about={"id": 7}),
        event("evt_4", about=[1]), event("evt_5", about={"id": "\u0000"}), event("evt_6", kind="\u0000"), event("evt_good"),
        event("evt_other", kind="balance.available"),
    )  # fmt: skip
    read()
    with services.database.open(system(business_id)) as db:
        assert list(db.scalars(select(ExternalWebhook.id))) == ["stripe/evt_good"]
        before = db.scalars(select(ExternalAccount)).one().events_until
    for body in UNREADABLE:
        server.body = body
        with pytest.raises(CallFailed):
            read()
    with services.database.open(system(business_id)) as db:
        account = db.scalars(select(ExternalAccount)).one()
        assert account.events_until == before and account.events_due_at - clock.wall() > timedelta(minutes=4)


def test_a_list_of_events_that_never_ends_is_read_within_limits(
    services: Any, stand_in: StandIn, server: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page has at most 100 events, and a reading so many pages; then the next one begins ten minutes later."""
    import json

    monkeypatch.setattr(events, "MAX_PAGES", 3)
    business_id = mirrored(services, stand_in)
    point(services, business_id, server.url)
    items = [{"id": f"evt_{n}", "type": "customer.updated", "data": {"object": {"id": f"cus_{n}"}}} for n in range(5000)]
    server.body = json.dumps({"object": "list", "data": items, "has_more": True}).encode()
    make_events_due(services, business_id)
    assert [events.read_page(services, business_id, "stripe") for _ in range(4)] == [True, True, False, False]
    assert waiting(services, business_id) == 100
    with services.database.open(system(business_id)) as db:
        assert db.scalars(select(PullCursor).where(PullCursor.id == "events/stripe")).all() == []
        assert db.scalars(select(ExternalAccount)).one().events_due_at - clock.wall() > timedelta(minutes=9)
