"""The checks of `flask check`, one by one. Every finding says what to do."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from core.checks import Finding, mail_domain, smtp
from core.checks import database as stored
from core.checks import machine as machines
from core.checks import settings as configured
from core.encryption import seal
from core.proxies import TrustedProxies
from core.settings import DEFAULT_SECRET, Settings
from tenants import deployment_check
from tests.dns_server import Zone, name_server
from tests.unit.test_implicit_tls import _free_port, certificate  # noqa: F401 - a fixture

STRONG = "q8Vt3zX1mK7pR4sW9yB2cD5fG6hJ0lNA"
LIVE = Settings(
    mode="live",
    base_url="https://portal.acorn-notes.com",
    gateway="none",
    secret_keys=(STRONG,),
    operator_secret=STRONG,
    mail_server="mail.acorn-notes.com",
    mail_default_sender="Acorn <portal@acorn-notes.com>",
    trusted_proxies=TrustedProxies(count=1),
    database_url=f"postgresql+psycopg://app:{STRONG}@db/portal",
    database_owner_url=f"postgresql+psycopg://owner:{STRONG[::-1]}@db/portal",
)


def bad(found: list[Finding] | Finding) -> list[str]:
    """Return the failed findings, after asserting that each says what to do."""
    listed = found if isinstance(found, list) else [found]
    wrong = [item for item in listed if item.state == "wrong"]
    assert all(item.todo for item in wrong) and all(item.name and item.text and "\n" not in item.line for item in listed)
    return [f"{item.name}: {item.text}" for item in wrong]


# --- settings
@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, ""),
        ({"mode": "test"}, "no real payments"),
        ({"base_url": "http://portal.acorn-notes.com"}, "plain http"),
        ({"base_url": "https://localhost"}, "is not a public host"),
        ({"base_url": "https://10.0.0.4"}, "is not a public host"),
        ({"base_url": "https://portal.example"}, "is not a public host"),
    ],
)
def test_the_base_url_is_checked_against_the_mode(changes: dict[str, Any], word: str) -> None:
    found = bad(configured.mode_and_url(replace(LIVE, **changes)))
    assert (word in found[0] if word else not found) and len(found) <= 1


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, ""),
        ({"secret_keys": (DEFAULT_SECRET,)}, "SECRET_KEY"),
        ({"secret_keys": (STRONG, DEFAULT_SECRET)}, "SECRET_KEY"),
        ({"secret_keys": ("a" * 40,)}, "SECRET_KEY"),
        ({"secret_keys": ("abababababababababababababababababab",)}, "SECRET_KEY"),
        ({"secret_keys": ("please-change-this-secret-to-something-9876",)}, "SECRET_KEY"),
        ({"operator_secret": "operator"}, "PORTAL_OPERATOR"),
        ({"operator_secret": ""}, ""),
        ({"secret_keys": ("8f14e45fceea167a5a36dedd4bea2543",)}, ""),
        ({"database_url": "postgresql+psycopg://portal_app:portal_app@db/portal"}, "DATABASE_URL"),
        ({"database_owner_url": "postgresql+psycopg://owner:short@db/portal"}, "DATABASE_OWNER_URL"),
        ({"database_url": "postgresql+psycopg://app@/portal"}, ""),  # by the socket, without a password
    ],
)
def test_weak_and_example_secrets_are_reported(changes: dict[str, Any], name: str) -> None:
    found = bad(configured.secrets(replace(LIVE, **changes)))
    assert found[0].startswith(name) if name else not found
    assert not any(secret in "".join(found) for secret in (STRONG, "portal_app:", "short@")), "no secret is repeated"


@pytest.mark.parametrize(
    ("count", "base_url", "is_right"),
    [
        (1, "https://portal.acorn-notes.com", True),
        (0, "https://portal.acorn-notes.com", False),
        (0, "http://127.0.0.1:5000", True),
        (1, "http://127.0.0.1:5000", False),
    ],
)
def test_trusted_proxies_are_checked_against_the_base_url(count: int, base_url: str, is_right: bool) -> None:
    assert (not bad(configured.proxies(replace(LIVE, base_url=base_url, trusted_proxies=TrustedProxies(count=count))))) is is_right


def test_a_readable_settings_file_is_reported(tmp_path: Path) -> None:
    assert configured.settings_file(tmp_path / ".env") == []
    (tmp_path / ".env").write_text("SECRET_KEY=x\n")
    (tmp_path / ".env").chmod(0o644)
    assert "other users" in bad(configured.settings_file(tmp_path / ".env"))[0]
    (tmp_path / ".env").chmod(0o600)
    assert not bad(configured.settings_file(tmp_path / ".env"))


# --- the domain of the mail
GOOD: Zone = {
    ("acorn-notes.com", "MX"): ["10 mail.acorn-notes.com."],
    ("acorn-notes.com", "TXT"): ['"v=spf1 mx -all"', '"other=1"'],
    ("_dmarc.acorn-notes.com", "TXT"): ['"v=DMARC1; p=quarantine"'],
}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, ""),
        ({("acorn-notes.com", "MX"): []}, "MX of acorn-notes.com: none"),
        ({("acorn-notes.com", "MX"): ["0 ."]}, "null MX"),
        ({("acorn-notes.com", "MX"): [], ("acorn-notes.com", "A"): ["192.0.2.1"]}, ""),
        ({("acorn-notes.com", "TXT"): ['"other=1"']}, "SPF of acorn-notes.com: none"),
        ({("acorn-notes.com", "TXT"): ['"v=spf1 mx -all"', '"v=spf1 a -all"']}, "2 records"),
        ({("acorn-notes.com", "TXT"): ['"v=spf1 +all"']}, "allows every server"),
        ({("acorn-notes.com", "TXT"): ['"v=spf1 mx"']}, "no rule for other senders"),
        ({("acorn-notes.com", "TXT"): ['"v=spf1 " "redirect=_spf.acorn-notes.com"']}, ""),
        ({("_dmarc.acorn-notes.com", "TXT"): []}, "DMARC of acorn-notes.com: none"),
        ({("_dmarc.acorn-notes.com", "TXT"): ['"v=DMARC1"']}, "no policy"),
        ({("_dmarc.acorn-notes.com", "TXT"): ['"v=DMARC1; p=none"', '"v=DMARC1; p=reject"']}, "ignore all"),
    ],
)
def test_spf_and_dmarc_of_the_sender_domain_are_checked(changes: Zone, word: str) -> None:
    zone = {key: records for key, records in (GOOD | changes).items() if records}
    with name_server(zone) as ask:
        found = mail_domain.mail_domain(LIVE, ask)
    assert word in bad(found)[0] if word else not bad(found)
    assert [item.state for item in found if item.name.startswith("DKIM")] == ["not checked"]


def test_dmarc_of_the_domain_above_counts() -> None:
    below: Zone = {("mail.acorn-notes.com", "MX"): ["1 x.acorn-notes.com."], ("mail.acorn-notes.com", "TXT"): ['"v=spf1 ~all"']}
    with name_server(GOOD | below) as ask:
        assert not bad(mail_domain.mail_domain(replace(LIVE, mail_default_sender="portal@mail.acorn-notes.com"), ask))


def test_dns_that_does_not_answer_is_not_checked() -> None:
    with name_server({}, fails=True) as ask:
        found = mail_domain.mail_domain(LIVE, ask)
    assert {item.state for item in found} == {"not checked"} and len(found) == 4
    assert {item.state for item in mail_domain.mail_domain(LIVE, None)} == {"not checked"}


@pytest.mark.parametrize("sender", ["portal@localhost", "portal@portal.example", "portal@acorn.test"])
def test_an_unusable_sender_is_reported(sender: str) -> None:
    found = mail_domain.mail_domain(replace(LIVE, mail_default_sender=sender), None)
    assert "is not a public domain" in bad(found)[0]


# --- the mail server
class _Server(Controller):
    """An aiosmtpd server with the login sam:secret."""

    def factory(self) -> SMTP:
        return SMTP(self.handler, **self.SMTP_kwargs)


@contextmanager
def server(context: ssl.SSLContext | None = None, starttls: bool = False, auth: bool = True) -> Iterator[int]:
    received: list[str] = []

    class Inbox:
        async def handle_MAIL(self, _server: Any, _session: Any, _envelope: Any, address: str, _options: Any) -> str:
            received.append(address)
            return "250 OK"

    def knows(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"sam", b"secret"), handled=False)

    kwargs: dict[str, Any] = {"tls_context": context, "require_starttls": True} if starttls else {}
    if auth:
        kwargs |= {"authenticator": knows, "auth_require_tls": starttls}
    item = _Server(Inbox(), hostname="127.0.0.1", port=_free_port(), ssl_context=None if starttls else context, **kwargs)
    item.start()
    try:
        yield item.port
    finally:
        item.stop()
    assert received == [], "nothing is sent"


def of(port: int, **changes: Any) -> list[Finding]:
    return smtp.mail_server(replace(LIVE, mail_server="127.0.0.1", mail_port=port, **changes))


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:  # noqa: F811
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


SAM = {"mail_username": "sam", "mail_password": "secret"}


@pytest.mark.parametrize("starttls", [True, False])
def test_smtp_log_in_over_tls_is_checked(trusted: ssl.SSLContext, starttls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    way = {"mail_use_tls": True} if starttls else {"mail_use_ssl": True}
    with server(trusted, starttls) as port:
        found = of(port, **way, **SAM)
        assert not bad(found) and "TLS, logged in" in found[0].text
        assert "refuses the log-in (535)" in bad(of(port, **way, **SAM | {"mail_password": "wrong"}))[0]
        monkeypatch.delenv("SSL_CERT_FILE")
        assert "certificate is not trusted" in bad(of(port, **way, **SAM))[0]


def test_the_wrong_kind_of_tls_is_named_with_its_port(trusted: ssl.SSLContext) -> None:
    with server(auth=False) as port:
        assert "STARTTLS" in bad(of(port, mail_use_tls=True))[0]
        found = of(port, mail_use_ssl=True)
        assert "TLS" in bad(found)[0] and "465" in found[0].todo
        assert "AUTH" in bad(of(port, **SAM))[0]
        assert not bad(of(port))


def test_an_unreachable_mail_server_is_reported() -> None:
    assert "cannot be reached" in bad(of(_free_port()))[0]
    assert smtp.mail_server(replace(LIVE, mail_server=""))[0].state == "not checked"


def test_no_password_is_sent_without_tls() -> None:
    assert "unencrypted" in bad(smtp.mail_server(replace(LIVE, mail_server="mail.acorn-notes.com", **SAM)))[0]


# --- database and machine, from their figures
@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, ""),
        ({"is_superuser": True}, "is a superuser"),
        ({"bypasses_rls": True}, "bypasses row-level security"),
        ({"makes_roles": True}, "may create roles"),
        ({"owns": ("customers",)}, "owns 1 tables"),
        ({"becomes_owner": True}, "member of the owner"),
        ({"makes_tables": True}, "may create tables"),
        ({"denied": ("invoices",)}, "may not read and write invoices"),
        ({"unguarded": ("customers",)}, "it is off for customers"),
    ],
)
def test_the_database_role_is_checked(changes: dict[str, Any], word: str) -> None:
    found = bad(stored.application_role(stored.Role("portal_app", **changes)))
    assert word in found[0] if word else not found


def test_clocks_worker_and_replica_are_checked() -> None:
    now = datetime(2026, 11, 29, tzinfo=UTC)
    assert not bad(stored.clocks(now, now + timedelta(seconds=4)))
    assert "30 seconds apart" in bad(stored.clocks(now, now + timedelta(seconds=30)))[0]
    assert not bad(stored.worker(now - timedelta(seconds=60), now)) and "none has ever run" in bad(stored.worker(None, now))[0]
    assert "none has run since 2026-11-28 23:50" in bad(stored.worker(now - timedelta(minutes=10), now))[0]
    assert not bad(stored.replica_state(True, 1.0)) and "not a standby" in bad(stored.replica_state(False, 0.0))[0]
    assert "30 seconds behind" in bad(stored.replica_state(True, 30.0))[0] and "does not answer" in bad(stored.replica_state(True, None))[0]


def test_disk_space_is_checked() -> None:
    assert not bad(machines.free_space("var", 100 * 10**9, 50 * 10**9))
    assert machines.disk(Path("/not/there/yet"))
    assert bad(machines.free_space("var", 100 * 10**9, 10**9)) and bad(machines.free_space("var", 1000 * 10**9, 40 * 10**9))


def test_encrypted_secrets_are_checked_with_every_key() -> None:
    rows = [("webhook of bus_1", "one", seal((STRONG,), "one", "text"))]
    assert (
        not bad(deployment_check.sealed(rows, (STRONG[::-1], STRONG)))
        and "1 of 1 cannot be decrypted: webhook of bus_1" in bad(deployment_check.sealed(rows, (STRONG[::-1],)))[0]
    )


def test_subscriptions_without_a_processor_are_reported() -> None:
    assert not bad(deployment_check.collecting(5, 0, 0, 0))
    assert "5 are billed here" in bad(deployment_check.collecting(5, 5, 0, 0))[0]
    assert "2 are not charged" in bad(deployment_check.collecting(5, 0, 2, 0))[0]
    assert "3 jobs" in bad(deployment_check.collecting(0, 0, 0, 3))[0]


def test_typesetting_of_documents_is_checked() -> None:
    assert not bad(deployment_check.documents())


def test_failed_typesetting_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from billing.documents import typst_process

    monkeypatch.setattr(typst_process, "_TYPESETTER", Path("/nowhere/typesetter.py"))
    assert "cannot be rendered" in bad(deployment_check.documents())[0]
