"""The sandbox's pages over HTTP: a person enters cards, answers the bank, and leaves the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from flask import Flask

from billing.charging.ports import ChargeRequest, CollectRequest, Trace
from core.application import register
from core.money import Money
from core.services import Services
from core.settings import Settings
from gateways.sandbox import SandboxGateway
from gateways.sandbox.cards import TEST_CARDS
from gateways.sandbox.pages import make_blueprint

BACK = "https://shop.example/back?payment_id=pay_1&x=a%20b"
CARD = {"name": "Ada Marlow", "number": "4242 4242 4242 4242", "expiry": "06/32", "cvc": "123", "country": "GB", "postal_code": "N1 9GU"}


@pytest.fixture
def gateway(tmp_path):
    heard = []
    made = SandboxGateway(tmp_path / "sandbox.db", "http://127.0.0.1:5000", "secret", lambda headers, body: heard.append(body))
    made.heard = heard
    return made


@pytest.fixture
def client(gateway):
    app = Flask("wsgi", root_path=str(Path(__file__).parents[2]))
    register(app, Services(Settings(), database=None, gateway=gateway))
    app.register_blueprint(make_blueprint(gateway))
    return app.test_client()


def opened(gateway, key="page-1", minor=5400, **more):
    amount = minor and Money(minor, "GBP")
    return gateway.collect(
        CollectRequest(key, "bus_acorn", "cus_ada", amount, "Acorn Team, <5> seats", BACK, prefill_name="Ada Marlow", **more)
    ).url.removeprefix("http://127.0.0.1:5000")


def send(client, url, where="", base="http://127.0.0.1:5000", **fields):
    form = BeautifulSoup(client.get(url, base_url=base).data, "html.parser").find("form", {"method": "post", "action": url + where})
    fields["csrf_token"] = form.find("input", {"name": "csrf_token"})["value"]
    return client.post(url + where, base_url=base, data=fields)


def look(client, url):
    answer = client.get(url, base_url="http://127.0.0.1:5000")
    assert answer.status_code == 200
    return BeautifulSoup(answer.data, "html.parser")


def test_the_card_form_has_autofill_fields(client, gateway):
    page = look(client, opened(gateway))
    tokens = {field.get("autocomplete") for field in page.select("input, select")}
    assert {"cc-name", "cc-number", "cc-exp", "cc-csc", "country", "postal-code"} <= tokens
    for field in page.select("main input:not([type=hidden]), main select"):
        assert page.find("label", {"for": field["id"]})
    assert len(page.select("h1")) == 1 and "£54.00" in page.h1.text and "Sandbox: no real money" in page.text
    assert page.find(id="name")["value"] == "Ada Marlow" and "Acorn Team, <5> seats" in page.text
    assert all(card.grouped in page.text for card in TEST_CARDS)
    assert not page.select("[style]")


def test_paying_returns_with_the_query_untouched(client, gateway):
    url = opened(gateway)
    answer = send(client, url, **CARD)
    assert answer.status_code == 303 and answer.location == BACK + "&status=succeeded"
    assert len(gateway.heard) == 1 and gateway.look_up(Trace("page-1")).method.country == "GB"
    done = look(client, url)
    assert "£54.00 was paid." in done.text and done.select_one("main a")["href"] == answer.location


def test_a_decline_gives_the_reason_and_keeps_no_number(client, gateway):
    url = opened(gateway)
    answer = send(client, url, **CARD | {"number": "4000000000009995"})
    page = BeautifulSoup(answer.data, "html.parser")
    assert answer.status_code == 422 and "insufficient funds" in page.find(role="alert").text
    assert not page.find(id="number").get("value") and not page.find(id="cvc").get("value")
    assert page.find(id="expiry")["value"] == "06/32" and page.find(id="postal_code")["value"] == "N1 9GU"
    assert page.select_one("option[selected]")["value"] == "GB"
    assert send(client, url, **CARD).status_code == 303


def test_invalid_fields_are_named_and_nothing_is_charged(client, gateway):
    url = opened(gateway)
    wrong = {"name": "4242 4242 4242 4242", "number": "4242424242424241", "expiry": "01/20", "cvc": "12", "country": "GB"}
    answer = send(client, url, **wrong)
    page = BeautifulSoup(answer.data, "html.parser")
    assert answer.status_code == 422 and len(page.select(".field.bad")) == 4
    assert all(page.find(id=link["href"][1:]) for link in page.select("#errors a"))
    values = [field.get("value", "") for field in page.select("main input")]
    assert not any("4242" in value for value in values)
    assert {line.verb for line in gateway.journal()[0]} == {"collect"}


@pytest.mark.parametrize("approve", [True, False])
def test_a_bank_confirmation_is_answered(client, gateway, approve):
    url = opened(gateway)
    asked = send(client, url, **CARD | {"number": "4000002500003155"})
    assert asked.status_code == 303 and "/sandbox/challenge/" in asked.location
    assert client.get(url, base_url="http://127.0.0.1:5000").location == asked.location
    assert gateway.look_up(Trace("page-1")).method is None
    answer = send(client, asked.location, answer="approve" if approve else "fail")
    if approve:
        assert answer.location == BACK + "&status=succeeded" and gateway.look_up(Trace("page-1")).challenged
    else:
        assert answer.location == url and "did not receive it" in look(client, url).text
        assert send(client, url, **CARD).location == BACK + "&status=succeeded"


def test_a_bank_confirmation_of_a_saved_card_is_answered(client, gateway):
    method = gateway.save_method("cus_ada", "4000002500003155", 6, 2032, "Ada Marlow").reference
    asked = gateway.charge(
        ChargeRequest("c", "bus_acorn", "cus_ada", method, Money(900, "JPY"), "Acorn", off_session=False, return_url=BACK)
    )
    answer = send(client, asked.redirect_url.removeprefix("http://127.0.0.1:5000"), answer="fail")
    assert answer.location == BACK + "&status=failed"


def test_leaving_the_page_returns_to_the_portal(client, gateway):
    url = opened(gateway, cancel_url="https://shop.example/shop#top")
    answer = send(client, url, "/cancel")
    assert answer.status_code == 303 and answer.location == "https://shop.example/shop?status=cancelled#top"
    assert gateway.look_up(Trace("page-1")).state == "cancelled" and "nothing was charged" in look(client, url).text
    assert send(client, opened(gateway, "page-2"), "/cancel").location == BACK + "&status=cancelled"


def test_leaving_after_a_decline_settles_as_declined(client, gateway):
    url = opened(gateway)
    send(client, url, **CARD | {"number": "4000000000009995"})
    assert gateway.look_up(Trace("page-1")).state == "requires_action"
    assert send(client, url, "/cancel").location == BACK + "&status=cancelled"
    left = gateway.look_up(Trace("page-1"))
    assert (left.state, left.error_code) == ("declined", "INSUFFICIENT_FUNDS")


def test_the_first_payment_succeeds_and_the_renewal_fails(client, gateway):
    assert send(client, opened(gateway), **CARD | {"number": "4000000000000341"}).location == BACK + "&status=succeeded"
    method = gateway.look_up(Trace("page-1")).method.reference
    renewal = ChargeRequest("renewal", "bus_acorn", "cus_ada", method, Money(5400, "GBP"), "Acorn Team")
    assert gateway.charge(renewal).error_code == "GENERIC_DECLINE"


def test_saving_a_card_charges_nothing(client, gateway):
    url = opened(gateway, minor=None)
    assert "Save card" in look(client, url).text
    send(client, url, **CARD)
    assert gateway.look_up(Trace("page-1")).method.last4 == "4242" and gateway.movements() == []


def test_sandbox_pages_need_their_token(client, gateway):
    url = opened(gateway)
    assert client.post(url, base_url="http://127.0.0.1:5000", data=CARD).status_code in (400, 403)
    answer = client.get(url, base_url="http://127.0.0.1:5000")
    assert answer.headers["Cache-Control"] == "no-store" and answer.headers["Referrer-Policy"] == "no-referrer"
    for path in ("/sandbox/pages/page_none", "/sandbox/challenge/sbx_none"):
        assert client.get(path, base_url="http://127.0.0.1:5000").status_code == 404


def test_the_sandbox_journal_holds_no_secrets(client, gateway):
    url = opened(gateway)
    send(client, url, **CARD | {"number": "4000000000009995"})
    send(client, url, **CARD)
    page = look(client, "/sandbox/")
    assert "INSUFFICIENT_FUNDS" in page.text and "Visa 4242" in page.text and "Page opened" in page.text
    assert url.rsplit("/", 1)[1] not in str(page) and "payment_id" not in str(page)
    for number in range(60):
        gateway.cancel(Trace(f"key-{number}"))
        gateway.collect(CollectRequest(f"other-{number}", "bus_acorn", "cus_ada", None, "", BACK))
    older = look(client, "/sandbox/").select_one("a[rel=next]")["href"]
    assert "Page opened" in look(client, older).text
