"""Confusable addresses sign in as different people, emails go to the address on file, and undeliverable addresses are refused."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import select

from auth.models import Challenge, IdentityEmail, RateLimitCount
from billing.customers.customers import create_customer, update_customer
from billing.model.parties import Business
from core import clock
from core.errors import Invalid
from core.mail import Mailer
from core.outgoing import Outgoing, RequestRefused
from core.scope import everything, system
from tenants.imports.shapes import record
from tenants.memberships import invite
from tests.conftest import on_sqlite

CANNOT = "Our mail server cannot send to this address"


def customer(services: Any, business_id: str, email: str, name: str = "Somebody") -> str:
    with services.database.open(system(business_id), write=True) as db:
        return create_customer(db, business_id, email=email, name=name).customer_id


def ask(item: Any, email: str, expect: int = 200) -> Any:
    item.get("/login?again=1")
    return item.submit("login", email=email, expect=expect)


@pytest.fixture
def later(services: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Advance the wall clock by seconds. It also moves by a microsecond at each read."""
    now = [clock.wall()]

    def wall() -> datetime:
        now[0] += timedelta(microseconds=1)
        return now[0]

    def pass_time(seconds: int) -> None:
        now[0] += timedelta(seconds=seconds)

    monkeypatch.setattr(clock, "wall", wall)

    return pass_time


@pytest.fixture
def smtp(services: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], list[str]]]:
    """Send emails through a real server, with or without SMTPUTF8. Returns the mailboxes that received them."""
    running: list[Controller] = []

    class Kept:
        def __init__(self) -> None:
            self.to: list[str] = []

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            self.to += envelope.rcpt_tos
            return "250 taken"

    def start(smtputf8: bool) -> list[str]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        kept = Kept()
        running.append(Controller(kept, hostname="127.0.0.1", port=port, enable_SMTPUTF8=smtputf8))
        running[-1].start()
        settings = replace(services.settings, mail_server="127.0.0.1", mail_port=port)
        monkeypatch.setattr(services, "mailer", Mailer(settings, services.database))
        return kept.to

    yield start
    for item in running:
        item.stop()


@pytest.mark.parametrize(
    ("victim", "attacker"),
    [
        ("gross@marlow.example", "groß@marlow.example"),
        ("sam@marlow.example", "ſam@marlow.example"),
        ("office@marlow.example", "oﬃce@marlow.example"),
        ("anna@fass.example", "anna@faß.example"),
        ("anna@faß.example", "anna@fass.example"),
    ],
)
@on_sqlite
def test_signing_in_as_a_confusable_address_opens_nothing_of_the_other(
    cast: Any, visitor: Any, services: Any, victim: str, attacker: str
) -> None:
    theirs = customer(services, cast.acorn, victim, "Victim")
    mallory = visitor()
    ask(mallory, attacker)
    texts = [email.text for email in mallory.emails() if email.to == attacker]
    assert len(texts) == 1 and "/login/link/" not in texts[0] and "No purchases" in texts[0]
    assert not [email for email in mallory.emails() if email.to == victim]
    own = customer(services, cast.acorn, attacker, "Attacker")
    other = visitor()
    with services.database.open(everything("a test lets time pass"), write=True) as db:
        for row in db.scalars(select(RateLimitCount)):
            row.window_start -= timedelta(days=8)
    ask(other, attacker)
    other.open_link(next(email.text for email in reversed(other.emails()) if email.to == attacker))
    page = other.get("/").body.decode()
    assert own in page and theirs not in page


@on_sqlite
def test_the_email_goes_to_the_address_on_file_however_it_was_typed(cast: Any, visitor: Any, services: Any, smtp: Any) -> None:
    wrote = smtp(False)
    customer(services, cast.acorn, "Rosa.Lind@FASS.example")
    item = visitor()
    ask(item, "ROSA.LIND@fass.example")
    text = item.emails("Rosa.Lind@fass.example")[-1].text
    assert wrote == ["Rosa.Lind@fass.example"]
    item.open_link(text)
    with services.database.open(everything("a test looks")) as db:
        assert db.scalars(select(IdentityEmail.email).where(IdentityEmail.email_key == "rosa.lind@fass.example")).one() == wrote[0]
    item.get("/profile/addresses")
    customer(services, cast.birch, "Old.Rosa@fass.example")
    item.submit("/profile/addresses", email="OLD.rosa@fass.example")
    services.worker.drain()
    assert wrote[-1] == "Old.Rosa@fass.example"


@on_sqlite
def test_an_address_that_cannot_be_written_to_is_refused_when_typed(cast: Any, visitor: Any, services: Any, smtp: Any, app: Any) -> None:
    jose = "josé@marlow.example"
    wrote = smtp(False)
    item = visitor()
    assert CANNOT in ask(item, jose, expect=422).text
    item.sign_in(cast.ADA)
    wrote.clear()
    item.get("/profile/addresses")
    assert CANNOT in item.submit("/profile/addresses", email=jose, expect=422).text
    item.get("/profile/email")
    assert CANNOT in item.submit("/profile/email", email=jose, expect=422).text

    def invited() -> None:
        with services.database.open(system(cast.acorn), write=True) as db:
            invite(db, cast.acorn, jose, "support")

    loaded = {"customer_id": "cus_jose", "email": jose, "name": "José", "created_at": "2026-01-01T00:00:00Z"}
    for typed in (lambda: customer(services, cast.acorn, jose), invited, lambda: record("customer", loaded)):
        with app.app_context(), pytest.raises(Invalid) as refused:
            typed()
        assert refused.value.fields["email"].startswith(CANNOT)
    services.worker.drain()
    assert wrote == []
    wrote = smtp(True)
    with app.app_context():
        customer(services, cast.acorn, jose)
        record("customer", loaded)
    two = visitor()
    ask(two, "jose\u0301@marlow.example")  # the same, in another normalization form
    two.open_link(two.emails()[-1].text)
    assert wrote == [jose] and "Acorn" in two.get("/").text


# --- the interval between two emails


@on_sqlite
def test_a_request_within_the_interval_is_sent_when_it_ends(cast: Any, visitor: Any, services: Any, later: Any) -> None:
    first, second = visitor(), visitor()
    ask(first, cast.BEN)
    assert len(first.emails(cast.BEN)) == 1
    later(10)
    page = ask(second, cast.BEN)
    assert page.h1 == "Check your email" and "in about 20 seconds" in page.text and "We emailed" not in page.text
    assert len(second.emails(cast.BEN)) == 1
    ask(second, cast.BEN)  # requested again while it waits: no second email
    later(19)
    assert len(second.emails(cast.BEN)) == 1
    later(2)
    emails = second.emails(cast.BEN)
    assert len(emails) == 2
    page = second.get("/login/sent")
    assert "We emailed" in page.text and "Another email can be sent in 30 seconds" in page.text
    later(570)
    second.open_link(emails[-1].text)  # ten minutes from when it was sent
    assert "Birch" in second.get("/").text
    first.get("/login/link/" + emails[0].text.split("/login/link/")[1].split()[0], expect=410)


@on_sqlite
def test_a_sign_in_email_after_a_link_that_was_sent_again_is_sent(cast: Any, visitor: Any, services: Any, app: Any, later: Any) -> None:
    from auth import portal_links
    from core.scope import Actor

    with app.app_context(), services.database.open(system(cast.birch), write=True) as db:
        _, url = portal_links.create_dynamic_link(db, cast.birch, cast.ben.customer_id, actor=Actor("api_key", "key_1"))
    item = visitor()
    path = url[url.index("/session/") :]
    item.get(path)
    item.submit("/session/")
    other = visitor()
    other.get(path, expect=410)
    assert "We sent a new link" in other.submit("/resend").text
    sent = len(other.emails(cast.BEN))
    page = ask(other, cast.BEN)
    assert "in about 30 seconds" in page.text and len(other.emails(cast.BEN)) == sent
    later(31)
    emails = other.emails(cast.BEN)
    assert len(emails) == sent + 1 and "/login/link/" in emails[-1].text
    later(31)
    ask(visitor(), cast.BEN)
    other.get(path, expect=410)
    assert other.page.h1 == "We sent you a newer email", "the link that was sent again still works"


@on_sqlite
def test_known_and_unknown_addresses_wait_alike(cast: Any, visitor: Any, services: Any, later: Any) -> None:
    texts = []
    for address in (cast.BEN, "nobody@void.example"):
        ask(visitor(), address)
        page = ask(visitor(), address)
        texts.append(re.sub(r'(value|nonce)="[^"]*"', "", page.body.decode()).replace(address, "ADDRESS"))
    assert texts[0] == texts[1] and "in about 30 seconds" in texts[0]


@on_sqlite
def test_an_older_link_answers_that_a_newer_email_was_sent(cast: Any, visitor: Any, services: Any, later: Any) -> None:
    item = visitor()
    ask(item, cast.BEN)
    old = "/login/link/" + item.emails(cast.BEN)[-1].text.split("/login/link/")[1].split()[0]
    later(10)
    item.get("/login/sent")
    item.submit("/login/sent")
    item.get(old)  # the newer email is not sent yet: this link works
    later(25)
    new = item.emails(cast.BEN)[-1].text
    page = item.get(old, expect=410)
    assert page.h1 == "We sent you a newer email" and "in about" not in page.text
    item.open_link(new)
    assert "You are signed in" in item.get(old, expect=410).text
    assert visitor().get(old, expect=410).h1 == "This link has expired"


@on_sqlite
def test_over_the_hourly_budget_the_page_is_the_same_and_nothing_is_sent(cast: Any, visitor: Any, services: Any, later: Any) -> None:
    for _ in range(7):
        page = ask(visitor(), "nobody@void.example")
        later(60)
        assert page.h1 == "Check your email" and "We emailed" in page.text
    with services.database.open(everything("a test counts")) as db:
        assert len(db.scalars(select(Challenge.id)).all()) == 5


# --- browsers without cookies


@on_sqlite
def test_a_cookieless_browser_sees_that_cookies_are_blocked(cast: Any, app: Any, visitor: Any) -> None:
    token = visitor().token()
    client = app.test_client(use_cookies=False)
    for path, data in (("/login", {"email": cast.BEN}), ("/login/code", {"code": "ABCD2345"}), ("/login/sent", {})):
        page = client.post(path, data={**data, "csrf_token": token})
        assert page.status_code == 400 and "Cookies are blocked" in page.text and "Allow cookies" in page.text
        assert "open for too long" not in page.text
    item = visitor()
    ask(item, cast.BEN)
    item.client.delete_cookie("browser-test")
    page = item.submit("/login/code", code="ABCD2345", expect=422)
    assert "did not send our cookie back" in page.text


@on_sqlite
def test_an_expired_form_asks_to_reload(cast: Any, visitor: Any) -> None:
    item = visitor()
    ask(item, cast.BEN)
    item.client.delete_cookie("portal-test")
    page = item.submit("/login/code", code="ABCD2345", expect=400)
    assert "open for too long" in page.text and "Cookies are blocked" not in page.text


# --- the email that adds an address


@on_sqlite
def test_the_email_that_adds_an_address_mentions_no_code(cast: Any, visitor: Any, services: Any) -> None:
    ada = visitor()
    ada.sign_in(cast.ADA)
    for path, address in (("/profile/addresses", "ada@old.example"), ("/profile/email", "ada@new.example")):
        ada.get(path)
        ada.submit(path, email=address)
        found = ada.emails(address)[-1]
        for text in (found.text, re.sub(r"<style.*?</style>", "", found.html, flags=re.DOTALL)):
            assert "/login/link/" in text and "code" not in re.sub(r"https?://\S+", "", text).lower() and "Both" not in text


# --- hosts


@on_sqlite
def test_redirects_keep_the_requested_host(cast: Any, visitor: Any, services: Any, app: Any) -> None:
    from auth import portal_links
    from core.security import safe_next
    from tenants.return_urls import clean_return_url

    with app.app_context(), services.database.open(system(cast.birch), write=True) as db:
        business = db.scalars(select(Business)).one()
        assert clean_return_url(services.settings, business, "https://faß.de/back") == "https://faß.de/back"
        with pytest.raises(Invalid):
            clean_return_url(services.settings, business, "https://☕.de/back")
        portal_links.create_dynamic_link(db, cast.birch, cast.ben.customer_id)
    assert safe_next("https://faß.de/x", ["https://xn--fa-hia.de"]) == "https://faß.de/x"
    assert safe_next("https://faß.de/x", ["https://fass.de"]) == "/"
    from flask import redirect

    with app.test_request_context("/login"):
        answer = app.process_response(redirect("https://faß.de/back?a=ß", 303))
        assert answer.get_wsgi_headers({"wsgi.url_scheme": "http"} | _environ())["Location"].startswith("https://xn--fa-hia.de/back")


def _environ() -> dict[str, str]:
    return {
        "REQUEST_METHOD": "GET",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "HTTP_HOST": "localhost",
        "PATH_INFO": "/login",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
    }


@on_sqlite
def test_outgoing_requests_and_custom_domains_name_the_host_in_ascii(settings: Any) -> None:
    from auth.domains.verification import clean_host

    asked: list[str] = []

    def resolve(name: str, port: int, seconds: float) -> list[str]:
        asked.append(name)
        raise OSError("nobody there")

    outgoing = Outgoing(replace(settings, mode="live"), resolve=resolve)
    for url in ("https://faß.de/hook", "https://ｆaß.de/hook", "https://xn--fa-hia.de/hook"):
        assert outgoing.check(url).raw_host == b"xn--fa-hia.de"
        with pytest.raises(Exception, match="nobody there"):
            outgoing.request("POST", url)
    assert asked == ["xn--fa-hia.de"] * 3
    with pytest.raises(RequestRefused):
        outgoing.check("https://☕.de/hook")
    assert clean_host(settings, "https://Rechnung.faß.de/") == "rechnung.xn--fa-hia.de" and clean_host(settings, "fass.de") == "fass.de"
    with pytest.raises(Invalid):
        clean_host(settings, "a\u200db.de")


@on_sqlite
def test_a_business_that_changes_only_the_case_changes_the_mailbox_on_file(cast: Any, services: Any) -> None:
    """`groß@` instead of `gross@` is another person, who has not accepted anything."""
    customer_id = customer(services, cast.acorn, "gross@marlow.example")
    with services.database.open(system(cast.acorn), write=True) as db:
        from billing.customers.queries import get_customer as load_customer

        row = load_customer(db, customer_id)
        update_customer(db, row, email="Gross@marlow.example")
        assert row.email_key == "gross@marlow.example" and row.address_since is None
        update_customer(db, row, email="groß@marlow.example")
        assert row.email_key == "groß@marlow.example" and row.address_since is not None
