"""Every action of a customer, or of a business on their behalf, gives one receipt: a row, a page, a PDF and one email."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import pytest
from pypdf import PdfReader
from sqlalchemy import select

from billing.charging.refund import refund
from billing.model.parties import Customer
from billing.model.receipts import KINDS, Receipt
from billing.model.statements import Statement, digest
from billing.model.subscriptions import Subscription
from billing.plan_changes.confirm import cancel_scheduled
from billing.receipts.context import WORDS
from billing.receipts.outcomes import OUTCOMES
from billing.renewals import renew
from billing.statements.staff import carry_out_for
from billing.subscriptions.cancel import cancel_at_period_end, keep
from billing.subscriptions.end_now import cancel_now
from billing.subscriptions.pause import pause, resume
from core.languages import supported
from core.outbox import Event
from core.scope import api_key, staff
from tests.cast import Cast
from tests.stories.ada_subscription import Ada, wait
from tests.visitor import Page, Visitor


@pytest.fixture
def ada(cast: Cast) -> Ada:
    return Ada(cast)


def receipts(ada: Ada) -> list[Receipt]:
    with ada.services.database.open(ada.business) as db:
        found = select(Receipt).where(Receipt.subscription_id == ada.buyer.subscription_id)
        return list(db.scalars(found.order_by(Receipt.issued_at, Receipt.id)))


def signed_in(cast: Cast, someone: Visitor, address: str) -> Visitor:
    someone.sign_in(address)
    return someone


def pdf_text(body: bytes) -> str:
    text = "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(body)).pages)
    return " ".join(text.split())


def test_cancelling_gives_one_email_with_the_receipt(cast: Cast, ada: Ada, visitor: Any) -> None:
    browser, path = signed_in(cast, visitor(), cast.ADA), f"/subscriptions/{ada.buyer.subscription_id}"
    browser.get(f"{path}/cancellation")
    browser.submit("/cancellation", when="period")
    [row] = receipts(ada)
    assert re.fullmatch(r"C-\d{6}-[0-9A-Z]{8}", row.number)
    assert row.content["declared"] == "I cancel Acorn Team with Acorn Notes at the end of the billing period."
    assert row.content["total"] == ["Charged after that", "€0.00"]
    [email] = [item for item in browser.emails(cast.ADA) if "is cancelled" in item.subject]
    assert row.number in email.text and row.content["declared"] in email.text
    [attached] = [item for item in email.attachments if item["filename"] == f"{row.number}.pdf"]
    pdf = base64.b64decode(attached["data"])
    text = pdf_text(pdf)
    assert row.number in text and row.content["declared"] in text and row.sha256 in text.replace(" ", "")
    page = browser.get(f"/receipts/{row.id}")
    assert page.h1 == "Cancellation receipt" and row.number in page.text and row.sha256 in page.text
    assert browser.get(f"/receipts/{row.id}.pdf").body == pdf, "the page and the email give the same bytes"
    assert row.number in browser.get(path).text
    assert f"/receipts/{row.id}" in links(browser.get("/activity"))


def links(page: Page) -> set[str]:
    return {item["href"] for item in page.soup.find_all("a", href=True)}


def test_every_action_gives_a_receipt_of_its_own_and_none_changes_another(ada: Ada) -> None:
    ada.do(cancel_at_period_end, ada.buyer.subscription_id)
    ada.do(cancel_at_period_end, ada.buyer.subscription_id)  # idempotent: no second receipt
    first = receipts(ada)
    assert [row.kind for row in first] == ["cancellation"]
    ada.do(keep, ada.buyer.subscription_id)
    wait(days=3)
    ada.do(pause, ada.buyer.subscription_id)
    wait(days=2)
    ada.do(resume, ada.buyer.subscription_id)
    ada.confirm(ada.quote(ada.max).id)
    cancel_now(ada.processor, ada.scope, ada.buyer.subscription_id)
    cancel_now(ada.processor, ada.scope, ada.buyer.subscription_id)
    rows = receipts(ada)
    kinds = ["cancellation", "cancellation_undone", "pause", "resume", "plan_change", "cancellation_now"]
    assert [row.kind for row in rows] == kinds
    assert rows[0].content == first[0].content, "undoing leaves the receipt of the cancellation as it was"
    assert len({row.number for row in rows}) == len(rows)
    for row in rows:
        assert digest(row.content) == row.sha256, row.kind
        assert row.content["by"] == "customer" and row.content["declared"].startswith("I "), row.kind
        assert not re.search(r"[{}]|None", str(row.content["facts"] + row.content["follows"])), row.kind
    plan = dict(rows[4].content["facts"])
    assert (plan["Plan before"], plan["New plan"]) == ("Acorn Team", "Acorn Max")
    with ada.services.database.open(ada.business) as db:
        named = {event.data.get("receipt_id") for event in db.scalars(select(Event).where(Event.noun_id == ada.buyer.subscription_id))}
    assert {row.id for row in rows} <= named, "each event names its receipt"


def test_a_receipt_cannot_be_changed(ada: Ada) -> None:
    ada.do(pause, ada.buyer.subscription_id)
    with pytest.raises(RuntimeError, match="cannot be changed"), ada.services.database.open(ada.business, write=True) as db:
        db.scalars(select(Receipt)).one().content = {}
    with pytest.raises(RuntimeError, match="cannot be changed"), ada.services.database.open(ada.business, write=True) as db:
        db.delete(db.scalars(select(Receipt)).one())
    assert receipts(ada)[0].content["kind"] == "pause"


def test_the_receipt_is_written_with_the_action_or_not_at_all(ada: Ada) -> None:
    with pytest.raises(ZeroDivisionError), ada.services.database.open(ada.scope, write=True) as db:
        pause(db, ada.buyer.subscription_id)
        raise ZeroDivisionError
    assert ada.subscription.status == "active" and not receipts(ada)


def test_a_receipt_says_who_acted_on_behalf_of_the_customer(ada: Ada) -> None:
    business_id = ada.buyer.business_id
    ada.do(pause, ada.buyer.subscription_id, scope=staff(business_id, "stf_1"))
    ada.do(resume, ada.buyer.subscription_id, scope=api_key(business_id, "key_1"))
    by_staff, by_key = (row.content for row in receipts(ada))
    assert by_staff["declared"] == "Acorn Notes paused Acorn Team."
    assert by_staff["on_behalf"] == "Acorn Notes did this on your behalf."
    assert by_key["on_behalf"] == "The software of Acorn Notes did this on your behalf."
    assert "stf_1" not in str(by_staff) and "key_1" not in str(by_key)


def test_scheduled_plan_changes_and_their_undoing_have_receipts(ada: Ada) -> None:
    shown = ada.quote(ada.max, ada.business, effective_at="next_billing_date")
    ada.confirm(shown.id, staff(ada.buyer.business_id, "stf_1"))
    ada.do(cancel_scheduled, ada.buyer.subscription_id)
    scheduled, undone = (row.content for row in receipts(ada))
    assert scheduled["declared"] == "Acorn Notes scheduled the change from Acorn Team to Acorn Max for the next billing date."
    assert undone["declared"] == "I keep Acorn Team with Acorn Notes. The change to Acorn Max no longer takes place."


def test_a_plan_change_that_the_system_makes_at_the_date_gives_no_second_receipt(ada: Ada) -> None:
    ada.confirm(ada.quote(ada.max, ada.business, effective_at="next_billing_date").id, staff(ada.buyer.business_id, "stf_1"))
    wait(days=32)
    renew.run_due(ada.processor)
    assert ada.subscription.product_id == ada.max
    assert [row.kind for row in receipts(ada)] == ["plan_change_scheduled"]


def test_an_unpaid_subscription_says_what_is_still_due_and_what_is_not(ada: Ada) -> None:
    ada.pay_with("4000000000000002")
    wait(days=32)
    renew.run_due(ada.processor)
    assert ada.subscription.status == "on_hold"
    ada.do(cancel_at_period_end, ada.buyer.subscription_id)
    cancel_now(ada.processor, ada.scope, ada.buyer.subscription_id)
    later, now = (dict(row.content["facts"]) for row in receipts(ada))
    assert later["Still due for the time already used"] == "€29.00"
    assert later["Acorn Team ends"] == "at the end of the billing period"
    assert now["Unpaid, and no longer due"] == "€29.00"


def test_a_refund_gives_a_receipt_and_one_email(cast: Cast, ada: Ada, visitor: Any) -> None:
    refund(ada.processor, staff(cast.acorn, "stf_1"), ada.buyer.payment_id, amount_minor=500)
    browser = signed_in(cast, visitor(), cast.ADA)
    [row] = [row for row in receipts(ada) if row.kind == "refund"]
    assert row.content["declared"] == "Acorn Notes refunded €5.00 of your payment." and row.number.startswith("R-")
    [email] = [item for item in browser.emails(cast.ADA) if "refunded" in item.subject]
    assert row.number in email.text and [item["filename"] for item in email.attachments] == [f"{row.number}.pdf"]
    assert browser.get(f"/business/{cast.acorn}/receipts/{row.id}").h1 == "Refund receipt"


def test_a_receipt_is_in_the_language_of_the_customer(ada: Ada) -> None:
    with ada.services.database.open(ada.business, write=True) as db:
        db.scalars(select(Customer).where(Customer.customer_id == ada.buyer.customer_id)).one().locale = "de"
    ada.do(cancel_at_period_end, ada.buyer.subscription_id)
    [row] = receipts(ada)
    assert row.content["declared"] == "Ich kündige Acorn Team bei Acorn Notes zum Ende des Abrechnungszeitraums."
    assert row.content["title"] == "Kündigungsbestätigung" and row.content["language"] == "de"


def test_hostile_names_are_printed_as_text(cast: Cast, ada: Ada, visitor: Any) -> None:
    with ada.services.database.open(ada.business, write=True) as db:
        customer = db.scalars(select(Customer).where(Customer.customer_id == ada.buyer.customer_id)).one()
        customer.name = "<script>x</script> {product.__class__} #eval(1) $x$"
    ada.do(pause, ada.buyer.subscription_id)
    [row] = receipts(ada)
    browser = signed_in(cast, visitor(), cast.ADA)
    page = browser.get(f"/receipts/{row.id}")
    assert "{product.__class__} #eval(1) $x$" in page.text and b"<script>x" not in page.body
    assert "#eval(1)" in pdf_text(browser.get(f"/receipts/{row.id}.pdf").body)


def test_a_statement_gives_no_second_receipt(cast: Cast, ada: Ada, visitor: Any) -> None:
    someone = visitor()
    someone.get(f"/cancel/{cast.acorn}")
    typed = {"name": "Ada Marlow", "type": "ordinary", "when": "earliest"}
    someone.submit("/cancel", email=cast.ADA, contract=ada.buyer.subscription_id, **typed)
    sent = [item for item in someone.emails(cast.ADA) if "ancel" in item.subject]
    assert ada.subscription.cancel_at_period_end and not receipts(ada)
    assert len(sent) == 1 and [item["filename"][:2] for item in sent[0].attachments] == ["S-"]
    ada.do(keep, ada.buyer.subscription_id)
    assert [row.kind for row in receipts(ada)] == ["cancellation_undone"]


def test_a_statement_that_staff_carry_out_at_once_gives_no_second_receipt(cast: Cast, ada: Ada, visitor: Any) -> None:
    someone = visitor()
    someone.get(f"/cancel/{cast.acorn}")
    someone.submit("/cancel", name="Ada Marlow", email=cast.ADA, contract="Team", type="ordinary", when="earliest")
    someone.services.worker.drain()
    with ada.services.database.open(ada.business) as db:
        [statement_id] = db.scalars(select(Statement.id))
    carry_out_for(ada.processor, staff(cast.acorn, "stf_1"), statement_id, ada.buyer.subscription_id, now=True)
    assert ada.subscription.status == "cancelled" and not receipts(ada)


def test_what_another_system_bills_gives_no_receipt_here(ada: Ada) -> None:
    with ada.services.database.open(ada.business, write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == ada.buyer.subscription_id)).one().collected_by = "dodo"
    ada.do(cancel_at_period_end, ada.buyer.subscription_id)
    assert not receipts(ada) and not ada.subscription.cancel_at_period_end


def test_a_stranger_finds_no_receipt(cast: Cast, ada: Ada, visitor: Any) -> None:
    ada.do(pause, ada.buyer.subscription_id)
    [row] = receipts(ada)
    ben = signed_in(cast, visitor(), cast.BEN)
    for path in (f"/receipts/{row.id}", f"/receipts/{row.id}.pdf", f"/business/{cast.birch}/receipts/{row.id}"):
        ben.get(path, expect=404)
    assert row.number not in ben.get("/activity").text


def test_an_unaccepted_business_writes_nothing_of_its_own_into_the_email(cast: Cast, ada: Ada, visitor: Any) -> None:
    with ada.services.database.open(ada.business, write=True) as db:
        db.scalars(select(Customer).where(Customer.customer_id == ada.buyer.customer_id)).one().recognized_key = None
    ada.do(pause, ada.buyer.subscription_id, scope=staff(ada.buyer.business_id, "stf_1"))
    [row] = receipts(ada)
    for email in visitor().emails(cast.ADA):
        assert row.number not in email.text and not [item for item in email.attachments if item["filename"].startswith("P-")]


def test_receipts_have_words_for_every_kind_in_every_language() -> None:
    assert set(OUTCOMES) == set(KINDS) and set(WORDS) == set(supported())
    for language, words in WORDS.items():
        assert set(words) == set(WORDS["en"]), language
        for name, text in words.items():
            assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", WORDS["en"][name])), (language, name)
    for kind in KINDS:
        assert f"did_{kind}" in WORDS["en"] and (f"says_{kind}" in WORDS["en"] or kind == "refund")


def test_numbers_do_not_count_receipts(ada: Ada) -> None:
    ada.do(pause, ada.buyer.subscription_id)
    ada.do(resume, ada.buyer.subscription_id)
    first, second = (row.number.rpartition("-")[2] for row in receipts(ada))
    assert sum(a != b for a, b in zip(first, second, strict=True)) > 2
