"""Customer pages at both doors: content, number of statements, visible rows, and the effect of each button."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from billing.customers.businesses import create_business
from billing.customers.customers import create_customer
from billing.model.invoices import Document, Invoice
from billing.model.parties import Business, Customer
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from billing.subscriptions.subscribe import subscribe
from core import clock
from core.outbox import Event
from core.scope import everything, system
from core.services import Services
from tests.cast import Cast
from tests.visitor import Visitor

PAGES = ("", "subscriptions", "purchases", "billing-history", "payment-methods", "license-keys", "profile", "search?q=team")


@pytest.fixture
def ada(visitor: Callable[..., Visitor], cast: Cast) -> Visitor:
    item = visitor()
    item.sign_in(cast.ADA)
    return item


def row(services: Services, kind: Any, *where: Any) -> Any:
    with services.database.open(everything("look at a row")) as db:
        return db.scalar(select(kind).where(*where))


def invoice_of(services: Services, subscription_id: str) -> str:
    return row(services, Invoice, Invoice.subscription_id == subscription_id).id


def statements(services: Services, do: Callable[[], Any]) -> list[str]:
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, sql: str, *_rest: Any) -> None:
        if sql.lstrip().upper().startswith(("SELECT", "WITH")) and "set_config" not in sql:
            seen.append(sql)

    event.listen(services.database.engine, "before_cursor_execute", note)
    try:
        do()
    finally:
        event.remove(services.database.engine, "before_cursor_execute", note)
    return seen


def test_pages_open_at_both_doors(ada: Visitor, cast: Cast) -> None:
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
    ada: Visitor, visitor: Callable[..., Visitor], cast: Cast, services: Services
) -> None:
    many = statements(services, lambda: ada.get("/"))
    ben = visitor()
    ben.sign_in(cast.BEN)
    row = statements(services, lambda: ben.get("/"))
    assert len(many) == len(row) <= 6, "\n\n".join(many)


def test_a_business_door_shows_that_business_only(ada: Visitor, cast: Cast) -> None:
    for page in PAGES:
        assert "Birch" not in ada.get(f"/business/{cast.acorn}/{page}").text


def test_ids_of_others_are_not_found(ada: Visitor, visitor: Callable[..., Visitor], cast: Cast, services: Services) -> None:
    ben, theirs = cast.ben, invoice_of(services, cast.ben.subscription_id)
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
    assert not row(services, Subscription, Subscription.id == ben.subscription_id).cancel_at_period_end
    own = cast.ada_at_birch.subscription_id
    ada.get(f"/business/{cast.acorn}/subscriptions/{own}", expect=404)
    mallory = visitor()
    assert mallory.get("/", follow=False, expect=303).location == "/login"
    assert mallory.get(f"/business/{cast.acorn}/profile", follow=False, expect=303).location.startswith(f"/login/{cast.acorn}?next=")


@pytest.mark.parametrize("door", ["unified", "business"])
def test_a_subscription_is_cancelled_and_kept(ada: Visitor, cast: Cast, services: Services, door: str) -> None:
    prefix = "" if door == "unified" else f"/business/{cast.acorn}"
    item = cast.ada_at_acorn.subscription_id
    ada.get(f"{prefix}/subscriptions/{item}/cancellation")
    page = ada.submit("/cancellation", feedback="unused", comment="Rarely.")
    assert ada.path == f"{prefix}/subscriptions/{item}" and "You can undo this until then" in page.text and "renews" not in page.text
    assert row(services, Subscription, Subscription.id == item).cancel_at_period_end
    page = ada.submit("/cancellation/revocation")
    assert "is active again" in page.text and not row(services, Subscription, Subscription.id == item).cancel_at_period_end
    subjects = [message.subject for message in ada.emails(cast.ada_at_acorn.email)]
    assert "[test] Acorn Team is cancelled" in subjects and "[test] Acorn Team continues" in subjects


def test_a_comment_that_is_too_long_is_kept(ada: Visitor, cast: Cast) -> None:
    ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}/cancellation")
    page = ada.submit("/cancellation", comment="word " * 200, expect=422)
    assert "word word" in page.soup.find("textarea").get_text()


def test_an_issued_pdf_never_changes(ada: Visitor, cast: Cast, services: Services) -> None:
    item = invoice_of(services, cast.ada_at_acorn.subscription_id)
    first = ada.get(f"/invoices/{item}.pdf")
    again = ada.get(f"/business/{cast.acorn}/invoices/{item}.pdf")
    assert first.body[:4] == b"%PDF" and first.body == again.body
    kept = row(services, Document, Document.noun_id == item)
    assert kept.pdf == first.body
    headers = first.response.headers
    assert "no-store" in headers["Cache-Control"] and headers["Content-Disposition"].endswith('.pdf"')


def test_an_unrecognized_business_shows_only_its_name(ada: Visitor, cast: Cast, services: Services) -> None:
    with services.database.open(everything("plant"), write=True) as db:
        business = create_business(db, name="Northlight Deals", currency="USD").business_id
    with services.database.open(system(business), write=True) as db:
        pending_acceptance = create_customer(db, business, email=cast.ADA, name="Ada").customer_id
        db.flush()
        db.add(
            Invoice(
                business_id=business,
                customer_id=pending_acceptance,
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
    assert "Waiting for your approval" in home.text and "Northlight Deals" in home.text and "FAKE-1" not in home.text
    assert "Pay at once" not in ada.get("/billing-history").text
    ada.get("/invoices/inv_planted", expect=404)
    ada.get("/")
    ada.post("/approvals/cus_nobody/acceptance", expect=404)
    ada.get("/")
    assert "FAKE-1" in ada.submit(f"{pending_acceptance}/acceptance").text
    assert row(services, Customer, Customer.customer_id == pending_acceptance).accepted_at


def test_a_declined_business_disappears(ada: Visitor, cast: Cast, services: Services) -> None:
    with services.database.open(everything("plant"), write=True) as db:
        business = create_business(db, name="Northlight Deals", currency="USD").business_id
    with services.database.open(system(business), write=True) as db:
        pending_acceptance = create_customer(db, business, email=cast.ADA, name="Ada").customer_id
    ada.get("/")
    ada.submit(f"{pending_acceptance}/refusal")
    assert "Northlight" not in ada.get("/").text.replace("Northlight Deals will not ask", "")


def test_profile_is_sent_to_the_businesses_ticked(ada: Visitor, cast: Cast, services: Services) -> None:
    ada.get("/profile")
    page = ada.submit("/profile", name="Ada M. Marlow", phone="+44 20 7946 0100", to=[cast.ada_at_birch.customer_id])
    assert "sent to one business" in page.text
    assert row(services, Customer, Customer.customer_id == cast.ada_at_birch.customer_id).phone == "+442079460100"
    assert row(services, Customer, Customer.customer_id == cast.ada_at_acorn.customer_id).name == "Ada Marlow"
    edited = row(services, Event, Event.type == "profile.edited")
    assert (edited.business_id, edited.customer_id) == (cast.birch, cast.ada_at_birch.customer_id)
    ada.get("/profile")
    page = ada.submit("/profile", name="Kept", phone="123", expect=422)
    assert page.soup.find("input", {"name": "name"})["value"] == "Kept" and "country code" in page.text
    ada.get("/profile")
    ada.submit("/profile", to=[cast.ben.customer_id], expect=404)
    ada.get(f"/business/{cast.acorn}/profile")
    ada.submit("/profile", name="Ada at Acorn", to=[cast.ada_at_birch.customer_id])
    assert row(services, Customer, Customer.customer_id == cast.ada_at_birch.customer_id).name == "Ada M. Marlow"
    assert row(services, Customer, Customer.customer_id == cast.ada_at_acorn.customer_id).name == "Ada at Acorn"


def test_history_pages_forward_and_back_and_refuses_invalid_cursors(ada: Visitor, cast: Cast, services: Services) -> None:
    buyer = cast.ada_at_acorn
    with services.database.open(system(cast.acorn), write=True) as db:
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


def test_search_finds_products_numbers_and_keys(ada: Visitor, cast: Cast, services: Services) -> None:
    from billing.model.licenses import LicenseKey

    key = row(services, LicenseKey, LicenseKey.customer_id == cast.ada_at_acorn.customer_id).key
    foreign = row(services, LicenseKey, LicenseKey.customer_id == cast.ben.customer_id).key
    assert "Acorn Team" in ada.get("/search?q=acorn+team").text
    assert "ACO-0001" in ada.get("/search?q=aco-0001").text
    assert "Acorn for desktop" in ada.get(f"/search?q={key[:9].lower()}").text
    assert "No results" in ada.get(f"/search?q={foreign}").text
    assert key not in ada.get("/").text and key in ada.get("/license-keys").body.decode()


def test_an_archived_business_says_so_and_keeps_purchases_readable(ada: Visitor, cast: Cast, services: Services) -> None:
    with services.database.open(everything("archive"), write=True) as db:
        db.scalar(select(Business).where(Business.business_id == cast.acorn)).archived_at = clock.now()
    page = ada.get(f"/business/{cast.acorn}/")
    assert page.h1 == "Acorn Notes has closed"
    ada.get(f"/business/{cast.acorn}/license-keys")
    ada.get(f"/business/{cast.acorn}/invoices/{invoice_of(services, cast.ada_at_acorn.subscription_id)}.pdf")
    ada.get("/profile")
    ada.post(f"/business/{cast.acorn}/subscriptions/{cast.ada_at_acorn.subscription_id}/cancellation", expect=403)


def test_the_dashboard_renders_without_purchases(visitor: Callable[..., Visitor], cast: Cast, services: Services) -> None:
    ada = visitor()
    ada.sign_in(cast.ADA)
    with services.database.open(everything("forget"), write=True) as db:
        for customer in db.scalars(select(Customer).where(Customer.email_key == cast.ADA)):
            customer.declined_at = clock.now()
    for page in PAGES:
        ada.get("/" + page)


def test_emails_link_to_the_page_of_the_business(ada: Visitor, cast: Cast, services: Services) -> None:
    at_birch = cast.ada_at_birch
    began = subscribe(
        services.processor,
        system(cast.birch),
        customer_id=at_birch.customer_id,
        product_id=cast.products["birch.plan"],
        payment_method_id=at_birch.method_id,
    )
    emails = {message.subject: message for message in ada.emails(cast.ADA)}
    paid = next(message for subject, message in emails.items() if subject == "[test] Paid: €29.00 to Birch Hosting")
    link = f"{services.settings.base_url}/business/{cast.birch}/invoices/{invoice_of(services, began.subscription_id)}"
    assert link in paid.text and "TEST MODE" in paid.text
    assert ada.get(link).h1.startswith("Invoice")
