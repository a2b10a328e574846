"""Statements of withdrawal, as staff see them: find the contract, carry it out with the refund shown, note a refund that is made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from billing.catalogue.products import create_product
from billing.charging.refunds import request_refund
from billing.model.payments import Payment, Refund
from billing.model.statements import Statement
from billing.model.withdrawals import Withdrawal
from billing.subscriptions.subscribe import buy
from core.scope import system
from tests.pages.console_setup import Site
from tests.visitor import Visitor


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    urls, drop = request.getfixturevalue("sqlite").fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("withdrawals"))
    yield item
    item.services.database.dispose()
    drop()


def declared(site: Site, contract: str, **more: str) -> Statement:
    someone = Visitor(site.app)
    someone.get(f"/withdraw/{site.acorn}")
    someone.submit("/withdraw", **{"name": "Ann Other", "email": "ann@other.example", "contract": contract, **more})
    site.services.worker.drain()
    return site.row(Statement, Statement.contract == contract)


def test_staff_carry_out_what_they_find(site: Site) -> None:
    sam, row = site.sam, declared(site, "The desktop app")
    [email] = [item for item in sam.received(site.SAM) if "a withdrawal needs you" in item.subject]
    assert f"/sales/statements/{row.id}" in email.text
    assert "Withdrawal" in sam.get(site.at("/sales/statements?state=waiting")).text
    page = sam.get(site.at(f"/sales/statements/{row.id}"))
    assert "This email address has no contract." in page.text
    assert "no contract" in sam.get(site.at(f"/sales/statements/{row.id}?find={site.ben.purchase_id}")).text, "of another business"
    page = sam.get(site.at(f"/sales/statements/{row.id}?find={site.ada_at_acorn.purchase_id}"))
    assert "Acorn for desktop" in page.text
    sam.submit("/withdrawal", contract=site.ada_at_acorn.purchase_id)
    assert "and refund €" in sam.page.text.replace("\u00a0", "")  # type: ignore[union-attr]
    assert not site.rows(Refund)
    done = sam.submit("/withdrawal")
    assert "The withdrawal is carried out." in done.text
    [refund] = site.rows(Refund)
    assert (refund.payment_id, refund.status) == (site.ada_at_acorn.purchase_id, "succeeded")
    statement = site.row(Statement)
    assert (statement.status, statement.matched_by) == ("effective", "staff")
    assert [item for item in sam.emails("ada@marlow.example") if "Receipt of your withdrawal" in item.subject]


def test_staff_answer_instead(site: Site) -> None:
    row = declared(site, "Something else")
    site.sam.get(site.at(f"/sales/statements/{row.id}"))
    site.sam.submit("/answer", answer="We know no contract of yours.")
    assert site.row(Statement).status == "dismissed"


def test_a_refund_that_was_left_to_staff_is_noted(site: Site) -> None:
    ada = site.customer(site.ADA)
    with site.services.database.open(system(site.acorn), write=True) as db:
        paid = db.scalars(select(Payment).where(Payment.id == site.ada_at_acorn.purchase_id)).one()
        request_refund(db, paid, 100, "part", site.services.settings)
    ada.get(f"/purchases/{site.ada_at_acorn.purchase_id}/withdrawal")
    assert "can’t be refunded automatically" in ada.page.text  # type: ignore[union-attr]
    ada.submit("/withdrawal")
    row = site.row(Statement)
    assert row.status == "waiting"
    page = site.sam.get(site.at(f"/sales/statements/{row.id}"))
    assert "is left for you to refund" in page.text
    site.sam.submit("/settlement")
    assert site.row(Statement).status == "effective"
    assert "is left for you to refund" not in site.sam.get(site.at(f"/sales/statements/{row.id}")).text


def test_one_item_of_a_cart_is_chosen_on_the_page_and_at_the_business_door(site: Site) -> None:
    with site.services.database.open(system(site.acorn), write=True) as db:
        font = create_product(db, site.acorn, name="Font", price={"type": "one_time_price", "currency": "EUR", "price": 900}).id
    bought: Any = buy(
        site.services.processor, system(site.acorn), customer_id=site.ada_at_acorn.customer_id,
        cart=[(site.products["acorn.once"], 1), (font, 1)], payment_method_id=site.ada_at_acorn.method_id,
    )  # fmt: skip
    ada, url = Visitor(site.app), f"/business/{site.acorn}/purchases/{bought.payment_id}"
    ada.sign_in(site.ADA, f"/login/{site.acorn}")
    page = ada.get(f"{url}/withdrawal")
    lines = {
        box.find_parent("label").get_text(" ", strip=True): box["value"] for box in page.soup.select("input[type=checkbox][name=line]")
    }
    [line] = [value for name, value in lines.items() if name.startswith("Font")]
    page = ada.get(f"{url}/withdrawal?line={line}")
    assert [box["value"] for box in page.soup.select("input[type=hidden][name=line]")] == [line]
    shown = int(page.soup.find("input", {"name": "shown"})["value"])
    page = ada.post(f"{url}/withdrawal", data={"line": [line], "shown": str(shown), "csrf_token": ada.token()})
    assert "You withdrew from Font" in page.text
    [refund] = site.rows(Refund)
    assert refund.amount_minor == shown
    [row] = site.rows(Withdrawal)
    assert row.line_ids == [line]
    page = ada.get(f"{url}/withdrawal")
    assert line not in [box["value"] for box in page.soup.select("input[name=line]")]
    assert int(page.soup.find("input", {"name": "shown"})["value"]) > 0
