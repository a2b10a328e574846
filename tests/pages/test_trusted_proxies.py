"""Behind proxies every client has its own budgets, and nobody can spend another one's by writing headers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from core.proxies import TrustedProxies
from core.settings import Settings
from tests.quick import Past
from tests.visitor import Visitor

PROXY, MALLORY, ADA = "10.0.0.1", "203.0.113.7", "203.0.113.8"


class Behind(Visitor):
    """A person behind the proxy: it writes their address at the end of what they sent themselves."""

    def __init__(self, app: Any, at: str, forged: str = "") -> None:
        super().__init__(app, address=PROXY)
        self.headers["X-Forwarded-For"] = f"{forged}, {at}" if forged else at


@pytest.fixture
def proxied(settings: Settings, past: Callable[[Any], Past], engine: Any, make_app: Callable[..., Any], tmp_path: Any) -> Iterator[Any]:
    """A deployment whose address is not this machine's, so that budgets per client count, behind one proxy."""
    urls, drop = past(engine).fresh(tmp_path)
    yield make_app(replace(settings, base_url="http://localhost.example", bot_check="none",
                           trusted_proxies=TrustedProxies.parse("1"), **urls))
    drop()


@pytest.fixture
def person(proxied: Any) -> Callable[..., Behind]:
    def make(at: str, forged: str = "") -> Behind:
        one = Behind(proxied, at, forged)
        one.client.environ_base["HTTP_HOST"] = "localhost.example"
        return one

    return make


def asks(one: Behind, email: str) -> None:
    one.get("/login")
    one.submit("login", email=email)


@pytest.mark.parametrize("forged", ["", ADA, "127.0.0.1"])
def test_asking_for_many_emails_suppresses_nobody_elses(person: Any, forged: str) -> None:
    mallory = person(MALLORY, forged)
    for number in range(11):
        asks(mallory, f"stranger{number}@void.example")
    assert not mallory.letters("stranger10@void.example")  # over the budget of this client
    asks(person(ADA), "ada@marlow.example")
    assert mallory.letters("ada@marlow.example")


def test_a_client_cannot_leave_its_budget_by_writing_headers(person: Any) -> None:
    for number in range(12):
        one = person(MALLORY, forged=f"198.51.100.{number}")
        one.headers["X-Real-Ip"] = one.headers["Forwarded"] = f"198.51.100.{number}"
        asks(one, f"stranger{number}@void.example")
    assert not one.letters("stranger11@void.example")


def code_in(one: Behind, email: str) -> str:
    found = re.search(r": ([A-Z0-9]{4} [A-Z0-9]{4})$", one.letters(email)[-1].text, re.MULTILINE)
    assert found
    return found[1]


def test_wrong_codes_of_one_client_do_not_shut_the_code_path_of_others(person: Any) -> None:
    mallory = person(MALLORY)
    for number in range(7):
        asks(mallory, f"stranger{number}@void.example")
        for _ in range(5):
            mallory.post("/login/code", {"code": "WRONGONE"}, expect=422)
    ada = person(ADA)
    asks(ada, "ada@marlow.example")
    ada.post("/login/code", {"code": code_in(ada, "ada@marlow.example")})
    assert ada.page is not None and "/login" not in ada.path


def test_codes_without_a_challenge_cost_no_budget(person: Any) -> None:
    """Typed where nobody asked for one, and more often than a challenge allows: neither can be right."""
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


def test_license_checks_of_one_client_do_not_shut_licensing(person: Any) -> None:
    def check(one: Behind) -> Any:
        return one.client.post("/api/licenses/validate", json={"license_key": "no-such-key"}, headers=one.headers, environ_base=one.environ)

    mallory, ada = person(MALLORY), person(ADA)
    assert [check(mallory).status_code for _ in range(21)] == [200] * 20 + [429]
    assert check(person(MALLORY, forged=ADA)).status_code == 429
    assert check(ada).status_code == 200


def test_calls_without_a_key_are_counted_per_client(proxied: Any, person: Any) -> None:
    proxied.extensions["portal"].settings = replace(proxied.extensions["portal"].settings, api_rate=50)

    def call(one: Behind) -> int:
        return one.client.get("/api/payments", headers=one.headers, environ_base=one.environ).status_code

    mallory, ada = person(MALLORY), person(ADA)
    assert [call(mallory) for _ in range(11)] == [401] * 10 + [429]
    assert call(ada) == 401


def test_asks_without_a_proof_of_work_from_one_client_leave_some_for_others(proxied: Any) -> None:
    from auth import bots

    house = proxied.extensions["portal"]
    check = bots.ProofOfWork(house.settings, house.database)
    given = [bots.may_ask(check, house.database, house.settings, {}, MALLORY) for _ in range(200)]
    assert given.count(True) == bots.UNPROVEN_OF_A_SOURCE
    assert bots.may_ask(check, house.database, house.settings, {}, ADA)
