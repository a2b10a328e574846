"""Settings against real servers: captcha servers, a replica, an SMTP log-in, prepared statements."""

from __future__ import annotations

import datetime as dt
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask
from sqlalchemy import select

from auth import bot_check
from billing.customers.customers import create_customer
from billing.model.parties import Customer
from core import guard
from core.db import Database
from core.mail import EmailMessage, Mailer
from core.mail_errors import MailServerUnreachable
from core.scope import everything, system
from core.settings import Settings
from tests.pages.console_setup import Site
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both

EXTERNAL = "203.0.113.7"  # TEST-NET-3: a test deployment lets its own machine ask without a proof


# --- PORTAL_BOT_CHECK=turnstile, hcaptcha


class SiteVerify(BaseHTTPRequestHandler):
    """Answers like `siteverify` of both providers: a form in, `success` and `error-codes` out. Each token is valid once."""

    asked: list[dict[str, list[str]]] = []
    used: set[str] = set()

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.asked.append(form)
        token = form.get("response", [""])[0]
        wrong = {
            "invalid-input-secret": form.get("secret") != ["s3cret"],
            "invalid-input-response": not token.startswith("person"),
            "timeout-or-duplicate": token in self.used,
        }
        codes = [code for code, is_so in wrong.items() if is_so]
        self.used.add(token)
        body = json.dumps({"success": not codes, "error-codes": codes}).encode()
        if token == "person-but-broken":  # noqa: S105 - no password
            body = b"<html>502 Bad Gateway</html>"
        self.send_response(200 if self.headers["Content-Type"] == "application/x-www-form-urlencoded" else 415)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def siteverify() -> Iterator[str]:
    SiteVerify.asked, SiteVerify.used = [], set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), SiteVerify)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/siteverify"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", ["turnstile", "hcaptcha"])
def test_a_hosted_captcha_decides_whether_the_sign_in_email_is_sent(
    kind: str, siteverify: str, sqlite: Any, tmp_path: Path, make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(bot_check._HOSTED[kind], "verify", siteverify)
    monkeypatch.setattr(bot_check, "UNPROVEN_AN_HOUR", 0)  # the limit of requests without proof is used up
    urls, drop = sqlite.fresh()
    app = make_app(
        Settings.from_env(
            {
                "PORTAL_BOT_CHECK": kind,
                "PORTAL_BOT_SITE_KEY": "site-1",
                "PORTAL_BOT_SECRET": "s3cret",
                "PORTAL_OUTGOING_LOOPBACK": "1",
                "PORTAL_BASE_URL": "http://localhost",
                "PORTAL_DATA_DIR": str(tmp_path),
                "PORTAL_WORKER": "off",
                "DATABASE_URL": urls["database_url"],
            }
        )
    )
    field = bot_check._HOSTED[kind]["field"]
    sent = {}
    for n, token in enumerate(["", "robot-1", "person-1", "person-1", "person-but-broken"]):
        someone = Visitor(app, address=EXTERNAL)
        page = someone.get("/login")
        assert page.soup.select_one(f".{bot_check._HOSTED[kind]['css_class']}")["data-sitekey"] == "site-1"
        policy = page.response.headers["Content-Security-Policy"]
        assert all(origin in policy for origin in bot_check._HOSTED[kind]["origins"])
        email = f"ada{n}@marlow.example"
        someone.post("/login", {"email": email, **({field: token} if token else {})})
        sent[n] = bool(someone.emails(email))
    assert sent == {0: False, 1: False, 2: True, 3: False, 4: False}, "only a person's token, once"
    assert [item["response"] for item in SiteVerify.asked] == [["robot-1"], ["person-1"], ["person-1"], ["person-but-broken"]]
    assert all(item["secret"] == ["s3cret"] for item in SiteVerify.asked)
    drop()


# --- DATABASE_REPLICA_URL


def test_lists_are_read_from_the_replica_and_everything_else_from_the_primary(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls, drop = engine.fresh()
    site = Site.open(urls, tmp_path / "one")
    site.services.database.dispose()
    replica, drop_replica = engine.fresh(template=engine.name_of(urls))  # a copy of this moment, which lags from now on
    from wsgi import create_app

    app = create_app(Settings(data_dir=tmp_path / "one", base_url="http://localhost", database_replica_url=replica["database_url"], **urls))
    services = app.extensions["portal"]
    assert services.database.replica is not services.database.engine
    with services.database.open(system(site.acorn), write=True) as db:
        late = create_customer(db, site.acorn, email="late@marlow.example", name="Late Comer").customer_id
    with services.database.open(system(site.acorn), replica=True) as db:
        assert db.scalar(select(Customer).where(Customer.customer_id == late)) is None
    site.app, site.services = app, services
    monkeypatch.setattr("core.read_your_writes.STICK", 0)  # who has just signed in reads from the primary
    sam = site.staff("second@acorn.example", "owner")  # sessions and challenges are the primary's, or nobody could sign in
    assert "Ada Marlow" in (listed := sam.get(site.at("/sales/customers")).text) and "Late Comer" not in listed
    assert sam.get(site.at(f"/sales/customers/{late}")).h1 == "Late Comer"
    with services.database.open(system(site.acorn), write=True, replica=True) as db:  # what writes goes to the primary, whatever was asked
        assert db.scalar(select(Customer.name).where(Customer.customer_id == late)) == "Late Comer"
    services.database.dispose()
    drop_replica()
    drop()


# --- DATABASE_PREPARE_THRESHOLD


@pytest.mark.parametrize(("setting", "prepared"), [("2", True), ("none", False), ("off", False), ("", True)])
def test_the_threshold_decides_whether_statements_are_prepared(postgres: Any, tmp_path: Path, setting: str, prepared: bool) -> None:
    urls, drop = postgres.fresh()
    settings = Settings.from_env(
        {
            "DATABASE_URL": urls["database_url"],
            "DATABASE_OWNER_URL": urls["database_owner_url"],
            "PORTAL_DATA_DIR": str(tmp_path),
            "DATABASE_PREPARE_THRESHOLD": setting,
        }
    )
    database = Database(settings)
    for _ in range(6):
        with database.open(everything("the same statement again")) as db:
            db.scalars(select(Customer.name).where(Customer.name == "nobody")).all()
    with database.open(everything("what the server has prepared")) as db, guard.raw_sql():
        rows = db.connection().exec_driver_sql("SELECT statement FROM pg_prepared_statements").scalars().all()
    assert any("customers" in row for row in rows) is prepared, rows
    database.dispose()
    drop()


# --- MAIL_USERNAME, MAIL_PASSWORD, MAIL_USE_TLS


def certificate(folder: Path) -> Path:
    """A self-signed certificate for localhost with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "localhost.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


class Taken:
    def __init__(self) -> None:
        self.mails: list[tuple[str, bool, bool]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.mails.append((envelope.rcpt_tos[0], bool(session.authenticated), session.ssl is not None))
        return "250 taken"


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Any]:
    """A mail server that accepts mail over STARTTLS after log-in as portal with the right password."""

    def log_in(_server: Any, _session: Any, _envelope: Any, _mechanism: str, auth: LoginPassword) -> AuthResult:
        return AuthResult(success=(auth.login, auth.password) == (b"portal", b"pa ss:word"), handled=False)

    pem, taken = certificate(tmp_path), Taken()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Controller(
        taken, hostname="127.0.0.1", port=port, tls_context=tls, require_starttls=True, authenticator=log_in, auth_required=True
    )
    server.start()
    taken.port, taken.pem = port, str(pem)  # type: ignore[attr-defined]
    yield taken
    server.stop()


@pytest.fixture
def mailer(post: Any, sqlite: Any, tmp_path: Path, make_app: Callable[..., Flask]) -> Iterator[Callable[..., Mailer]]:
    urls, drop = sqlite.fresh()

    def made(**env: str) -> Mailer:
        app = make_app(
            Settings.from_env(
                {
                    "MAIL_SERVER": "localhost",
                    "MAIL_PORT": str(post.port),
                    "MAIL_USE_TLS": "1",
                    "PORTAL_DATA_DIR": str(tmp_path),
                    "PORTAL_BASE_URL": "http://localhost",
                    "DATABASE_URL": urls["database_url"],
                    "PORTAL_WORKER": "off",
                    **env,
                }
            )
        )
        found: Mailer = app.extensions["portal"].mailer
        return found

    yield made
    drop()


EMAIL = EmailMessage("ada@marlow.example", "Your sign-in link", "Hello")


def test_mail_is_sent_over_tls_after_logging_in(post: Any, mailer: Callable[..., Mailer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", post.pem)  # the certificate authorities that this machine trusts
    mailer(MAIL_USERNAME="portal", MAIL_PASSWORD="pa ss:word").send(EMAIL, "event:1")  # noqa: S106 - a test's own
    assert post.mails == [("ada@marlow.example", True, True)]


def test_a_wrong_password_and_none_at_all_send_nothing(post: Any, mailer: Callable[..., Mailer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", post.pem)
    with pytest.raises(MailServerUnreachable, match="SMTPAuthenticationError"):
        mailer(MAIL_USERNAME="portal", MAIL_PASSWORD="wrong").send(EMAIL, "event:1")  # noqa: S106 - a test's own
    with pytest.raises(MailServerUnreachable):
        mailer().send(EMAIL, "event:2")
    assert post.mails == []


def test_a_mail_server_with_an_unknown_certificate_gets_no_password(post: Any, mailer: Callable[..., Mailer]) -> None:
    with pytest.raises(MailServerUnreachable, match="SSLCertVerificationError"):
        mailer(MAIL_USERNAME="portal", MAIL_PASSWORD="pa ss:word").send(EMAIL, "event:1")  # noqa: S106 - a test's own
    assert post.mails == []
