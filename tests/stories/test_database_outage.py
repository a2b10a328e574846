"""During a database outage people and programs get a clear answer and the log stays clean. Afterwards everything works again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from flask import Flask

from core import schema
from core.settings import Misconfigured, Settings
from tests.cast import Cast
from tests.harness.database_proxy import DatabaseProxy, database_proxy
from tests.visitor import Page, Visitor

pytestmark = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


@pytest.fixture
def proxy(settings: Settings) -> Iterator[DatabaseProxy]:
    with database_proxy(settings.database_url) as item:
        yield item


@pytest.fixture
def app(proxy: DatabaseProxy, settings: Settings, make_app: Callable[..., Flask]) -> Flask:
    return make_app(replace(settings, database_url=proxy.url(settings.database_url)))


def assert_outage_page(page: Page) -> None:
    assert page.status == 503 and int(page.response.headers["Retry-After"]) > 0
    assert page.h1 == "The portal is temporarily unavailable"
    assert "Ada" not in page.text and page.response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/subscriptions", "/login", "/no/such/page", "/console"])
def test_people_get_the_outage_page_with_retry_after(path: str, app: Flask, cast: Cast, proxy: DatabaseProxy) -> None:
    ada, stranger = Visitor(app), Visitor(app)
    ada.sign_in(Cast.ADA)
    proxy.cut()
    assert_outage_page(ada.get(path, expect=None))
    outside = stranger.get(path, expect=None)
    assert outside.status in (200, 302, 404, 503)
    if outside.status == 503:
        assert_outage_page(outside)
    proxy.restore()
    assert "Acorn Team" in ada.get("/").text
    assert ada.get("/readyz").status == 200


def test_a_form_sent_during_the_outage_is_a_503_too(app: Flask, cast: Cast, proxy: DatabaseProxy) -> None:
    ada = Visitor(app)
    ada.sign_in(Cast.ADA)
    ada.get("/profile")
    token = ada.token()
    proxy.cut()
    assert_outage_page(ada.post("/logout", {"csrf_token": token}, expect=None))
    proxy.restore()
    assert "Acorn Team" in ada.get("/").text


def test_programs_get_json_with_retry_after(app: Flask, cast: Cast, proxy: DatabaseProxy) -> None:
    program = app.test_client()
    key = {"Authorization": "Bearer dodo_test_whatever"}
    proxy.cut()
    for method, path, headers in (("GET", "/api/subscriptions", key), ("POST", "/api/customers", {**key, "Idempotency-Key": "a"})):
        answer = program.open(path, method=method, headers=headers, json={} if method == "POST" else None)
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
        assert answer.get_json()["code"] == "UNAVAILABLE"


def test_the_page_is_in_the_readers_language_and_a_business_page_is_no_exception(app: Flask, cast: Cast, proxy: DatabaseProxy) -> None:
    proxy.cut()
    page = Visitor(app).get(f"/business/{cast.acorn}/", expect=None, headers={"Accept-Language": "de"})
    assert page.status == 503 and page.soup is not None and page.soup.html["lang"] == "de"
    assert page.h1 != "The portal is temporarily unavailable"


def test_log_lines_of_an_outage_are_json_and_hold_no_token(
    app: Flask, cast: Cast, proxy: DatabaseProxy, capsys: pytest.CaptureFixture[str]
) -> None:
    ada = Visitor(app)
    ada.sign_in(Cast.ADA)
    capsys.readouterr()
    proxy.cut()
    ada.get("/login/link/very-secret-token", expect=None)
    ada.get("/", expect=None)
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(isinstance(json.loads(line), dict) for line in lines)
    assert any(json.loads(line)["event"] == "database unavailable" for line in lines)
    assert "very-secret-token" not in "".join(lines) and Cast.ADA not in "".join(lines)


def test_readyz_says_that_the_database_is_away(app: Flask, proxy: DatabaseProxy) -> None:
    proxy.cut()
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 503 and "database" in answer.get_json()["troubles"][0]
    assert app.test_client().get("/healthz").status_code == 200


def test_commands_say_in_one_sentence_that_the_database_does_not_answer(settings: Settings, make_app: Callable[..., Flask]) -> None:
    away = replace(settings, database_url="postgresql+psycopg://portal_app:a-secret@127.0.0.1:1/portal", database_owner_url="")
    for start in (lambda: make_app(away), lambda: schema.upgrade(away)):
        with pytest.raises(Misconfigured, match="The database does not answer .* Check DATABASE_URL") as refusal:
            start()
        assert "a-secret" not in refusal.value.message and refusal.value.exit_code == 2
