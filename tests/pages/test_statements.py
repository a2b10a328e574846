"""Statements received, as staff see and decide them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from billing.model.statements import Statement
from billing.model.subscriptions import Subscription
from tests.pages.console_setup import Site
from tests.visitor import Visitor

ANN = {"name": "Ann Other", "email": "ann@other.example", "type": "ordinary", "when": "earliest"}


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    urls, drop = request.getfixturevalue("sqlite").fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("statements"))
    yield item
    item.services.database.dispose()
    drop()


def declared(site: Site, contract: str, **more: str) -> Statement:
    """Declare a cancellation at Acorn that proves nothing. Returns its row."""
    someone = Visitor(site.app)
    someone.get(f"/cancel/{site.acorn}")
    someone.submit("/cancel", **{**ANN, "contract": contract, **more})
    site.services.worker.drain()
    return site.row(Statement, Statement.contract == contract)


def test_staff_find_the_contract_and_cancel_it(site: Site) -> None:
    sam = site.sam
    assert "No statements received" in sam.get(site.at("/sales/statements")).text
    row = declared(site, "The notes plan")
    [email] = [item for item in sam.received(site.SAM) if "needs your decision" in item.subject]
    assert f"/sales/statements/{row.id}" in email.text
    assert "Ann Other" in sam.get(site.at("/sales/statements?state=waiting")).text
    assert "Nothing matches" in sam.get(site.at("/sales/statements?q=ben@hill.example")).text
    assert "Ann Other" in sam.get(site.at(f"/sales/statements?q={row.number.lower()}")).text
    page = sam.get(site.at(f"/sales/statements/{row.id}"))
    assert "no active subscription" in page.text
    page = sam.get(site.at(f"/sales/statements/{row.id}?find={site.ada_at_acorn.subscription_id}"))
    assert "Acorn Team" in page.text
    other = sam.get(site.at(f"/sales/statements/{row.id}?find={site.ben.subscription_id}"))
    assert "no active subscription" in other.text, "another business's subscription is not found"
    sam.get(site.at(f"/sales/statements/{row.id}?find={site.ada_at_acorn.subscription_id}"))
    asked = site.save(f"/sales/statements/{row.id}/cancellation", subscription=site.ada_at_acorn.subscription_id)
    assert asked.h1 == "Cancel Acorn Team of Ada Marlow?"
    assert not site.row(Subscription, Subscription.id == site.ada_at_acorn.subscription_id).cancel_at_period_end
    sam.submit(f"/sales/statements/{row.id}/cancellation")
    assert site.row(Subscription, Subscription.id == site.ada_at_acorn.subscription_id).cancel_at_period_end
    assert site.row(Statement, Statement.id == row.id).status == "effective"
    [receipt] = [item for item in sam.emails(site.ADA) if row.number in item.subject]
    assert "You won’t be charged again" in receipt.text
    assert not [item for item in sam.received("ann@other.example") if item.attachments], "only the address on file gets details"


def test_staff_answer_what_is_no_contract(site: Site) -> None:
    row = declared(site, "Something else")
    site.sam.get(site.at(f"/sales/statements/{row.id}"))
    refused = site.save(f"/sales/statements/{row.id}/answer", expect=422, answer=" ")
    assert "Write what the customer should know" in refused.text
    site.save(f"/sales/statements/{row.id}/answer", answer="We have no contract with you. Is it with Birch?")
    [answer] = [item for item in site.sam.emails("ann@other.example") if "Answer to your statement" in item.subject]
    assert "Is it with Birch?" in answer.text
    page = site.sam.get(site.at(f"/sales/statements/{row.id}"))
    assert "Your answer" in page.text
    assert "Send answer" not in page.text
    again = site.sam.post(site.at(f"/sales/statements/{row.id}/answer"), {"answer": "Once more"})
    assert "already been decided" in again.text


def test_other_people_cannot_decide(site: Site) -> None:
    row = declared(site, "A third one")
    reader = site.staff("look@acorn.example", "read_only")
    assert "Send answer" not in reader.get(site.at(f"/sales/statements/{row.id}")).text
    reader.post(site.at(f"/sales/statements/{row.id}/answer"), {"answer": "No"}, expect=403)
    site.customer(site.BEN).get(site.at(f"/sales/statements/{row.id}"), expect=404)
    assert site.row(Statement, Statement.id == row.id).status == "waiting"


def test_every_page_links_to_the_form(site: Site) -> None:
    def links(who: Visitor, path: str) -> set[Any]:
        return {item["href"] for item in who.get(path).soup.find("footer").find_all("a")}

    ada = site.customer(site.ADA)
    assert "/cancel" in links(ada, "/")
    assert "/cancel" in links(Visitor(site.app), "/login")
    assert f"/cancel/{site.acorn}" in links(Visitor(site.app), f"/login/{site.acorn}")
    assert f"/cancel/{site.acorn}" in links(ada, f"/business/{site.acorn}/")
    known = ada.get("/cancel").soup
    assert known.find("input", {"name": "email"})["value"] == site.ADA, "somebody signed in need not type it again"
