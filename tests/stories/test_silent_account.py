"""An external account that never answers delays no email, no other account, and no request for more than a moment."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from standardwebhooks.webhooks import Webhook

from billing.imports import load
from billing.model.invoices import Invoice
from core import clock, mailbox
from core.errors import Unavailable
from core.outgoing import Outgoing
from core.scope import system
from tenants.external import lanes, page_calls
from tenants.external.account import ExternalAccount, ExternalWebhook, connect, origin_of
from tenants.external.page_calls import NoAnswerYet, PageCalls
from tenants.imports.shapes import record
from tests.cast import Cast
from tests.harness.hostile_account import HostileAccount, hostile_account
from tests.hostile_server import ReceivedRequest, Wire, receiving
from tests.visitor import Visitor

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY="


@pytest.fixture
def silence() -> Iterator[tuple[Any, threading.Event]]:
    """A server that accepts requests and does not answer until the test ends."""
    over = threading.Event()

    def nothing(wire: Wire, _heard: ReceivedRequest) -> None:
        over.wait(60)
        wire.close_connection = True

    with receiving(nothing) as server:
        yield server, over
        over.set()


def connected(cast: Cast, business_id: str, url: str) -> None:
    services = cast.services
    services.outgoing = Outgoing(replace(services.settings, outgoing_loopback=True))
    services.forwarder.systems["dodo"].page_calls.forgive(business_id)  # tests share an application
    with services.database.open(system(business_id), write=True) as db:
        connect(db, services.settings, business_id, "dodo", base_url=url, api_key="k", webhook_key=SECRET)


def hint(app: Any, business_id: str, message: str, body: dict[str, Any] | bytes) -> int:
    at, data = datetime.now(UTC), body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"webhook-id": message, "webhook-timestamp": str(int(at.timestamp())), "content-type": "application/json"}
    headers["webhook-signature"] = Webhook(SECRET).sign(message, at, data.decode("utf-8", "replace"))
    return int(app.test_client().post(f"/incoming/dodo/{business_id}", data=data, headers=headers).status_code)


def loaded(cast: Cast) -> str:
    """An invoice of the silent account, by its id here."""
    origin = origin_of(cast.services.database, cast.birch, "dodo")
    assert origin is not None
    told = [
        record("customer", {"customer_id": "cus_1", "email": cast.ADA, "name": "Ada Marlow"}),
        record(
            "payment",
            {
                "payment_id": "pay_1",
                "customer": {"customer_id": "cus_1"},
                "total_amount": 2900,
                "currency": "EUR",
                "created_at": "2026-11-01T00:00:00Z",
            },
        ),
    ]
    with cast.services.database.open(system(cast.birch), write=True) as db:
        load(db, origin, told, renew=True)
        found = db.scalar(select(Invoice.id).where(Invoice.account_id == origin.account_id))
    assert found is not None
    return str(found)


def test_a_silent_account_delays_no_email_and_no_other_account(
    cast: Cast, app: Any, silence: tuple[Any, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    services, (server, over) = cast.services, silence
    monkeypatch.setattr(lanes, "BACKOFF", (3600,))
    with hostile_account(HostileAccount(3, ["cus_1"], [cast.ADA])) as honest:
        honest.is_plausible = True
        connected(cast, cast.birch, server.url)
        connected(cast, cast.acorn, honest.url)
        for n in range(5):
            assert (
                hint(
                    app,
                    cast.birch,
                    f"msg_{n}",
                    {"type": "payment.succeeded", "data": {"payload_type": "Payment", "payment_id": f"pay_{n}"}},
                )
                == 204
            )
        stop = threading.Event()
        worker = threading.Thread(target=services.worker.run_forever, args=(stop,), daemon=True)
        worker.start()
        try:
            _until(lambda: bool(server.heard))  # its lane hangs by now
            assert (
                hint(app, cast.acorn, "msg_a", {"type": "customer", "data": {"payload_type": "Subscription", "subscription_id": "sub_1"}})
                == 204
            )
            ada = Visitor(app)
            ada.get("/login")
            ada.submit("login", email=cast.ADA)
            began = time.monotonic()
            _until(
                lambda: any("sign" in recent_email.subject.lower() for recent_email in mailbox.recent_emails(services.database, cast.ADA))
            )
            _until(lambda: _waiting(cast, cast.acorn) == 0 and "/subscriptions/sub_1" in honest.paths)
            assert time.monotonic() - began < 5 and _waiting(cast, cast.birch) == 5
        finally:
            over.set()
            stop.set()
            worker.join(20)


def test_a_document_of_a_silent_account_is_fetched_while_the_page_says_so(
    cast: Cast, app: Any, silence: tuple[Any, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, over = silence
    monkeypatch.setattr(page_calls, "WAIT", 0.3)
    connected(cast, cast.birch, server.url)
    invoice_id, ada = loaded(cast), Visitor(app)
    ada.sign_in(cast.ADA)
    began = time.monotonic()
    for _ in range(4):
        page = ada.get(f"/invoices/{invoice_id}.pdf", expect=202)
        assert "We are fetching this document" in page.text and page.response.headers["Refresh"]
    assert time.monotonic() - began < 5 and len(server.heard) == 1, "one request waited, and one question was asked"
    over.set()
    _until(lambda: ada.get(f"/invoices/{invoice_id}.pdf", expect=None).status == 503)
    assert "could not be fetched" in (ada.page.text if ada.page else "")


def test_a_document_that_arrives_later_is_kept_and_shown(cast: Cast, app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_calls, "WAIT", 0.2)
    arrives = threading.Event()

    def slowly(wire: Wire, _heard: ReceivedRequest) -> None:
        arrives.wait(20)
        wire.say(200, b"%PDF-1.7 theirs", Content_Type="application/pdf")

    with receiving(slowly) as server:
        connected(cast, cast.birch, server.url)
        invoice_id, ada = loaded(cast), Visitor(app)
        ada.sign_in(cast.ADA)
        ada.get(f"/invoices/{invoice_id}.pdf", expect=202)
        arrives.set()
        _until(lambda: ada.get(f"/invoices/{invoice_id}.pdf", expect=None).body == b"%PDF-1.7 theirs")
        assert {item.path for item in server.heard} == {"/invoices/payments/pay_1"}, "asked by the account's own reference"


def test_one_call_per_business_runs_and_pauses_after_a_timeout() -> None:
    asks, release = PageCalls(), threading.Event()

    def silent() -> None:
        release.wait(20)
        raise Unavailable()

    with pytest.raises(NoAnswerYet):
        asks.wait_for("birch", silent, wait=0.05)
    with pytest.raises(NoAnswerYet):
        asks.wait_for("birch", lambda: 1)
    assert asks.wait_for("acorn", lambda: 2) == 2
    release.set()
    _until(lambda: "birch" not in asks._busy)
    with pytest.raises(NoAnswerYet):
        asks.wait_for("birch", lambda: 3)
    asks.forgive("birch")
    assert asks.wait_for("birch", lambda: 4) == 4


@pytest.mark.parametrize("body", [
    b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"[" * 200_000, b'{"type": "a\\u0000b", "data": {}}',
    b'{"type": "payment.x", "data": {"payload_type": "Payment", "payment_id": "\\ud800"}}',
    b'{"type": "payment.x", "data": {"payload_type": "Payment", "payment_id": "../customers/x?y"}}',
    b'{"type": "payment.x", "data": {"payload_type": "Payment", "payment_id": "pay_1\\n"}}',
    b'{"type": "payment.x", "data": {"payload_type": "Payment", "payment_id": 7}}', b"7", b"null", b"{", b"\xff\xfe",
])  # fmt: skip
def test_a_signed_webhook_that_is_no_event_is_refused(cast: Cast, app: Any, body: bytes) -> None:
    """Deep JSON, lone surrogates, NUL and ids with path characters get 400, and nothing is stored. Other text cannot be signed."""
    connected(cast, cast.acorn, "http://127.0.0.1:9")
    assert hint(app, cast.acorn, "msg_x", body) in ((400,) if body != b"\xff\xfe" else (400, 401))
    assert _hints(cast, cast.acorn) == 0


@pytest.mark.parametrize("body", [
    {"type": ["payment"], "data": {"payload_type": ["Payment"], "payment_id": "pay_1"}},
    {"type": "new.thing", "data": {"payload_type": "X"}},
    {"type": "payment.succeeded", "data": ["pay_1"]}, {},
])  # fmt: skip
def test_a_webhook_about_an_unknown_kind_is_accepted_and_ignored(cast: Cast, app: Any, body: dict[str, Any]) -> None:
    connected(cast, cast.acorn, "http://127.0.0.1:9")
    assert hint(app, cast.acorn, "msg_y", body) == 204
    assert _waiting(cast, cast.acorn) == 0 and _hints(cast, cast.acorn) == 1


def test_an_account_with_an_empty_secret_verifies_no_webhook(cast: Cast, app: Any) -> None:
    connected(cast, cast.acorn, "http://127.0.0.1:9")
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        connect(db, cast.services.settings, cast.acorn, "dodo", base_url="http://127.0.0.1:9", api_key="k", webhook_key="whsec_")
    assert hint(app, cast.acorn, "msg_e", {"type": "x", "data": {}}) == 401


def test_a_refusal_of_the_account_is_stored_as_text_and_retried(cast: Cast, app: Any) -> None:
    """The message has NUL and lone surrogates, which databases cannot store. It is stored without them and the read is retried."""

    def refuses(wire: Wire, _heard: ReceivedRequest) -> None:
        wire.say(503, b'{"message": "a\\u0000b \\ud800 c"}', Content_Type="application/json")

    with receiving(refuses) as server:
        connected(cast, cast.acorn, server.url)
        told = {"type": "payment.succeeded", "data": {"payload_type": "Payment", "payment_id": "pay_1"}}
        assert hint(app, cast.acorn, "msg_z", told) == 204
        for lane in cast.services.worker.lanes:
            lane.drain(1)
    with cast.services.database.open(system(cast.acorn)) as db:
        account, waiting = db.scalar(select(ExternalAccount)), db.scalar(select(ExternalWebhook))
    assert account is not None and waiting is not None and account.failure == "503: ab ? c"
    assert waiting.due_at is not None and waiting.due_at < clock.wall() + timedelta(seconds=60)


def _until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.05)


def _waiting(cast: Cast, business_id: str) -> int:
    with cast.services.database.open(system(business_id)) as db:
        return db.scalar(select(func.count()).select_from(ExternalWebhook).where(ExternalWebhook.due_at.is_not(None))) or 0


def _hints(cast: Cast, business_id: str) -> int:
    with cast.services.database.open(system(business_id)) as db:
        return db.scalar(select(func.count()).select_from(ExternalWebhook)) or 0
