"""The pages of a withdrawal: until when, what is refunded, the words of the law, and the receipt."""

from __future__ import annotations

import base64
import io
from datetime import timedelta
from typing import Any

from pypdf import PdfReader
from sqlalchemy import select

from billing.model.parties import Business
from billing.model.payments import Refund
from billing.model.statements import Statement
from billing.model.subscriptions import Subscription
from billing.subscriptions.consents import Agreed, record
from core import clock
from core.scope import everything
from tests.cast import Cast
from tests.conftest import on_sqlite


def rows(cast: Cast, kind: Any, *where: Any) -> list[Any]:
    with cast.services.database.open(everything("rows of a test")) as db:
        return list(db.scalars(select(kind).where(*where)))


def test_three_clicks_from_the_overview(cast: Cast, visitor: Any) -> None:
    ada, url = visitor(), f"/subscriptions/{cast.ada_at_birch.subscription_id}"
    ada.sign_in(Cast.ADA)
    page = ada.get("/")
    assert page.soup.find("a", href=f"{url}/withdrawal").find(string=True) == "Withdraw from contract here"
    page = ada.get(f"{url}/withdrawal")
    assert "You can withdraw until" in page.text
    total = page.soup.select_one("form .total .amt").get_text()
    page = ada.submit("/withdrawal")
    assert "You withdrew from Birch Team" in page.text
    assert total in page.text
    [refund] = rows(cast, Refund)
    assert rows(cast, Subscription, Subscription.id == cast.ada_at_birch.subscription_id)[0].status == "cancelled"
    sent = [email for email in ada.emails(Cast.ADA) if "Receipt of your withdrawal" in email.subject]
    assert len(sent) == 1
    [statement] = rows(cast, Statement)
    assert statement.number in sent[0].subject
    assert total in sent[0].text
    pdf = "".join(sheet.extract_text() for sheet in PdfReader(io.BytesIO(base64.b64decode(sent[0].attachments[0]["data"]))).pages)
    assert "Withdrawal" in pdf and statement.number in pdf and "I withdraw from the contract" in pdf
    link = ada.get(url).soup.find("a", string=f"Statement {statement.number} (PDF)")
    assert ada.get(link["href"]).body.startswith(b"%PDF")
    assert ada.get(f"{url}/withdrawal").soup.find("form", action=f"{url}/withdrawal") is None
    assert url not in str(ada.get("/").soup.select("#withdraw ~ ul, [aria-labelledby=withdraw]"))
    assert refund.status == "succeeded"


def test_a_second_confirmation_does_nothing(cast: Cast, visitor: Any) -> None:
    ada, url = visitor(), f"/subscriptions/{cast.ada_at_birch.subscription_id}/withdrawal"
    ada.sign_in(Cast.ADA)
    shown = ada.get(url).soup.find("input", {"name": "shown"})["value"]
    for _ in range(2):
        assert "You withdrew from Birch Team" in ada.post(url, data={"shown": shown, "csrf_token": ada.token()}).text
        ada.get(url)
    assert len(rows(cast, Refund)) == len(rows(cast, Statement)) == 1


def test_a_purchase_is_withdrawn_from_and_its_key_stops(cast: Cast, visitor: Any) -> None:
    ada, url = visitor(), f"/purchases/{cast.ada_at_birch.purchase_id}"
    ada.sign_in(Cast.ADA)
    assert "You can withdraw until" in ada.get(url).text
    ada.get(f"{url}/withdrawal")
    page = ada.submit("/withdrawal")
    assert "You withdrew on" in page.text
    assert "Disabled" in ada.get("/license-keys").text
    assert [row.payment_id for row in rows(cast, Refund)] == [cast.ada_at_birch.purchase_id]


@on_sqlite
def test_the_words_are_those_of_the_customers_country(cast: Cast, visitor: Any) -> None:
    with cast.services.database.open(everything("a customer in Germany"), write=True) as db:
        row = db.scalars(select(Subscription).where(Subscription.id == cast.ada_at_birch.subscription_id)).one()
        row.billing = {**row.billing, "country": "DE"}
    ada = visitor()
    ada.sign_in(Cast.ADA)
    page = ada.get(f"/subscriptions/{cast.ada_at_birch.subscription_id}/withdrawal")
    buttons = [button.get_text() for button in page.form("/withdrawal").find_all("button")]
    assert buttons == ["Confirm withdrawal", "Widerruf bestätigen"]
    assert page.soup.find("p", class_="h1", lang="de").get_text() == "Vertrag widerrufen"


@on_sqlite
def test_a_business_customer_and_a_late_one_read_why_not(cast: Cast, visitor: Any) -> None:
    with cast.services.database.open(everything("a business buys"), write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == cast.ada_at_birch.subscription_id)).one().customer_type = "business"
    ada, url = visitor(), f"/subscriptions/{cast.ada_at_birch.subscription_id}"
    ada.sign_in(Cast.ADA)
    assert "can withdraw until" not in ada.get(url).text
    page = ada.get(f"{url}/withdrawal")
    assert "Only consumers can withdraw" in page.text
    assert page.soup.find("form", action=f"{url}/withdrawal") is None
    ada.post(f"{url}/withdrawal", data={"shown": "2900", "csrf_token": ada.token()}, expect=409)
    clock.turn(timedelta(days=20))
    page = ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}/withdrawal")
    assert "The period has ended." in page.text
    assert not rows(cast, Refund) and not rows(cast, Statement)


@on_sqlite
def test_strangers_and_hostile_input(cast: Cast, visitor: Any) -> None:
    ben, ada = visitor(), visitor()
    ben.sign_in(Cast.BEN)
    for url in (f"/subscriptions/{cast.ada_at_birch.subscription_id}", f"/purchases/{cast.ada_at_birch.purchase_id}"):
        ben.get(f"{url}/withdrawal", expect=404)
        ben.post(f"{url}/withdrawal", data={"shown": "1", "csrf_token": ben.token()}, expect=404)
    ada.sign_in(Cast.ADA)
    for shown in ("", "0", "-1", "99999999999999999999", "1e3", "x"):
        url = f"/subscriptions/{cast.ada_at_birch.subscription_id}/withdrawal"
        assert "amounts have changed" in ada.post(url, data={"shown": shown, "csrf_token": ada.token()}, expect=409).text
    url = f"/purchases/{cast.ada_at_birch.purchase_id}/withdrawal"
    ada.post(url, data={"shown": "0", "line": ["' OR 1=1", "lin_x"], "csrf_token": ada.token()}, expect=409)
    assert not rows(cast, Refund) and not rows(cast, Statement)


@on_sqlite
def test_a_business_that_forbids_cancelling_cannot_forbid_it(cast: Cast, visitor: Any) -> None:
    with cast.services.database.open(everything("a strict business"), write=True) as db:
        business = db.scalars(select(Business).where(Business.business_id == cast.birch)).one()
        business.settings = {**business.settings, "cancel": False, "keys_on_full_refund": "keep"}
    ada, url = visitor(), f"/subscriptions/{cast.ada_at_birch.subscription_id}/withdrawal"
    ada.sign_in(Cast.ADA)
    ada.get(url)
    ada.submit("/withdrawal")
    assert len(rows(cast, Refund)) == 1


@on_sqlite
def test_the_page_says_since_when_and_why_the_right_ended(cast: Cast, visitor: Any) -> None:
    ada = cast.ada_at_birch
    with cast.services.database.open(everything("agreed before the contract"), write=True) as db:
        row = db.scalars(select(Subscription).where(Subscription.id == ada.subscription_id)).one()
        agreed = [Agreed("digital_content", "Deliver now.", "en")]
        record(db, agreed, business_id=cast.birch, customer_id=ada.customer_id, subscription_id=row.id)
        row.concluded_at = clock.now() + timedelta(seconds=1)
    person, url = visitor(), f"/subscriptions/{ada.subscription_id}"
    person.sign_in(Cast.ADA)
    for path in (url, f"{url}/withdrawal"):
        page = person.get(path)
        assert "You agreed that the delivery begins at once and that you can’t withdraw then. It began on" in page.text
    assert "Deliver now." in person.get(url).text
    assert f"{url}/withdrawal" not in str(person.get("/").soup)
    person.post(f"{url}/withdrawal", data={"shown": "2900", "csrf_token": person.token()}, expect=409)
    assert not rows(cast, Refund)
