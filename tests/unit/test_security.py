"""Web security: hosts, headers, CSRF, safe redirects, and logs without secrets."""

import re
from pathlib import Path

import pytest
from flask import Blueprint, Flask, render_template_string
from hypothesis import given
from hypothesis import strategies as st

from core import application, log, request_context
from core.db import Database
from core.errors import Conflict, ScopeError
from core.mail import EmailMessage, InvalidEmail
from core.scope import nobody
from core.security import allow_form_to, csrf_exempt, safe_next
from core.services import Services
from core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
FORM = '{% import "components/ui.html" as ui %}<form method="post">{{ ui.csrf() }}</form>'


def make(tmp_path, **changes):
    settings = Settings(
        **{"database_url": f"sqlite:///{tmp_path / 'edge.sqlite3'}", "data_dir": tmp_path, "operator_secret": "op", **changes}
    )
    app = Flask("edge", root_path=str(ROOT))
    application.register(app, Services(settings, Database(settings)))
    door = Blueprint("unified", __name__)
    door.before_request(lambda: request_context.enter(request_context.Door("unified", "Customer portal")))
    door.get("/", endpoint="home")(lambda: render_template_string('{% extends "base.html" %}{% block main %}<h1>Hello</h1>{% endblock %}'))
    door.get("/form", endpoint="form")(lambda: render_template_string(FORM))
    door.post("/form", endpoint="sent")(lambda: "done")
    door.get("/session/<token>", endpoint="session")(lambda token: "secret")
    door.get("/away", endpoint="away")(lambda: (allow_form_to("https://bank.example"), "x")[1])

    @door.get("/broken")
    def broken():
        raise RuntimeError("password=hunter2")

    @door.get("/twice")
    def twice():
        request_context.open_for_request(nobody())
        request_context.open_for_request(nobody())

    @app.post("/api/things")
    def things():
        raise Conflict("SUBSCRIPTION_INACTIVE", "It has ended.")

    @app.post("/sandbox/notification")
    @csrf_exempt
    def notification():
        return "noted"

    app.register_blueprint(door)
    return app


@pytest.fixture
def app(tmp_path):
    return make(tmp_path)


@pytest.fixture
def client(app):
    return app.test_client()


def token_of(client, **how):
    return re.search(r'name="csrf_token" value="([^"]+)"', client.get("/form", **how).text)[1]


def test_security_headers_are_on_every_answer(client):
    for path in ("/", "/nope", "/broken", "/static/portal.css"):
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "same-origin"


def test_every_page_has_a_new_nonce(client):
    seen = set()
    for _ in range(3):
        answer = client.get("/")
        nonce = re.search(r"script-src 'nonce-([\w-]+)'", answer.headers["Content-Security-Policy"])[1]
        assert f'<script nonce="{nonce}"' in answer.text and "style=" not in answer.text
        seen.add(nonce)
    assert len(seen) == 3


def test_pages_with_tokens_send_no_referrer(client):
    headers = client.get("/session/abc").headers
    assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")


def test_form_action_is_extended_only_where_the_page_needs_it(client):
    assert "form-action 'self' https://bank.example;" in client.get("/away").headers["Content-Security-Policy"]
    assert "form-action 'self';" in client.get("/").headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "http://127.0.0.1:5000"}, 200),
        ({"Referer": "http://localhost/form"}, 200),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "null", "Sec-Fetch-Site": "cross-site"}, 400),
        ({"Origin": "https://evil.example"}, 400),
        ({"Referer": "https://evil.example/"}, 400),
        ({"Origin": "http://localhost.evil.example"}, 400),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "same-site"}, 400),
    ],
)
def test_forms_need_a_csrf_token(client, headers, status):
    assert client.post("/form", data={"csrf_token": token_of(client)}, headers=headers).status_code == status


def test_a_form_without_its_token_gets_an_error_page_with_a_link(client):
    answer = client.post("/form")
    assert answer.status_code == 400 and 'href="/form"' in answer.text and "<h1>" in answer.text


def test_api_calls_need_no_csrf_token_and_get_json(client):
    answer = client.post("/api/things")
    assert (answer.status_code, answer.json) == (409, {"code": "SUBSCRIPTION_INACTIVE", "message": "It has ended."})
    assert client.get("/api/nope").json["code"] == "NOT_FOUND"
    assert client.post("/sandbox/notification", headers={"Origin": "https://bank.example"}).text == "noted"


def test_error_pages_have_the_real_status(client):
    for method, path, status in (("get", "/nope", 404), ("put", "/form", 405), ("get", "/broken", 500), ("get", "/twice", 500)):
        answer = getattr(client, method)(path)
        if method == "put":  # the address exists, the method does not
            assert answer.headers["Allow"]
        assert answer.status_code == status and answer.text.count("<h1>") == 1 and "hunter2" not in answer.text
    assert client.post("/form", data=b"x" * (13 * 1024 * 1024)).status_code == 413


def test_a_scope_is_set_once(app):
    with app.test_request_context("/"):
        with pytest.raises(ScopeError):
            request_context.db()
        request_context.open_for_request(nobody())
        with pytest.raises(ScopeError):
            request_context.open_for_request(nobody())


def test_unknown_hosts_are_not_served(client):
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert client.get("/", headers={"Host": "127.0.0.1:9999"}).status_code == 200
    assert client.get("/healthz", headers={"Host": "10.0.0.7"}).status_code == 200


LIVE = {"mode": "live", "base_url": "https://portal.example", "secret_keys": ("k" * 40,), "mail_server": "mail.example", "gateway": "none"}


def test_live_mode_is_stricter_and_has_no_mailbox(tmp_path):
    app = make(tmp_path, **LIVE)
    client = app.test_client()
    https = {"base_url": "https://portal.example"}
    answer = client.get("/form", **https)
    assert "__Host-portal-live=" in answer.headers["Set-Cookie"] and "Secure" in answer.headers["Set-Cookie"]
    assert "Strict-Transport-Security" in answer.headers
    assert client.get("/mailbox", **https).status_code == 404 and "mailbox.index" not in app.view_functions
    assert client.get("/", base_url="http://localhost").status_code == 421
    assert client.get("/metrics", **https).status_code == 404
    assert client.get("/metrics", headers={"X-Operator-Secret": "op"}, **https).status_code == 200


def test_a_test_cookie_is_refused_in_live_mode(tmp_path):
    key = ("k" * 40,)
    test, live = make(tmp_path, secret_keys=key), make(tmp_path, **LIVE)
    value = test.session_interface.get_signing_serializer(test).dumps({"csrf_token": "x"})
    with pytest.raises(Exception, match="does not match"):
        live.session_interface.get_signing_serializer(live).loads(value)


ALLOW = ("https://shop.example", "https://other.example/account")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("/", True),
        ("/subscriptions?x=1#a", True),
        ("https://shop.example/back?a=1", True),
        ("https://other.example/account/x", True),
        ("//evil.example", False),
        ("/\\evil.example", False),
        ("\\\\evil", False),
        ("/a\nb", False),
        ("/ x", False),
        ("https://evil.example", False),
        ("http://shop.example/", False),
        ("javascript:alert(1)", False),
        ("https://shop.example@evil.example/", False),
        ("https:evil.example", False),
        ("https://other.example/accounting", False),
        ("https://other.example/account/../x", False),
        ("https://other.example/account/%2E./x", False),
        ("https://shop.example.evil.example/", False),
        ("subscriptions", False),
        ("", False),
        (None, False),
        ("///evil", False),
        ("/\u2028x", False),
    ],
)
def test_next_stays_on_allowed_paths(value, kept):
    assert safe_next(value, ALLOW, default="/home") == (value if kept else "/home")


@given(st.text())
def test_next_is_always_a_path_of_ours_without_an_allow_list(value):
    assert re.fullmatch(r"/([^/\\].*)?", safe_next(value))


@pytest.mark.parametrize(
    "change",
    [
        {"to": "a@b.example\nBcc: x@y.example"},
        {"subject": "a\r\nBcc: x"},
        {"reply_to": "a\n@b"},
        {"headers": {"X-A": "1\n2"}},
        {"to": "a@b.example,c@d.example"},
    ],
)
def test_an_email_refuses_injected_headers(change):
    with pytest.raises(InvalidEmail):
        EmailMessage(**{"to": "ada@marlow.example", "subject": "Hello", "text": "x", **change})


def test_logs_hold_no_secrets():
    line = log.clean("GET /login/link/s3cr3t?code=ABCD from ada@marlow.example with Bearer dodo_test_123")
    assert not any(secret in line for secret in ("s3cr3t", "ABCD", "marlow", "dodo_test"))
    kept = [log.clean(f"PUT {path}t0k3n") for path in ("/api/uploads/", "/login/never-again/", "/login/email-opt-out/", "/session/")]
    assert not any("t0k3n" in item for item in kept), "whoever reads a log gets no address that opens something"
    assert log.redact(None, "info", {"token": "t", "nested": {"to": "ada@marlow.example"}}) == {
        "token": "[redacted]",
        "nested": "{'to': '" + log.address_hash("ada@marlow.example") + "'}",
    }
