"""Behind proxies every client has separate rate limits, and forged headers do not use up those of others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from core.proxies import TrustedProxies
from core.settings import Settings
from tests.shared_applications import Past
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both

PROXY, MALLORY, ADA = "10.0.0.1", "203.0.113.7", "203.0.113.8"


class Behind(Visitor):
    """A client behind the proxy, which appends the client's address to the header that the client sent."""

    def __init__(self, app: Any, at: str, forged: str = "") -> None:
        super().__init__(app, address=PROXY)
        self.headers["X-Forwarded-For"] = f"{forged}, {at}" if forged else at


@pytest.fixture
def proxied(settings: Settings, past: Callable[[Any], Past], engine: Any, make_app: Callable[..., Any], tmp_path: Any) -> Iterator[Any]:
    """A deployment behind one proxy, with an address other than loopback so that limits per client apply."""
    urls, drop = past(engine).fresh(tmp_path)
    yield make_app(
        replace(settings, base_url="http://localhost.example", bot_check="none", trusted_proxies=TrustedProxies.parse("1"), **urls)
    )
    drop()


@pytest.fixture
def person(proxied: Any) -> Callable[..., Behind]:
    def make(at: str, forged: str = "") -> Behind:
        item = Behind(proxied, at, forged)
        item.client.environ_base["HTTP_HOST"] = "localhost.example"
        return item

    return make


def asks(item: Behind, email: str) -> None:
    item.get("/login")
    item.submit("login", email=email)


@pytest.mark.parametrize("forged", ["", ADA, "127.0.0.1"])
def test_one_clients_many_requests_block_no_other_clients_emails(person: Any, forged: str) -> None:
    mallory = person(MALLORY, forged)
    for number in range(11):
        asks(mallory, f"stranger{number}@void.example")
    assert not mallory.emails("stranger10@void.example")  # over the budget of this client
    asks(person(ADA), "ada@marlow.example")
    assert mallory.emails("ada@marlow.example")


def test_forged_headers_do_not_escape_the_rate_limit(person: Any) -> None:
    for number in range(12):
        item = person(MALLORY, forged=f"198.51.100.{number}")
        item.headers["X-Real-Ip"] = item.headers["Forwarded"] = f"198.51.100.{number}"
        asks(item, f"stranger{number}@void.example")
    assert not item.emails("stranger11@void.example")


def code_in(item: Behind, email: str) -> str:
    found = re.search(r": ([A-Z0-9]{4} [A-Z0-9]{4})$", item.emails(email)[-1].text, re.MULTILINE)
    assert found
    return found[1]


def test_wrong_codes_of_one_client_do_not_block_others(person: Any) -> None:
    mallory = person(MALLORY)
    for number in range(7):
        asks(mallory, f"stranger{number}@void.example")
        for _ in range(5):
            mallory.post("/login/code", {"code": "WRONGONE"}, expect=422)
    ada = person(ADA)
    asks(ada, "ada@marlow.example")
    ada.post("/login/code", {"code": code_in(ada, "ada@marlow.example")})
    assert ada.page is not None and "/login" not in ada.path


def test_codes_without_a_challenge_do_not_count(person: Any) -> None:
    """Codes entered without a sign-in request, or after the last allowed try, cannot be right. They count against no limit."""
    mallory, ada = person(MALLORY), person(MALLORY)
    mallory.get("/login")
    for _ in range(40):
        mallory.post("/login/code", {"code": "WRONGONE"}, expect=None)
    asks(mallory, "stranger@void.example")
    for _ in range(40):
        mallory.post("/login/code", {"code": "WRONGONE"}, expect=None)
    asks(ada, "ada@marlow.example")  # from the same address
    ada.post("/login/code", {"code": code_in(ada, "ada@marlow.example")})
    assert "/login" not in ada.path


def test_license_checks_of_one_client_do_not_block_others(person: Any) -> None:
    def check(item: Behind) -> Any:
        return item.client.post(
            "/api/licenses/validate", json={"license_key": "no-such-key"}, headers=item.headers, environ_base=item.environ
        )

    mallory, ada = person(MALLORY), person(ADA)
    assert [check(mallory).status_code for _ in range(21)] == [200] * 20 + [429]
    assert check(person(MALLORY, forged=ADA)).status_code == 429
    assert check(ada).status_code == 200


def test_calls_without_a_key_are_counted_per_client(proxied: Any, person: Any) -> None:
    proxied.extensions["portal"].settings = replace(proxied.extensions["portal"].settings, api_rate=50)

    def call(item: Behind) -> int:
        return item.client.get("/api/payments", headers=item.headers, environ_base=item.environ).status_code

    mallory, ada = person(MALLORY), person(ADA)
    assert [call(mallory) for _ in range(11)] == [401] * 10 + [429]
    assert call(ada) == 401


def test_requests_without_proof_of_work_are_limited_per_client(proxied: Any) -> None:
    from auth import bot_check

    services = proxied.extensions["portal"]
    check = bot_check.ProofOfWork(services.settings, services.database)
    given = [bot_check.may_request(check, services.database, services.settings, {}, MALLORY) for _ in range(200)]
    assert given.count(True) == bot_check.UNPROVEN_OF_A_SOURCE
    assert bot_check.may_request(check, services.database, services.settings, {}, ADA)
