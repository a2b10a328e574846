"""A real server with two businesses, and the official SDK connected to it with strict validation of every answer."""

from __future__ import annotations

import functools
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from typing import Any

import httpx
import pytest
from dodopayments import DodoPayments
from werkzeug.serving import BaseWSGIServer, make_server

from billing.customers.businesses import create_business
from core.scope import everything
from core.services import Services
from core.settings import Settings
from tenants.api_keys import new_key
from tests.shared_applications import Stage

BILLING: dict[str, Any] = {"country": "GB", "city": "London", "street": "14 Tanner Street", "zipcode": "SE1 3LD", "state": ""}
MONTHLY: dict[str, Any] = {
    "type": "recurring_price", "currency": "EUR", "price": 2417, "payment_frequency_count": 1, "payment_frequency_interval": "Month",
    "subscription_period_count": 10, "subscription_period_interval": "Year", "discount": 0, "purchasing_power_parity": False,
}  # fmt: skip
ONCE: dict[str, Any] = {"type": "one_time_price", "currency": "EUR", "price": 4900, "discount": 0, "purchasing_power_parity": False}
VISA = "4242 4242 4242 4242"


@dataclass
class Site:
    """A listening deployment. `key` is an API key of Acorn, `other_key` one of Birch, `read_key` a read-only key of Acorn."""

    url: str
    services: Services
    acorn: str
    birch: str
    key: str
    other_key: str
    read_key: str

    def sdk(self, key: str | None = None, **options: Any) -> DodoPayments:
        options.setdefault("max_retries", 0)
        return DodoPayments(bearer_token=key or self.key, base_url=f"{self.url}/api", _strict_response_validation=True, **options)

    def raw(self, method: str, path: str, key: str | None = None, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.request(method, f"{self.url}/api{path}", headers={**headers, **more.pop("headers", {})}, **more)

    def pay(self, link: str, number: str = VISA) -> httpx.Response:
        """Pay on the hosted page without JavaScript. Returns the last answer before the redirect to the business."""
        with httpx.Client() as browser:
            page = browser.get(link)
            assert page.status_code == 200, page.text
            token = unescape(re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)[1])  # type: ignore[index]
            form = {"csrf_token": token, "name": "Ada Marlow", "number": number, "expiry": "06/32", "cvc": "123", "country": "GB"}
            return browser.post(link, data=form)

    def settle(self) -> None:
        self.services.gateway.deliver_due()
        self.services.worker.drain()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def stock(services: Services) -> Site:
    """Create two businesses and their API keys in a listening deployment."""
    settings = services.settings
    with services.database.open(everything("two businesses"), write=True) as db:
        acorn = create_business(db, name="Acorn Notes", currency="EUR", tax_rates={"GB": 2000}).business_id
        birch = create_business(db, name="Birch Hosting", currency="EUR").business_id
        key, other, reading = (
            new_key(db, business, "A key", read_only, settings=settings)[1]
            for business, read_only in ((acorn, False), (birch, False), (acorn, True))
        )
    return Site(settings.base_url, services, acorn, birch, key, other, reading)


def listen(app: Any, port: int) -> BaseWSGIServer:
    server = make_server("127.0.0.1", port, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@contextmanager
def serving(settings_of: Callable[[str], Settings]) -> Iterator[Site]:
    """Serve a deployment for the duration of a module or a test."""
    from wsgi import create_app

    port = free_port()
    app = create_app(settings_of(f"http://127.0.0.1:{port}"))
    app.testing = False
    services: Services = app.extensions["portal"]
    server = listen(app, port)
    try:
        yield stock(services)
    finally:
        server.shutdown()
        services.database.dispose()


@pytest.fixture(scope="session")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Any], Stage]]:
    """Return a listening application per engine. Its database is replaced before every test."""
    servers: list[BaseWSGIServer] = []

    @functools.cache
    def listening(engine: Any) -> Stage:
        port = free_port()
        stage = Stage(engine, tmp_path_factory.mktemp(f"counter_{engine.name}"), f"http://127.0.0.1:{port}")
        servers.append(listen(stage.app(stage.lay()), port))
        return stage

    yield listening
    for server in servers:
        server.shutdown()


@pytest.fixture
def site(engine: Any, counter: Callable[[Any], Stage]) -> Site:
    """A deployment with its own database, on both engines."""
    stage = counter(engine)
    return stock(stage.app(stage.lay()).extensions["portal"])


@pytest.fixture(scope="module")
def api_site(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A deployment for a whole module, on SQLite, for refused calls, which change nothing."""
    urls, drop = sqlite.fresh()
    with serving(lambda url: Settings(data_dir=tmp_path_factory.mktemp("desk"), base_url=url, **urls)) as item:
        yield item
    drop()
