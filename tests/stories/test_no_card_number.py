"""A card number is typed in every way people type one, and then looked for in everything we keep, say and send.

Every published test card goes through the hosted page, with its declines and its bank's question, and one unpublished number;
numbers that are none, wrong codes and dates, numbers in the wrong fields; and the page breaks with the number in its hands.
"""

from __future__ import annotations

import base64
import io
import logging
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiosmtpd.controller import Controller
from bs4 import BeautifulSoup
from sqlalchemy import select

from billing.commands.buying import buy, subscribe
from billing.commands.methods import add_method
from billing.invoices import Invoice
from billing.parties import Customer
from core import log
from core.scope import everything, system
from core.settings import Settings
from gateways.sandbox import cards
from gateways.sandbox.cards import TEST_CARDS
from tenants.keys import new_key
from tests.cast import Cast
from tests.stories import sweep
from tests.visitor import Visitor

OWN, FALSE, CVC = "4539 5787-6362 1486", "4539 5787 6362 1487", "8317"
NUMBERS = [*(card.number for card in TEST_CARDS), OWN, FALSE]
PARTS = ("number", "expiry", "cvc", "name", "country", "postal_code")
GOOD = {"name": "Ada Marlow", "number": OWN, "expiry": "06/39", "cvc": CVC, "country": "GB", "postal_code": "SE1 3LD"}
WRONG = [{"number": FALSE}, {"number": "4242424242424242" * 2}, {"number": ""}, {"cvc": "12"}, {"cvc": OWN}, {"expiry": "01/20"},
         {"expiry": OWN}, {"name": OWN}, {"name": f"Ada {OWN}"}, {"postal_code": OWN}, {"country": OWN}, {"csrf_token": OWN}]  # fmt: skip


@dataclass
class House:
    """One application whose every word is kept: log lines, pages, answers to programs, letters on the wire."""

    cast: Cast
    app: Any
    folder: Path
    ada: Visitor
    key: str
    logs: io.StringIO
    pages: list[tuple[str, str]] = field(default_factory=list)
    wire: list[bytes] = field(default_factory=list)

    def said(self) -> Iterator[sweep.Said]:
        settings = self.cast.house.settings
        yield from sweep.sqlite_columns(self.cast.house.gateway.store.path)
        yield from sweep.files(self.folder)
        if self.cast.house.database.is_sqlite:
            path = Path(settings.database_url.removeprefix("sqlite:///"))
            yield from sweep.sqlite_columns(path)
            yield from ((one.name, one.read_bytes().decode("latin-1")) for one in path.parent.glob(path.name + "*"))
        else:
            yield from sweep.postgres_columns(settings.database_owner_url or "")
        yield from (("log", line) for line in self.logs.getvalue().splitlines())
        yield from self.pages
        yield from sweep.letters(self.wire)

    def found(self) -> list[str]:
        return sweep.places(self.said(), NUMBERS, CVC)

    def see(self, answer: Any) -> Any:
        """Keep what somebody was shown, but for the sandbox's own list of published numbers; and where it led."""
        text = answer.get_data(as_text=True) if answer.mimetype != "application/pdf" else sweep.pdf(answer.data)
        text = re.sub(r"<section[^>]*aria-labelledby=.cards.*?</section>", "", text, flags=re.DOTALL)
        self.pages.append((f"page {answer.request.path}", f"{text} {answer.headers}"))
        return answer

    def get(self, path: str) -> Any:
        return self.see(self.ada.client.get(path, headers=self.ada.headers, environ_base=self.ada.environ))

    def send(self, path: str, **form: str) -> Any:
        form_at = path.removesuffix("/cancel")
        shown = BeautifulSoup(self.ada.client.get(form_at, headers=self.ada.headers).data, "html.parser")
        token = {"csrf_token": shown.find("input", {"name": "csrf_token"})["value"]}
        headers = {**self.ada.headers, "Origin": self.cast.house.settings.base_url}
        return self.see(self.ada.client.post(path, data={**token, **form}, headers=headers, environ_base=self.ada.environ))

    def pages_to_pay(self) -> tuple[str, str, str]:
        """A page that takes money once, one that begins a subscription, and one that only saves a card."""
        house, ada = self.cast.house, self.cast.ada_at_acorn
        scope, base = system(ada.business_id), house.settings.base_url
        product, plan = self.cast.products["acorn.once"], self.cast.products["acorn.plan"]
        links = (
            buy(house.till, scope, customer_id=ada.customer_id, cart=[(product, 1)]).link,
            subscribe(house.till, scope, customer_id=ada.customer_id, product_id=plan, billing={"country": "GB"}).link,
            add_method(house.till, scope, ada.customer_id).link,
        )
        one, two, three = ((link or "").removeprefix(base) for link in links)
        return one, two, three

    def program(self, path: str, **more: Any) -> Any:
        return self.see(self.app.test_client().open(f"/api{path}", headers={"Authorization": f"Bearer {self.key}"}, **more))


@pytest.fixture(scope="module", params=["sqlite"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    from wsgi import create_app

    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    urls, drop = engine.fresh()
    folder, logs, wire = tmp_path_factory.mktemp("data"), io.StringIO(), []

    class Keep:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            wire.append(envelope.content)
            return "250 OK"

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    post = Controller(Keep(), hostname="127.0.0.1", port=port)
    post.start()
    root, was, hears = logging.getLogger(), logging.getLogger().level, logging.StreamHandler(logs)
    root.addHandler(hears)
    root.setLevel(logging.DEBUG)  # before the application: SQLAlchemy then says every statement with its values
    statements = logging.getLogger("sqlalchemy.engine.Engine")  # which migrating has switched off
    quiet, statements.disabled = statements.level, False
    statements.setLevel(logging.INFO)
    settings = Settings(data_dir=folder, base_url="http://localhost", log_level="DEBUG", mail_server="127.0.0.1", mail_port=port,
                        mail_use_tls=False, **urls)  # fmt: skip
    try:
        app = create_app(settings)
        structlog.configure(logger_factory=lambda *_names: structlog.PrintLogger(logs))  # as `core.log` has it, but kept
        app.testing = False
        with app.app_context():
            cast = Cast.play(app.extensions["portal"])
            ada = Visitor(app)
            ada.sign_in(Cast.ADA)
        with cast.house.database.open(everything("a key"), write=True) as db:
            key = new_key(db, cast.acorn, "A key", False, settings=settings)[1]
        yield House(cast, app, folder, ada, key, logs, wire=wire)
    finally:
        log.configure()
        root.setLevel(was)
        statements.setLevel(quiet)
        root.removeHandler(hears)
        post.stop()
        cast.house.database.dispose()
        drop()


def test_nothing_typed_is_kept_said_or_sent(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    grouped = [card.grouped.replace(" ", mark) for mark, card in zip("  -" * 9, TEST_CARDS, strict=False)]
    for number in [*grouped, OWN]:
        for url in house.pages_to_pay()[:: 1 if number in (OWN, "4242 4242 4242 4242") else 2]:
            answer = house.send(url, **{**GOOD, "number": number})
            if "/sandbox/challenge/" in (answer.location or ""):
                refused = house.send(answer.location, answer="fail")
                assert refused.status_code == 303
                answer = house.send(url, **{**GOOD, "number": number})
                answer = house.send(answer.location, answer="approve")
            assert answer.status_code in (303, 422), (number, answer.status_code)
            if answer.status_code == 422:
                house.send(url, **GOOD)
            house.get(url)

    first, _, third = house.pages_to_pay()
    for url in (first, third):
        for wrong in WRONG if url == first else WRONG[:3]:
            assert house.send(url, **{**GOOD, **wrong}).status_code in (400, 422), wrong
        assert house.get(f"{url}?number={OWN}&cvc={CVC}").status_code == 200
        assert house.send(url + "/cancel", **GOOD).status_code == 303

    for broken, program in (("check", cards), ("verdict", cards)):
        url = house.pages_to_pay()[0]

        def breaks(*values: Any, **_: Any) -> Any:
            raise RuntimeError(f"it broke with {values!r}")

        with monkeypatch.context() as patch:
            patch.setattr(program, broken, breaks)
            assert house.send(url, **GOOD).status_code == 500
        assert "it broke with" in house.logs.getvalue()

    cast, ada = house.cast, house.cast.ada_at_acorn
    cast.house.gateway.deliver_due()
    cast.house.worker.drain()
    for path in ("/", "/payment-methods", "/billing-history", "/subscriptions", "/purchases", "/sandbox/", "/mailbox", "/metrics"):
        house.get(path)
    with cast.house.database.open(system(cast.acorn)) as db:
        invoices = list(db.scalars(select(Invoice.id).where(Invoice.customer_id == ada.customer_id).limit(4)))
    for one in invoices:
        assert house.get(f"/invoices/{one}.pdf").data[:5] == b"%PDF-"
    for path in ("/payments", "/subscriptions", f"/customers/{ada.customer_id}/payment-methods", f"/payments/{ada.payment_id}"):
        assert house.program(path).status_code == 200
    assert house.program("/payments", method="POST", json={"payment_method": {"card": OWN}}).status_code == 422

    everything_said = list(house.said())
    words = " ".join(where for where, _ in everything_said)
    for place in ("payment_methods.last4", "journal.card", "mailbox.", "log", "page /sandbox/pages/", "letter text/html", "file sandbox"):
        assert place in words, f"nothing was looked for in {place}"
    logs = house.logs.getvalue()
    assert len(house.wire) > 10 and "INSERT INTO payments" in logs and "Ada Marlow" in logs and '"event": "request"' in logs
    assert not sweep.places(everything_said, NUMBERS, CVC)


def in_our_table(house: House) -> None:
    with house.cast.house.database.open(everything("plant a number"), write=True) as db:
        db.scalar(select(Customer).where(Customer.customer_id == house.cast.ben.customer_id)).name = f"Ben {OWN}"


def in_the_sandbox(house: House) -> None:
    with house.cast.house.gateway.store.write() as c:
        c.execute("UPDATE methods SET holder = ? WHERE rowid = 1", (OWN.replace(" ", ""),))


def in_a_log_line(house: House) -> None:
    structlog.get_logger().info("request", path=f"/pay/{OWN}")


def in_a_trace(house: House) -> None:
    try:
        raise ValueError(OWN)
    except ValueError:
        structlog.get_logger().exception("broke")


def in_a_letter(house: House) -> None:
    house.wire.append(b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(f"Paid with {OWN}".encode()))


def as_a_code(house: House) -> None:
    house.pages.append(("page /code", f"<input name=cvc value={CVC}>"))


@pytest.mark.parametrize(("plant", "where"), [
    (in_a_log_line, "log"), (in_a_trace, "log"), (in_a_letter, "letter text/plain"), (as_a_code, "page /code"),
    (in_the_sandbox, "methods.holder"), (in_our_table, "customers.name"),
])  # fmt: skip
def test_the_sweep_finds_what_is_planted(house: House, plant: Callable[[House], None], where: str) -> None:
    """Were a number kept, said or sent in one of these places, the test above would fail."""
    if not house.cast.house.database.is_sqlite and plant is not in_our_table:
        pytest.skip("the same places as on SQLite")
    before = house.found().count(where)
    with house.cast.house.gateway.store.read():  # an open connection keeps the write-ahead log in place
        plant(house)
        found = house.found()
    assert found.count(where) > before
    assert plant is not in_the_sandbox or "file sandbox.sqlite3-wal" in found
