"""The pages and emails of refund requests, for the customer and for staff."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from billing.customers.refund_policy import change_refund_policy
from billing.model.refund_requests import CustomerRefundRequest
from core import clock
from core.scope import system
from tests.pages.console_setup import Site
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


@pytest.fixture
def site(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    urls, drop = sqlite.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("requests"))
    with item.services.database.open(system(item.acorn), write=True) as db:
        change_refund_policy(db, {"takes_requests": True})
    yield item
    item.services.database.dispose()
    drop()


def ask(site: Site, ada: Visitor, message: str = "It does <b>not</b> start.") -> CustomerRefundRequest:
    page = ada.get(f"/purchases/{site.ada_at_acorn.purchase_id}")
    assert "You can ask Acorn Notes for a refund." in page.text
    page = ada.get(page.soup.find("a", string="Request a refund")["href"])
    assert page.h1 == "Request a refund of Acorn for desktop" and "answers within 5 working days" in page.text
    page = ada.submit("/refund-request", reason="technical", message=message)
    assert "Your refund request was sent." in page.text and "Acorn Notes answers by" in page.text
    return site.rows(CustomerRefundRequest)[-1]


def test_from_the_request_to_the_refund(site: Site) -> None:
    ada, sam = site.customer(site.ADA), site.sam
    row = ask(site, ada)
    assert "It does <b>not</b> start." in ada.page.text and "View refund request" in ada.get(f"/purchases/{row.payment_id}").text
    subjects = [item.subject for item in ada.emails(site.ADA)]
    assert "[test] Acorn Notes received your refund request" in subjects
    [told] = [item for item in ada.received(site.SAM) if "requests a refund" in item.subject]
    assert "Ada Marlow requests a refund of €58.80." in told.text and f"/sales/refund-requests/{row.id}" in told.text
    page = sam.get(site.at("/sales/refund-requests"))
    assert "Waiting for an answer" in page.text and "Acorn for desktop" in page.text
    page = sam.get(site.at(f"/sales/refund-requests/{row.id}"))
    assert "It doesn’t work for me" in page.text and "Refund up to €58.80" in page.text
    page = site.save(f"/sales/refund-requests/{row.id}/messages", message="Which version?")
    assert "Your message is sent by email." in page.text
    [email] = [item for item in ada.emails(site.ADA) if "wrote about your refund request" in item.subject]
    assert "Which version?" in email.text and f"/refund-requests/{row.id}" in email.text
    ada.get(f"/refund-requests/{row.id}")
    assert "Your message was sent." in ada.submit("/messages", message="Version 2.").text
    sam.get(site.at(f"/sales/refund-requests/{row.id}"))
    sam.get(sam.page.soup.find("a", string="Refund up to €58.80")["href"])
    sam.submit("/refund", how="all")
    sam.submit("/refund")
    site.services.worker.drain()
    assert "refunded this payment on" in ada.get(f"/refund-requests/{row.id}").text
    page = sam.get(site.at("/activity"))
    assert "A refund request was closed: €58.80 was refunded." in page.text


def test_declined_with_words(site: Site) -> None:
    ada = site.customer(site.ADA)
    row = ask(site, ada)
    site.sam.get(site.at(f"/sales/refund-requests/{row.id}"))
    assert "Write a message." in site.save(f"/sales/refund-requests/{row.id}/refusal", expect=422, answer=" ").text
    site.save(f"/sales/refund-requests/{row.id}/refusal", answer="You used it for a month.")
    [email] = [item for item in ada.emails(site.ADA) if "declined your refund request" in item.subject]
    assert "You used it for a month." in email.text
    page = ada.get(f"/refund-requests/{row.id}")
    assert "Acorn Notes declined on" in page.text and "You used it for a month." in page.text
    assert not page.soup.find("form", action=lambda url: url and url.endswith("/messages"))


def test_an_overdue_request_is_shown_and_owners_are_reminded_once(site: Site) -> None:
    ada = site.customer(site.ADA)
    row = ask(site, ada)
    clock.turn(row.answer_by - clock.wall() + timedelta(hours=1))
    site.services.worker.drain()
    site.services.worker.drain()
    assert len([item for item in ada.received(site.SAM) if "is overdue" in item.subject]) == 1
    assert "should have answered by" in ada.get(f"/refund-requests/{row.id}").text
    assert "Overdue" in site.sam.get(site.at("/sales/refund-requests?state=overdue")).soup.find("tbody").get_text()


def test_the_customer_takes_it_back(site: Site) -> None:
    ada = site.customer(site.ADA)
    row = ask(site, ada)
    page = ada.submit("/withdrawal")
    assert "You withdrew the refund request." in page.text and site.rows(CustomerRefundRequest)[0].status == "withdrawn"
    ada.post(f"/refund-requests/{row.id}/withdrawal")
    assert "already been decided" in ada.page.text


def test_strangers_get_404(site: Site) -> None:
    ada, ben = site.customer(site.ADA), site.customer(site.BEN)
    row = ask(site, ada)
    for url in (f"/refund-requests/{row.id}", f"/payments/{row.payment_id}/refund-request"):
        ben.get(url, expect=404)
        ada.get(f"/business/{site.birch}{url}", expect=404)
    for url in (
        f"/refund-requests/{row.id}/messages",
        f"/refund-requests/{row.id}/withdrawal",
        f"/payments/{row.payment_id}/refund-request",
    ):
        ben.post(url, {"message": "Mine"}, expect=404)
    site.sam.get(site.at("/sales/refund-requests/rrq_other"), expect=404)
    assert site.rows(CustomerRefundRequest)[0].status == "open"


def test_roles(site: Site) -> None:
    row = ask(site, site.customer(site.ADA))
    reader = site.staff("rae@acorn.example", "read_only")
    page = reader.get(site.at(f"/sales/refund-requests/{row.id}"))
    assert "Decline request" not in page.text
    for act in ("messages", "refusal"):
        reader.post(site.at(f"/sales/refund-requests/{row.id}/{act}"), {"answer": "No", "message": "No"}, expect=403)
