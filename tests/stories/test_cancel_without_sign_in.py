"""Cancel without signing in: what proves a contract, what happens then, and that the page tells nobody anything."""

from __future__ import annotations

import base64
import io
import re
from datetime import timedelta
from typing import Any

import pytest
from pypdf import PdfReader
from sqlalchemy import select

from billing.customers.businesses import create_business
from billing.model.delegated_actions import DelegatedAction
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey
from billing.model.parties import Business
from billing.model.statements import Statement
from billing.model.subscriptions import Subscription
from billing.rights.table import cancel_labels
from billing.statements import staff
from core import clock
from core.outbox import Event
from core.scope import everything, system
from core.scope import staff as member
from tenants.team import Membership
from tests.cast import Buyer, Cast
from tests.conftest import on_sqlite
from tests.visitor import Page, Visitor

FORM = {"name": "Ada Marlow", "type": "ordinary", "when": "earliest", "reason": "", "date": ""}


SAME = "To protect customers, this page says the same in every case."


def declare(someone: Visitor, business_id: str, expect: int = 200, **typed: str) -> Page:
    """Send the form of a business's page. Returns the answer."""
    someone.get(f"/cancel/{business_id}")
    return someone.submit("/cancel", expect=expect, **{**FORM, **typed})


def number_of(cast: Cast, buyer: Buyer) -> str:
    with cast.services.database.open(system(buyer.business_id)) as db:
        return db.scalars(select(Invoice.number).where(Invoice.subscription_id == buyer.subscription_id)).first() or ""


def subscription(cast: Cast, buyer: Buyer) -> Subscription:
    with cast.services.database.open(system(buyer.business_id)) as db:
        return db.scalars(select(Subscription).where(Subscription.id == buyer.subscription_id)).one()


def statements(cast: Cast) -> list[Statement]:
    with cast.services.database.open(everything("statements of a test")) as db:
        return list(db.scalars(select(Statement).order_by(Statement.received_at, Statement.id)))


def key_of(cast: Cast, buyer: Buyer) -> str:
    """Return a license key of the buyer's subscription, made for the test, as somebody may type it."""
    with cast.services.database.open(system(buyer.business_id), write=True) as db:
        item = db.scalars(select(LicenseKey).where(LicenseKey.customer_id == buyer.customer_id)).first()
        assert item is not None
        item.subscription_id, item.payment_id = buyer.subscription_id, None
        return f" {item.key.lower()} "


@pytest.mark.parametrize("proof", ["invoice", "subscription", "license_key"])
def test_an_address_with_a_number_of_the_contract_cancels_at_once(cast: Cast, visitor: Any, proof: str) -> None:
    ada, someone = cast.ada_at_birch, visitor()
    contract = {"invoice": f"Team, invoice {number_of(cast, ada)}.", "subscription": ada.subscription_id}.get(proof) or key_of(cast, ada)
    answer = declare(someone, ada.business_id, email="ADA@marlow.example", contract=contract)
    assert "We received your statement" in answer.text
    assert not subscription(cast, ada).cancel_at_period_end, "the page looks nothing up"
    sent = someone.emails()
    row, found = statements(cast)[0], subscription(cast, ada)
    assert (row.status, row.matched_by, row.subscription_id) == ("effective", proof, ada.subscription_id)
    assert found.cancel_at_period_end
    assert found.cancelled_by == {"type": "customer"}
    assert row.ends_at == found.next_billing_at
    assert not subscription(cast, cast.ada_at_acorn).cancel_at_period_end
    assert [email.to.lower() for email in sent] == ["ada@marlow.example"], "one receipt, and nothing else"
    assert row.number in sent[0].subject
    assert "You won’t be charged again" in sent[0].text
    pdf = "".join(page.extract_text() for page in PdfReader(io.BytesIO(base64.b64decode(sent[0].attachments[0]["data"]))).pages)
    assert row.number in pdf
    assert "You won’t be charged again" in pdf


@on_sqlite
@pytest.mark.parametrize(
    "typed",
    [
        {"email": Cast.ADA, "contract": "Birch Team"},
        {"email": Cast.ADA, "contract": "sub_000000000000000000000"},
        {"email": Cast.MALLORY, "contract": "{ada}"},
        {"email": Cast.BEN, "contract": "{ada}"},
        {"email": "nobody@marlow.example", "contract": "{ada}"},
        {"email": Cast.ADA, "contract": "{ben}"},
        {"email": Cast.ADA, "contract": "{acorn}"},
        {"email": Cast.ADA, "contract": "%"},
        {"email": Cast.ADA, "contract": "' OR 1=1 --"},
    ],
)
def test_nothing_else_cancels_and_the_answer_is_the_same(cast: Cast, visitor: Any, typed: dict[str, str]) -> None:
    """An address alone, another person's number, another business's number and hostile text prove nothing, and tell nothing."""
    numbers = {
        "ada": number_of(cast, cast.ada_at_birch), "ben": number_of(cast, cast.ben), "acorn": cast.ada_at_acorn.subscription_id
    }  # fmt: skip
    someone, contract = visitor(), typed["contract"].format(**numbers)
    proven = declare(visitor(), cast.birch, email=Cast.BEN, contract=cast.ben.subscription_id)
    answer = declare(someone, cast.birch, email=typed["email"], contract=contract)
    assert SAME in answer.text
    assert _general(answer) == _general(proven)
    sent = someone.emails(typed["email"])
    row = next(item for item in statements(cast) if item.contract == contract)
    assert (row.status, row.matched_by, row.customer_id) == ("waiting", None, None)
    assert not subscription(cast, cast.ada_at_birch).cancel_at_period_end
    assert not subscription(cast, cast.ada_at_acorn).cancel_at_period_end
    mine = [email for email in sent if row.number in email.subject]
    assert len(mine) == 1
    assert not mine[0].attachments
    assert "Ada" not in mine[0].text
    assert "Team" not in mine[0].text


def _general(page: Page) -> str:
    """Return the text of the page without what was typed, the number and the times."""
    text = page.text.replace(Cast.ADA, "E").replace(Cast.BEN, "E").replace(Cast.MALLORY, "E").replace("nobody@marlow.example", "E")
    return re.sub(r"S-\d{6}-\w{6}|\d\d:\d\d:\d\d|“[^”]*”", "…", text)


def test_invoice_numbers_cannot_be_guessed(cast: Cast, visitor: Any) -> None:
    """After three statements that proved nothing, the right number is left to staff, and the owner of the address knows of each."""
    ada, someone = cast.ada_at_birch, visitor()
    for guess in range(3):
        declare(someone, ada.business_id, email=Cast.ADA, contract=f"INV-9{guess:03}")
    declare(someone, ada.business_id, email=Cast.ADA, contract=number_of(cast, ada))
    sent = someone.emails(Cast.ADA)
    assert [row.status for row in statements(cast)] == ["waiting"] * 4
    assert not subscription(cast, ada).cancel_at_period_end
    assert len(sent) == 4


@on_sqlite
def test_a_business_that_forbids_cancelling_cannot_forbid_it_here(cast: Cast, visitor: Any) -> None:
    with cast.services.database.open(everything("a strict business"), write=True) as db:
        business = db.scalars(select(Business).where(Business.business_id == cast.birch)).one()
        business.settings = {**business.settings, "cancel": False}
    someone = visitor()
    declare(someone, cast.birch, email=Cast.ADA, contract=cast.ada_at_birch.subscription_id)
    someone.emails()
    assert subscription(cast, cast.ada_at_birch).cancel_at_period_end


def test_good_cause_cancels_to_the_end_of_the_period_and_staff_decide_on_the_rest(cast: Cast, visitor: Any) -> None:
    ada, someone = cast.ada_at_birch, visitor()
    declare(someone, ada.business_id, email=Cast.ADA, contract=ada.subscription_id, type="cause", reason="The server was down for a week.")
    sent = someone.emails(Cast.ADA)
    row = statements(cast)[0]
    assert (row.status, row.matched_by, row.reason) == ("waiting", "subscription", "The server was down for a week.")
    assert subscription(cast, ada).cancel_at_period_end
    assert "Birch Hosting decides whether it ends sooner" in sent[-1].text
    staff.carry_out_for(cast.services.processor, member(cast.birch, "mem_test"), row.id, ada.subscription_id, now=True)
    assert subscription(cast, ada).status == "cancelled"
    assert statements(cast)[0].status == "effective"
    with cast.services.database.open(system(cast.birch)) as db:
        event = db.scalars(select(Event).where(Event.type == "statement.effective")).one()
    assert (event.actor_type, event.actor_id) == ("staff", "mem_test")


def test_a_later_date_cancels_in_the_period_that_contains_it(cast: Cast, visitor: Any) -> None:
    ada, someone = cast.ada_at_birch, visitor()
    first = subscription(cast, ada).next_billing_at
    assert first is not None
    wanted = (first + timedelta(days=40)).date()
    declare(someone, ada.business_id, email=Cast.ADA, contract=ada.subscription_id, when="date", date=wanted.isoformat())
    assert "ends at the end of the billing period that contains" in someone.emails(Cast.ADA)[-1].text
    assert (statements(cast)[0].status, subscription(cast, ada).cancel_at_period_end) == ("planned", False)
    clock.turn(first - clock.wall() + timedelta(hours=1))
    sent = someone.emails(Cast.ADA)
    found = subscription(cast, ada)
    assert found.next_billing_at is not None
    assert found.next_billing_at > first, "it renewed once more"
    if found.next_billing_at.date() < wanted:
        assert not found.cancel_at_period_end
        clock.turn(found.next_billing_at - clock.wall() + timedelta(hours=1))
        sent = someone.emails(Cast.ADA)
        found = subscription(cast, ada)
    assert found.cancel_at_period_end
    assert statements(cast)[0].status == "effective"
    assert statements(cast)[0].ends_at == found.next_billing_at
    assert found.next_billing_at.date() >= wanted
    assert "You won’t be charged again" in sent[-1].text


@on_sqlite
def test_what_ended_meanwhile_is_left_to_staff(cast: Cast, visitor: Any) -> None:
    ada, someone = cast.ada_at_birch, visitor()
    declare(someone, ada.business_id, email=Cast.ADA, contract=ada.subscription_id)
    with cast.services.database.open(system(cast.birch), write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == ada.subscription_id)).one().status = "expired"
    someone.emails()
    assert statements(cast)[0].status == "waiting"


@on_sqlite
def test_wrong_input_is_refused_in_words_and_kept(cast: Cast, visitor: Any) -> None:
    someone = visitor()
    page = declare(someone, cast.birch, expect=422, email="no address", name="", contract="Birch Team\u2066", when="date", date="31.12.")
    assert "Enter your name." in page.text
    assert "This is not a valid email address" in page.text
    assert "Enter a date within the next five years" in page.text
    assert page.soup.find("input", {"name": "contract"})["value"].startswith("Birch Team")
    assert page.soup.find("input", {"name": "email"})["value"] == "no address"
    assert not statements(cast)


@on_sqlite
def test_on_the_page_of_every_business_it_is_named(cast: Cast, visitor: Any) -> None:
    someone = visitor()
    someone.get("/cancel")
    typed = {**FORM, "email": Cast.ADA, "contract": cast.ada_at_birch.subscription_id}
    refused = someone.submit("/cancel", expect=422, business="Brich", **typed)
    assert "We don’t know this business" in refused.text
    assert SAME in someone.submit("/cancel", business=" birch  HOSTING ", **typed).text
    someone.emails()
    assert subscription(cast, cast.ada_at_birch).cancel_at_period_end
    with cast.services.database.open(everything("two businesses of one name"), write=True) as db:
        twin = create_business(db, name="Birch Hosting", currency="EUR", legal_name="Birch Hosting of Hull Ltd").business_id
    someone.get("/cancel")
    several = someone.submit("/cancel", expect=422, business="Birch Hosting", **typed)
    assert "Several businesses have this name" in several.text
    assert twin in {item["value"] for item in several.soup.find("select").find_all("option")}
    someone.submit("/cancel", business=twin, **typed)
    assert statements(cast)[-1].business_id == twin


@on_sqlite
def test_the_statement_can_be_downloaded_by_its_declarant_only(cast: Cast, visitor: Any) -> None:
    someone = visitor()
    page = declare(someone, cast.birch, email=Cast.ADA, contract="Birch Team")
    path = someone.path
    pdf = someone.get(page.soup.find("a", class_="main")["href"])
    text = "".join(sheet.extract_text() for sheet in PdfReader(io.BytesIO(pdf.body)).pages)
    assert statements(cast)[0].number in text
    assert statements(cast)[0].sha256[:20] in text.replace("\n", "")
    assert page.response.headers["Cache-Control"] == "no-store"
    other = visitor()
    other.get(path[:-1] + ("0" if path[-1] != "0" else "1"), expect=404)
    other.get(path.replace(cast.birch, cast.acorn), expect=404)
    other.get(f"/cancel/{cast.birch}x", expect=404)


@on_sqlite
def test_a_flood_from_one_source_is_stopped_in_words(cast: Cast, visitor: Any) -> None:
    someone = visitor(address="203.0.113.9")
    for _ in range(10):
        declare(someone, cast.birch, email=Cast.ADA, contract="Birch Team")
    assert "Too many statements" in declare(someone, cast.birch, expect=429, email=Cast.ADA, contract="Birch Team").text
    assert len(statements(cast)) == 10
    sent = someone.emails(Cast.ADA)
    assert len(sent) == 5, "one address is not flooded with acknowledgments"
    assert SAME in declare(visitor(address="198.51.100.7"), cast.birch, email=Cast.BEN, contract="Birch Team").text


@on_sqlite
@pytest.mark.parametrize(("language", "first", "second"), [
    ("de", "Verträge hier kündigen", "jetzt kündigen"), ("en", "Cancel contracts here", "Cancel now"),
    ("it", "Disdici qui i contratti", "Disdici ora"),
])  # fmt: skip
def test_the_labels_are_those_of_the_table(cast: Cast, visitor: Any, language: str, first: str, second: str) -> None:
    someone = visitor()
    page = someone.get(f"/cancel/{cast.acorn}", headers={"Accept-Language": language})
    assert page.h1 == first
    assert [button.get_text() for button in page.form("/cancel").find_all("button")] == [second]
    with cast.services.database.open(everything("a German business"), write=True) as db:
        business = db.scalars(select(Business).where(Business.business_id == cast.birch)).one()
        business.address = {"country": "DE", "city": "Kassel"}
    page = someone.get(f"/cancel/{cast.birch}", headers={"Accept-Language": language})
    shown = [button.get_text() for button in page.form("/cancel").find_all("button")]
    assert shown == list(dict.fromkeys([second, "jetzt kündigen"])), "the law's words stand beside the page's language"
    assert [label.second for label in cancel_labels(language, "DE")] == shown


@on_sqlite
@pytest.mark.parametrize("system_name", ["stripe", "another"])
def test_what_another_system_bills_is_cancelled_there(cast: Cast, visitor: Any, system_name: str) -> None:
    """The request is sent to a system that takes it. Here it refuses, as it is not connected, and the statement is left to staff."""
    ada, someone = cast.ada_at_birch, visitor()
    with cast.services.database.open(system(cast.birch), write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == ada.subscription_id)).one().collected_by = system_name
    declare(someone, ada.business_id, email=Cast.ADA, contract=ada.subscription_id)
    sent_to_ada = someone.emails(Cast.ADA)
    was_asked = system_name == "stripe"
    assert any("We asked the billing system" in email.text for email in sent_to_ada) == was_asked
    assert not [email for email in sent_to_ada if "You won’t be charged again" in email.text]
    assert not subscription(cast, ada).cancel_at_period_end, "the other system says when it ends"
    with cast.services.database.open(system(cast.birch)) as db:
        sent = db.scalars(select(DelegatedAction).where(DelegatedAction.subscription_id == ada.subscription_id)).all()
        events = list(db.scalars(select(Event.type).where(Event.type.like("statement.%")).order_by(Event.at, Event.id)))
    assert [item.verb for item in sent] == ["cancel"] * was_asked
    assert events == ["statement.received", *["statement.effective"] * was_asked, "statement.waiting"]
    assert (statements(cast)[0].status, statements(cast)[0].ends_at) == ("waiting", None)


@on_sqlite
def test_a_date_that_was_not_chosen_is_not_dropped(cast: Cast, visitor: Any) -> None:
    someone = visitor()
    page = declare(someone, cast.birch, expect=422, email=Cast.ADA, contract="Birch Team", date="2027-01-31")
    assert "Choose “On a later date”, or remove the date." in page.text
    assert page.soup.find("input", {"name": "date"})["value"] == "2027-01-31"


@on_sqlite
def test_a_planned_cancellation_can_be_withdrawn_by_staff(cast: Cast, visitor: Any) -> None:
    ada, someone = cast.ada_at_birch, visitor()
    at = subscription(cast, ada).next_billing_at
    assert at is not None
    declare(someone, cast.birch, email=Cast.ADA, contract=ada.subscription_id, when="date", date=f"{at + timedelta(days=40):%Y-%m-%d}")
    receipt = someone.emails(Cast.ADA)[-1]
    assert "keep the subscription" not in receipt.text
    with cast.services.database.open(member(cast.birch, "mem_test"), write=True) as db:
        staff.dismiss(db, statements(cast)[0].id, "As you asked by phone, your contract stays.")
    assert "your contract stays" in someone.emails(Cast.ADA)[-1].text
    clock.turn(at - clock.wall() + timedelta(days=45))
    someone.emails()
    assert not subscription(cast, ada).cancel_at_period_end


@on_sqlite
def test_owners_and_customers_are_not_flooded(cast: Cast, visitor: Any) -> None:
    """Twelve proven statements about one contract send ten receipts; twenty-five others send the owners twenty emails."""
    with cast.services.database.open(everything("an owner of a test"), write=True) as db:
        ids = {"business_id": cast.birch, "id": "mem_owner", "identity_id": "idn_owner", "created_at": clock.wall()}
        db.add(Membership(email="own@birch.example", email_key="own@birch.example", role="owner", **ids))
    someone = visitor()
    for _ in range(12):
        declare(someone, cast.birch, email=Cast.ADA, contract=cast.ada_at_birch.subscription_id)
    for number in range(25):
        declare(someone, cast.birch, email=f"ann{number}@other.example", contract="Birch Team")
    assert len([email for email in someone.emails(Cast.ADA) if "Receipt of your cancellation" in email.subject]) == 10
    assert len([email for email in someone.received("own@birch.example") if "needs your decision" in email.subject]) == 20
