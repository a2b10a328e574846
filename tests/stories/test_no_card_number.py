"""Card numbers are entered in every way and then searched in everything that is stored, shown and sent.

Every published test card is entered on the hosted page, with declines and bank confirmations, and one unpublished number. So are invalid
numbers, wrong codes and dates, and numbers in other fields. The page also fails while it processes a number.
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

from billing.model.invoices import Invoice
from billing.model.parties import Customer
from billing.renewals.payment_methods import add_method
from billing.subscriptions.subscribe import buy, subscribe
from core import log
from core.scope import everything, system
from core.settings import Settings
from gateways.sandbox import cards
from gateways.sandbox.cards import TEST_CARDS
from tenants.api_keys import new_key
from tests.cast import Cast
from tests.stories import card_number_search
from tests.visitor import Visitor

OWN, FALSE, CVC = "4539 5787-6362 1486", "4539 5787 6362 1487", "8317"
NUMBERS = [*(card.number for card in TEST_CARDS), OWN, FALSE]
PARTS = ("number", "expiry", "cvc", "name", "country", "postal_code")
GOOD = {"name": "Ada Marlow", "number": OWN, "expiry": "06/39", "cvc": CVC, "country": "GB", "postal_code": "SE1 3LD"}
WRONG = [{"number": FALSE}, {"number": "4242424242424242" * 2}, {"number": ""}, {"cvc": "12"}, {"cvc": OWN}, {"expiry": "01/20"},
         {"expiry": OWN}, {"name": OWN}, {"name": f"Ada {OWN}"}, {"postal_code": OWN}, {"country": OWN}, {"csrf_token": OWN}]  # fmt: skip


@dataclass
class Services:
    """An application that keeps all its output: log lines, pages, API answers, sent emails."""

    cast: Cast
    app: Any
    folder: Path
    ada: Visitor
    key: str
    logs: io.StringIO
    pages: list[tuple[str, str]] = field(default_factory=list)
    wire: list[bytes] = field(default_factory=list)

    def said(self) -> Iterator[card_number_search.Said]:
        settings = self.cast.services.settings
        yield from card_number_search.sqlite_columns(self.cast.services.gateway.store.path)
        yield from card_number_search.files(self.folder)
        if self.cast.services.database.is_sqlite:
            path = Path(settings.database_url.removeprefix("sqlite:///"))
            yield from card_number_search.sqlite_columns(path)
            yield from ((item.name, item.read_bytes().decode("latin-1")) for item in path.parent.glob(path.name + "*"))
        else:
            yield from card_number_search.postgres_columns(settings.database_owner_url or "")
        yield from (("log", line) for line in self.logs.getvalue().splitlines())
        yield from self.pages
        yield from card_number_search.emails(self.wire)

    def found(self) -> list[str]:
        return card_number_search.places(self.said(), NUMBERS, CVC)

    def see(self, answer: Any) -> Any:
        """Keep an answer, without the sandbox's own list of published numbers, and its redirect target."""
        text = answer.get_data(as_text=True) if answer.mimetype != "application/pdf" else card_number_search.pdf(answer.data)
        text = re.sub(r"<section[^>]*aria-labelledby=.cards.*?</section>", "", text, flags=re.DOTALL)
        self.pages.append((f"page {answer.request.path}", f"{text} {answer.headers}"))
        return answer

    def get(self, path: str) -> Any:
        return self.see(self.ada.client.get(path, headers=self.ada.headers, environ_base=self.ada.environ))

    def send(self, path: str, **form: str) -> Any:
        form_at = path.removesuffix("/cancel")
        shown = BeautifulSoup(self.ada.client.get(form_at, headers=self.ada.headers).data, "html.parser")
        token = {"csrf_token": shown.find("input", {"name": "csrf_token"})["value"]}
        headers = {**self.ada.headers, "Origin": self.cast.services.settings.base_url}
        return self.see(self.ada.client.post(path, data={**token, **form}, headers=headers, environ_base=self.ada.environ))

    def pages_to_pay(self) -> tuple[str, str, str]:
        """Open a page for a purchase, one for a subscription, and one that only saves a card."""
        services, ada = self.cast.services, self.cast.ada_at_acorn
        scope, base = system(ada.business_id), services.settings.base_url
        product, plan = self.cast.products["acorn.once"], self.cast.products["acorn.plan"]
        links = (
            buy(services.processor, scope, customer_id=ada.customer_id, cart=[(product, 1)]).link,
            subscribe(services.processor, scope, customer_id=ada.customer_id, product_id=plan, billing={"country": "GB"}).link,
            add_method(services.processor, scope, ada.customer_id).link,
        )
        item, two, three = ((link or "").removeprefix(base) for link in links)
        return item, two, three

    def program(self, path: str, **more: Any) -> Any:
        return self.see(self.app.test_client().open(f"/api{path}", headers={"Authorization": f"Bearer {self.key}"}, **more))


@pytest.fixture(scope="module", params=["sqlite"])
def services(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
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
        with cast.services.database.open(everything("a key"), write=True) as db:
            key = new_key(db, cast.acorn, "A key", False, settings=settings)[1]
        yield Services(cast, app, folder, ada, key, logs, wire=wire)
    finally:
        log.configure()
        root.setLevel(was)
        statements.setLevel(quiet)
        root.removeHandler(hears)
        post.stop()
        cast.services.database.dispose()
        drop()


def test_no_typed_card_number_is_stored_shown_or_sent(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    grouped = [card.grouped.replace(" ", mark) for mark, card in zip("  -" * 9, TEST_CARDS, strict=False)]
    for number in [*grouped, OWN]:
        for url in services.pages_to_pay()[:: 1 if number in (OWN, "4242 4242 4242 4242") else 2]:
            answer = services.send(url, **{**GOOD, "number": number})
            if "/sandbox/challenge/" in (answer.location or ""):
                refused = services.send(answer.location, answer="fail")
                assert refused.status_code == 303
                answer = services.send(url, **{**GOOD, "number": number})
                answer = services.send(answer.location, answer="approve")
            assert answer.status_code in (303, 422), (number, answer.status_code)
            if answer.status_code == 422:
                services.send(url, **GOOD)
            services.get(url)

    first, _, third = services.pages_to_pay()
    for url in (first, third):
        for wrong in WRONG if url == first else WRONG[:3]:
            assert services.send(url, **{**GOOD, **wrong}).status_code in (400, 422), wrong
        assert services.get(f"{url}?number={OWN}&cvc={CVC}").status_code == 200
        assert services.send(url + "/cancel", **GOOD).status_code == 303

    for broken, program in (("check", cards), ("verdict", cards)):
        url = services.pages_to_pay()[0]

        def breaks(*values: Any, **_: Any) -> Any:
            raise RuntimeError(f"it broke with {values!r}")

        with monkeypatch.context() as patch:
            patch.setattr(program, broken, breaks)
            assert services.send(url, **GOOD).status_code == 500
        assert "it broke with" in services.logs.getvalue()

    cast, ada = services.cast, services.cast.ada_at_acorn
    cast.services.gateway.deliver_due()
    cast.services.worker.drain()
    for path in ("/", "/payment-methods", "/billing-history", "/subscriptions", "/purchases", "/sandbox/", "/mailbox", "/metrics"):
        services.get(path)
    with cast.services.database.open(system(cast.acorn)) as db:
        invoices = list(db.scalars(select(Invoice.id).where(Invoice.customer_id == ada.customer_id).limit(4)))
    for invoice in invoices:
        assert services.get(f"/invoices/{invoice}.pdf").data[:5] == b"%PDF-"
    for path in ("/payments", "/subscriptions", f"/customers/{ada.customer_id}/payment-methods", f"/payments/{ada.payment_id}"):
        assert services.program(path).status_code == 200
    assert services.program("/payments", method="POST", json={"payment_method": {"card": OWN}}).status_code == 422

    everything_said = list(services.said())
    words = " ".join(where for where, _ in everything_said)
    for place in ("payment_methods.last4", "journal.card", "mailbox.", "log", "page /sandbox/pages/", "letter text/html", "file sandbox"):
        assert place in words, f"nothing was looked for in {place}"
    logs = services.logs.getvalue()
    assert len(services.wire) > 10 and "INSERT INTO payments" in logs and "Ada Marlow" in logs and '"event": "request"' in logs
    assert not card_number_search.places(everything_said, NUMBERS, CVC)


def in_our_table(services: Services) -> None:
    with services.cast.services.database.open(everything("plant a number"), write=True) as db:
        db.scalar(select(Customer).where(Customer.customer_id == services.cast.ben.customer_id)).name = f"Ben {OWN}"


def in_the_sandbox(services: Services) -> None:
    with services.cast.services.gateway.store.write() as c:
        c.execute("UPDATE methods SET holder = ? WHERE rowid = 1", (OWN.replace(" ", ""),))


def in_a_log_line(services: Services) -> None:
    structlog.get_logger().info("request", path=f"/pay/{OWN}")


def in_a_trace(services: Services) -> None:
    try:
        raise ValueError(OWN)
    except ValueError:
        structlog.get_logger().exception("broke")


def in_an_email(services: Services) -> None:
    services.wire.append(b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(f"Paid with {OWN}".encode()))


def as_a_code(services: Services) -> None:
    services.pages.append(("page /code", f"<input name=cvc value={CVC}>"))


@pytest.mark.parametrize(("plant", "where"), [
    (in_a_log_line, "log"), (in_a_trace, "log"), (in_an_email, "letter text/plain"), (as_a_code, "page /code"),
    (in_the_sandbox, "methods.holder"), (in_our_table, "customers.name"),
])  # fmt: skip
def test_the_search_finds_an_inserted_card_number(services: Services, plant: Callable[[Services], None], where: str) -> None:
    """A number placed in each of these places makes the test above fail."""
    if not services.cast.services.database.is_sqlite and plant is not in_our_table:
        pytest.skip("the same places as on SQLite")
    before = services.found().count(where)
    with services.cast.services.gateway.store.read():  # an open connection keeps the write-ahead log in place
        plant(services)
        found = services.found()
    assert found.count(where) > before
    assert plant is not in_the_sandbox or "file sandbox.sqlite3-wal" in found
