"""The customer's pages at both doors: what they show, what they cost, whose rows they are, and that a click does what it says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from billing.commands.businesses import create_business
from billing.commands.buying import subscribe
from billing.commands.customers import create_customer
from billing.invoices import Document, Invoice
from billing.parties import Business, Customer
from billing.payments import Payment
from billing.subscriptions import Subscription
from core import clock
from core.outbox import Event
from core.scope import everything, system
from core.web import House
from tests.cast import Cast
from tests.visitor import Visitor

PAGES = ("", "subscriptions", "purchases", "billing-history", "payment-methods", "license-keys", "profile", "search?q=team")


@pytest.fixture
def ada(visitor: Callable[..., Visitor], cast: Cast) -> Visitor:
    one = visitor()
    one.sign_in(cast.ADA)
    return one


def row(house: House, kind: Any, *where: Any) -> Any:
    with house.database.open(everything("look at a row")) as db:
        return db.scalar(select(kind).where(*where))


def invoice_of(house: House, subscription_id: str) -> str:
    return row(house, Invoice, Invoice.subscription_id == subscription_id).id


def statements(house: House, do: Callable[[], Any]) -> list[str]:
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, sql: str, *_rest: Any) -> None:
        if sql.lstrip().upper().startswith(("SELECT", "WITH")) and "set_config" not in sql:
            seen.append(sql)

    event.listen(house.database.engine, "before_cursor_execute", note)
    try:
        do()
    finally:
        event.remove(house.database.engine, "before_cursor_execute", note)
    return seen


def test_pages_are_there_at_both_doors(ada: Visitor, cast: Cast) -> None:
    for prefix in ("/", f"/business/{cast.acorn}/"):
        for page in PAGES:
            ada.get(prefix + page)


def test_both_doors_have_the_same_pages(app: Any) -> None:
    def of(door: str) -> set[str]:
        return {
            rule.endpoint.removeprefix(f"{door}.portal.")
            for rule in app.url_map.iter_rules()
            if rule.endpoint.startswith(f"{door}.portal.")
        }

    assert of("unified") == of("business") != set()


def test_dashboard_costs_six_statements_however_many_businesses(
    ada: Visitor, visitor: Callable[..., Visitor], cast: Cast, house: House
) -> None:
    many = statements(house, lambda: ada.get("/"))
    ben = visitor()
    ben.sign_in(cast.BEN)
    one = statements(house, lambda: ben.get("/"))
    assert len(many) == len(one) <= 6, "\n\n".join(many)


def test_a_business_door_shows_that_business_only(ada: Visitor, cast: Cast) -> None:
    for page in PAGES:
        assert "Birch" not in ada.get(f"/business/{cast.acorn}/{page}").text


def test_a_strangers_ids_do_not_exist(ada: Visitor, visitor: Callable[..., Visitor], cast: Cast, house: House) -> None:
    ben, theirs = cast.ben, invoice_of(house, cast.ben.subscription_id)
    foreign = [
        f"subscriptions/{ben.subscription_id}",
        f"subscriptions/{ben.subscription_id}/cancellation",
        f"purchases/{ben.purchase_id}",
        f"invoices/{theirs}",
        f"invoices/{theirs}.pdf",
        "refunds/ref_none",
        "refunds/ref_none.pdf",
    ]
    for page in foreign:
        for prefix in ("/", f"/business/{cast.birch}/", f"/business/{cast.acorn}/"):
            ada.get(prefix + page, expect=404)
    ada.get("/")
    ada.post(f"/subscriptions/{ben.subscription_id}/cancellation", expect=404)
    assert not row(house, Subscription, Subscription.id == ben.subscription_id).cancel_at_period_end
    own = cast.ada_at_birch.subscription_id
    ada.get(f"/business/{cast.acorn}/subscriptions/{own}", expect=404)
    mallory = visitor()
    assert mallory.get("/", follow=False, expect=303).location == "/login"
    assert mallory.get(f"/business/{cast.acorn}/profile", follow=False, expect=303).location.startswith(f"/login/{cast.acorn}?next=")


@pytest.mark.parametrize("door", ["unified", "business"])
def test_cancel_and_keep(ada: Visitor, cast: Cast, house: House, door: str) -> None:
    prefix = "" if door == "unified" else f"/business/{cast.acorn}"
    one = cast.ada_at_acorn.subscription_id
    ada.get(f"{prefix}/subscriptions/{one}/cancellation")
    page = ada.submit("/cancellation", feedback="unused", comment="Rarely.")
    assert ada.path == f"{prefix}/subscriptions/{one}" and "You can take it back until then" in page.text and "renews" not in page.text
    assert row(house, Subscription, Subscription.id == one).cancel_at_period_end
    page = ada.submit("/cancellation/revocation")
    assert "goes on" in page.text and not row(house, Subscription, Subscription.id == one).cancel_at_period_end
    subjects = [letter.subject for letter in ada.letters(cast.ada_at_acorn.email)]
    assert "[test] Acorn Team is cancelled" in subjects and "[test] Acorn Team goes on" in subjects


def test_a_comment_that_is_too_long_is_kept(ada: Visitor, cast: Cast) -> None:
    ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}/cancellation")
    page = ada.submit("/cancellation", comment="word " * 200, expect=422)
    assert "word word" in page.soup.find("textarea").get_text()


def test_pdf_is_the_same_ever_after(ada: Visitor, cast: Cast, house: House) -> None:
    one = invoice_of(house, cast.ada_at_acorn.subscription_id)
    first = ada.get(f"/invoices/{one}.pdf")
    again = ada.get(f"/business/{cast.acorn}/invoices/{one}.pdf")
    assert first.body[:4] == b"%PDF" and first.body == again.body
    kept = row(house, Document, Document.noun_id == one)
    assert kept.pdf == first.body
    headers = first.response.headers
    assert "no-store" in headers["Cache-Control"] and headers["Content-Disposition"].endswith('.pdf"')


def test_a_planted_business_shows_its_name_and_nothing_else(ada: Visitor, cast: Cast, house: House) -> None:
    with house.database.open(everything("plant"), write=True) as db:
        business = create_business(db, name="Northlight Deals", currency="USD").business_id
    with house.database.open(system(business), write=True) as db:
        planted = create_customer(db, business, email=cast.ADA, name="Ada").customer_id
        db.flush()
        db.add(
            Invoice(
                business_id=business,
                customer_id=planted,
                id="inv_planted",
                number="FAKE-1",
                operation="x",
                kind="one_time",
                description="Pay at once",
                currency="USD",
                subtotal_minor=1,
                tax_minor=0,
                total_minor=1,
                due_minor=1,
                issued_at=clock.now(),
                snapshot={},
            )
        )
    home = ada.get("/")
    assert "Wants to appear here" in home.text and "Northlight Deals" in home.text and "FAKE-1" not in home.text
    assert "Pay at once" not in ada.get("/billing-history").text
    ada.get("/invoices/inv_planted", expect=404)
    ada.get("/")
    ada.post("/appearances/cus_nobody/acceptance", expect=404)
    ada.get("/")
    assert "FAKE-1" in ada.submit(f"{planted}/acceptance").text
    assert row(house, Customer, Customer.customer_id == planted).accepted_at


def test_not_mine_goes_away(ada: Visitor, cast: Cast, house: House) -> None:
    with house.database.open(everything("plant"), write=True) as db:
        business = create_business(db, name="Northlight Deals", currency="USD").business_id
    with house.database.open(system(business), write=True) as db:
        planted = create_customer(db, business, email=cast.ADA, name="Ada").customer_id
    ada.get("/")
    ada.submit(f"{planted}/refusal")
    assert "Northlight" not in ada.get("/").text.replace("Northlight Deals will not ask", "")


def test_profile_is_sent_to_the_businesses_ticked(ada: Visitor, cast: Cast, house: House) -> None:
    ada.get("/profile")
    page = ada.submit("/profile", name="Ada M. Marlow", phone="+44 20 7946 0100", to=[cast.ada_at_birch.customer_id])
    assert "sent to one business" in page.text
    assert row(house, Customer, Customer.customer_id == cast.ada_at_birch.customer_id).phone == "+442079460100"
    assert row(house, Customer, Customer.customer_id == cast.ada_at_acorn.customer_id).name == "Ada Marlow"
    edited = row(house, Event, Event.type == "profile.edited")
    assert (edited.business_id, edited.customer_id) == (cast.birch, cast.ada_at_birch.customer_id)
    ada.get("/profile")
    page = ada.submit("/profile", name="Kept", phone="123", expect=422)
    assert page.soup.find("input", {"name": "name"})["value"] == "Kept" and "country code" in page.text
    ada.get("/profile")
    ada.submit("/profile", to=[cast.ben.customer_id], expect=404)
    ada.get(f"/business/{cast.acorn}/profile")
    ada.submit("/profile", name="Ada at Acorn", to=[cast.ada_at_birch.customer_id])
    assert row(house, Customer, Customer.customer_id == cast.ada_at_birch.customer_id).name == "Ada M. Marlow"
    assert row(house, Customer, Customer.customer_id == cast.ada_at_acorn.customer_id).name == "Ada at Acorn"


def test_history_pages_both_ways_and_refuses_nonsense(ada: Visitor, cast: Cast, house: House) -> None:
    buyer = cast.ada_at_acorn
    with house.database.open(system(cast.acorn), write=True) as db:
        for n in range(60):
            at = clock.now() - timedelta(days=n + 1)
            db.add(
                Payment(
                    business_id=cast.acorn,
                    customer_id=buyer.customer_id,
                    id=f"pay_{n:03d}",
                    brand_id=cast.acorn,
                    charge_type="renewal",
                    subscription_id=buyer.subscription_id,
                    amount_minor=100 + n,
                    currency="EUR",
                    status="failed",
                    is_open=False,
                    key=f"k{n}",
                    gateway="sandbox",
                    created_at=at,
                    updated_at=at,
                )
            )
    seen, page = [], ada.get("/billing-history")
    while True:
        seen.append([cell.get_text() for cell in page.soup.select("tbody .amt")])
        older = page.soup.find("a", rel="next")
        if not older:
            break
        page = ada.get(older["href"])
    assert sum(map(len, seen)) == 64 and len(seen) == 3
    back = ada.get(page.soup.find("a", rel="prev")["href"])
    assert [cell.get_text() for cell in back.soup.select("tbody .amt")] == seen[1]
    assert "Nothing" not in ada.get("/billing-history?q=ACO-0001").text
    assert len(ada.get(f"/billing-history?business={cast.birch}").soup.select("tbody tr")) == 2
    for nonsense in (
        "from=yesterday",
        "to=9999-99-99",
        "state=x",
        "business=bus_x",
        "from=2026-02-01&to=2026-01-01",
        "before=%%%",
        "after=YWJj",
    ):
        ada.get(f"/billing-history?{nonsense}", expect=400)


def test_search_finds_products_numbers_and_keys(ada: Visitor, cast: Cast, house: House) -> None:
    from billing.licences import LicenseKey

    key = row(house, LicenseKey, LicenseKey.customer_id == cast.ada_at_acorn.customer_id).key
    foreign = row(house, LicenseKey, LicenseKey.customer_id == cast.ben.customer_id).key
    assert "Acorn Team" in ada.get("/search?q=acorn+team").text
    assert "ACO-0001" in ada.get("/search?q=aco-0001").text
    assert "Acorn for desktop" in ada.get(f"/search?q={key[:9].lower()}").text
    assert "Nothing of yours matches" in ada.get(f"/search?q={foreign}").text
    assert key not in ada.get("/").text and key in ada.get("/license-keys").body.decode()


def test_an_archived_business_says_so_and_keeps_what_is_yours(ada: Visitor, cast: Cast, house: House) -> None:
    with house.database.open(everything("archive"), write=True) as db:
        db.scalar(select(Business).where(Business.business_id == cast.acorn)).archived_at = clock.now()
    page = ada.get(f"/business/{cast.acorn}/")
    assert page.h1 == "Acorn Notes has closed its shop here"
    ada.get(f"/business/{cast.acorn}/license-keys")
    ada.get(f"/business/{cast.acorn}/invoices/{invoice_of(house, cast.ada_at_acorn.subscription_id)}.pdf")
    ada.get("/profile")
    ada.post(f"/business/{cast.acorn}/subscriptions/{cast.ada_at_acorn.subscription_id}/cancellation", expect=403)


def test_nobody_without_purchases_sees_an_empty_dashboard_break(visitor: Callable[..., Visitor], cast: Cast, house: House) -> None:
    ada = visitor()
    ada.sign_in(cast.ADA)
    with house.database.open(everything("forget"), write=True) as db:
        for one in db.scalars(select(Customer).where(Customer.email_key == cast.ADA)):
            one.declined_at = clock.now()
    for page in PAGES:
        ada.get("/" + page)


def test_letters_lead_to_the_very_page_of_the_business(ada: Visitor, cast: Cast, house: House) -> None:
    at_birch = cast.ada_at_birch
    began = subscribe(house.till, system(cast.birch), customer_id=at_birch.customer_id, product_id=cast.products["birch.plan"],
                      payment_method_id=at_birch.method_id)
    letters = {letter.subject: letter for letter in ada.letters(cast.ADA)}
    paid = next(letter for subject, letter in letters.items() if subject == "[test] Paid: €29.00 to Birch Hosting")
    link = f"{house.settings.base_url}/business/{cast.birch}/invoices/{invoice_of(house, began.subscription_id)}"
    assert link in paid.text and "TEST MODE" in paid.text
    assert ada.get(link).h1.startswith("Invoice")
