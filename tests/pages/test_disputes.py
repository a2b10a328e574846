"""Disputes and refunds that failed later, as staff and customers see them: pages, emails and documents."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pikepdf
import pytest
from sqlalchemy import select

from billing.charging.refund import refund
from billing.model.disputes import Dispute
from billing.model.licenses import LicenseKey
from billing.model.payments import Payment, Refund
from core import clock
from core.scope import system
from gateways.sandbox import returns
from tests.pages.console_setup import Site


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    engine: Any = request.getfixturevalue("sqlite")
    urls, drop = engine.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("disputes"))
    item.ada = item.customer("ada@marlow.example")
    yield item
    item.services.database.dispose()
    drop()


def told(site: Site) -> None:
    site.services.gateway.deliver_due()
    site.services.worker.drain()


def paid(site: Site, payment_id: str) -> Payment:
    return site.row(Payment, Payment.id == payment_id)  # type: ignore[no-any-return]


def test_a_dispute_from_the_bank_to_the_decision(site: Site) -> None:
    """Opened and decided on the sandbox's page; staff find it in lists, on the payment and by email; Ada reads it at her purchase."""
    sam, ada = site.sam, site.ada
    payment = paid(site, site.ada_at_acorn.purchase_id)
    assert "No disputes" in sam.get(site.at("/sales/disputes")).text
    page = f"/sandbox/payments/{payment.gateway_reference}"
    sam.get(page)
    for wrong in ("twelve", "0", "99999"):
        assert "left of this payment" in sam.post(page, {"act": "dispute", "amount": wrong, "reason": "general"}, expect=422).text
    sam.get(page)
    sam.post(page, {"act": "dispute", "amount": "10.00", "reason": "product_not_received"})
    sam.post(page, {"act": "dispute_won", "about": "sbx_other"}, expect=404)
    told(site)
    found = site.row(Dispute, Dispute.payment_id == payment.id)
    listed = sam.get(site.at("/sales/disputes?state=dispute_opened"))
    assert "did not receive" in listed.text and "€10.00" in listed.text
    assert "Nothing matches" in sam.get(site.at("/sales/disputes?q=ben@hill.example")).text
    shown = sam.get(site.at(f"/sales/disputes/{found.id}"))
    assert shown.h1 == "Dispute of €10.00" and "Answer by" in shown.text
    assert shown.soup.find("a", string="Answer at the payment provider")["href"] == f"http://localhost{page}"
    assert f"/sales/disputes/{found.id}" in str(sam.get(site.at(f"/sales/payments/{payment.id}")).soup)
    theirs = sam.get(site.at(f"/sales/customers/{payment.customer_id}"))
    assert theirs.soup.find("a", href=site.at(f"/sales/disputes/{found.id}")) and "did not receive" in theirs.text
    looker = site.staff("look@acorn.example", "read_only")
    looker.get(site.at(f"/sales/disputes/{found.id}"))
    ben = site.customer("ben@hill.example")
    ben.get(site.at(f"/sales/disputes/{found.id}"), expect=404)
    [opened] = [item for item in sam.emails(site.SAM) if "is disputed" in item.subject]
    assert "Answer at the payment provider by" in opened.text and f"/sales/disputes/{found.id}" in opened.text
    mine = ada.get(f"/purchases/{payment.id}")
    assert "You disputed €10.00 of this payment with your bank" in mine.text and "Disputed" in mine.text
    assert "You disputed €10.00" in ada.get(f"/invoices/{payment.invoice_id}").text
    assert "Disputed" in ada.get("/purchases").text
    sam.get(page)
    sam.post(page, {"act": "dispute_lost", "about": found.reference})
    told(site)
    assert "The customer keeps the money" in sam.get(site.at(f"/sales/disputes/{found.id}")).text
    assert [item for item in sam.emails(site.SAM) if "is lost" in item.subject]
    assert "Your bank returned €10.00 to you" in ada.get(f"/purchases/{payment.id}").text
    assert "was disputed with the bank" in ada.get("/activity").text
    assert "the payment provider" in sam.get(site.at("/activity")).text


def test_an_inquiry_is_no_dispute_for_the_customer(site: Site) -> None:
    """The bank only asks, and no money has moved. A key whose payment went back does not say that it was refunded."""
    with site.services.database.open(system(site.acorn), write=True) as db:
        row = db.scalar(select(Dispute))
        before, row.status, row.stage = (row.status, row.stage), "dispute_opened", "pre_dispute"
    shown = site.ada.get(f"/purchases/{row.payment_id}").text
    assert "You asked your bank about this payment" in shown and "Your bank is deciding" not in shown
    with site.services.database.open(system(site.acorn), write=True) as db:
        row = db.scalar(select(Dispute))
        row.status, row.stage = before
        key = db.scalar(select(LicenseKey).where(LicenseKey.payment_id == row.payment_id))
        key.status, key.revoked_at = "disabled", clock.now()
    for path in (f"/purchases/{row.payment_id}", "/license-keys"):
        assert "because its payment was returned to you" in site.ada.get(path).text
    with site.services.database.open(system(site.acorn), write=True) as db:
        key = db.scalar(select(LicenseKey).where(LicenseKey.payment_id == row.payment_id))
        key.status, key.revoked_at = "active", None


def test_a_refund_that_failed_says_so_everywhere(site: Site) -> None:
    sam, ada = site.sam, site.ada
    payment = paid(site, site.ada_at_acorn.purchase_id)
    made = refund(site.services.processor, system(site.acorn), payment.id, amount_minor=700)
    told(site)
    with site.services.database.open(system(site.acorn)) as db:
        first, number = site.services.documents.refund_pdf(db, made.id)
    with site.services.gateway.store.read() as c:
        reference = c.execute("SELECT reference FROM operations WHERE key = ?", (made.key,)).fetchone()["reference"]
    page = f"/sandbox/payments/{payment.gateway_reference}"
    assert "Let this refund fail" in sam.get(page).text
    sam.post(page, {"act": "fail", "about": reference})
    told(site)
    failed = site.row(Refund, Refund.id == made.id)
    assert "This refund of €7.00 failed on" in ada.get(f"/purchases/{payment.id}").text
    shown = ada.get(f"/refunds/{made.id}")
    assert "your bank returned the money" in shown.text and f"Refund document {number} is void" in shown.text
    with site.services.database.open(system(site.acorn)) as db:
        second, same = site.services.documents.refund_pdf(db, made.id)
    assert same == number == failed.number and first != second and len(pikepdf.open(io.BytesIO(second)).pages) == 1
    [email] = [item for item in ada.emails("ada@marlow.example") if "did not arrive" in item.subject]
    assert f"/refunds/{made.id}" in email.text
    assert [item for item in sam.emails(site.SAM) if "needs reconciliation" in item.subject]
    waits = sam.get(site.at("/sales/reconciliation"))
    assert "The customer did not get the money" in waits.text and number in waits.text
    assert "void since" in sam.get(site.at(f"/sales/payments/{payment.id}")).text
    assert "void since" in sam.get(site.at("/sales/refunds")).text


def test_a_refund_made_at_the_provider_names_its_author(site: Site) -> None:
    payment = paid(site, site.ada_at_acorn.purchase_id)
    page = f"/sandbox/payments/{payment.gateway_reference}"
    site.sam.get(page)
    site.sam.post(page, {"act": "refund", "amount": "3.00"})
    told(site)
    shown = site.sam.get(site.at(f"/sales/payments/{payment.id}"))
    assert "the payment provider" in shown.text and "-€3.00".replace("-", "") in shown.text
    assert site.row(Refund, Refund.payment_id == payment.id, Refund.amount_minor == 300).status == "succeeded"


def test_an_unknown_payment_is_listed_for_reconciliation(site: Site) -> None:
    other = site.rows(Payment, Payment.business_id == site.acorn, Payment.id != site.ada_at_acorn.purchase_id)[0]
    with site.services.database.open(system(site.acorn), write=True) as db:
        row = db.scalar(select(Payment).where(Payment.id == other.id))
        key, row.key, row.gateway_reference = row.key, "test/lost", "sbx_lost"
    site.services.gateway.on_page(returns.open_dispute, other.gateway_reference)
    told(site)
    page = site.sam.get(site.at("/sales/reconciliation"))
    assert "started here and is not recorded" in page.text
    with site.services.database.open(system(site.acorn), write=True) as db:
        row = db.scalar(select(Payment).where(Payment.id == other.id))
        row.key, row.gateway_reference = key, other.gateway_reference
    action = next(form["action"] for form in page.soup.find_all("form") if form["action"].endswith("/check") and "pac_" in form["action"])
    assert "This entry is resolved" in site.sam.post(action, {}).text
    assert site.row(Dispute, Dispute.payment_id == other.id).status == "dispute_opened"
