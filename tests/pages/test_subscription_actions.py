"""Actions of a customer on their subscriptions: the page shows price and date, and the button does exactly that or nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import BrowserSession
from billing.licenses.activations import activate
from billing.model.catalogue import Product
from billing.model.licenses import LicenseKey
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from core import clock
from core.scope import everything, system
from core.services import Services
from tests.cast import Cast
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


@pytest.fixture
def ada(visitor: Callable[..., Visitor], cast: Cast) -> Visitor:
    item = visitor()
    item.sign_in(cast.ADA)
    return item


def of(cast: Cast) -> str:
    return f"/subscriptions/{cast.ada_at_acorn.subscription_id}"


def row(services: Services, kind: Any, *where: Any) -> Any:
    with services.database.open(everything("look at a row")) as db:
        return db.scalar(select(kind).where(*where))


def subscription(cast: Cast) -> Subscription:
    return row(cast.services, Subscription, Subscription.id == cast.ada_at_acorn.subscription_id)


def change_of_plan(cast: Cast) -> Payment | None:
    return row(cast.services, Payment, Payment.charge_type == "plan_change")


def prove(services: Services, hours_ago: int) -> None:
    """Set the age of everyone's last sign-in."""
    with services.database.open(everything("time passes"), write=True) as db:
        for browser_session in db.scalars(select(BrowserSession)):
            browser_session.proved_at = clock.wall() - timedelta(hours=hours_ago)


def test_an_upgrade_charges_the_reviewed_price(ada: Visitor, cast: Cast) -> None:
    clock.turn(timedelta(days=15))
    page = ada.get(of(cast) + "/plan-change")
    assert "Your current plan." in page.text and "Starts today." in page.text and "€70.80 a month" in page.text
    page = ada.submit("quotes", product_id=cast.products["acorn.more"])
    assert page.h1 == "Change from Acorn Team to Acorn Max" and "Unused time on" in page.text
    slip, action = ada.path, page.form("confirmation")["action"]

    prove(cast.services, hours_ago=1)
    assert "Confirm it’s you" in ada.get(slip).text
    assert "/login?again=1" in ada.post(action, follow=False, expect=303).location and change_of_plan(cast) is None
    prove(cast.services, hours_ago=0)

    with cast.services.database.open(system(cast.acorn), write=True) as db:
        db.scalar(select(Product).where(Product.id == cast.products["acorn.more"])).price_minor = 6900
    ada.get(slip)
    page = ada.submit("confirmation")
    assert "The price has changed. Please review the new price. You weren’t charged." in page.text and change_of_plan(cast) is None

    button = page.form("confirmation").find("button").get_text()
    amount = int(button.removeprefix("Pay €").removesuffix(" and change").replace(".", ""))
    assert 0 < amount < 8280
    page = ada.submit("confirmation")
    assert page.h1 == "Acorn Max" and "Paid. You’re now on Acorn Max." in page.text
    paid = change_of_plan(cast)
    assert paid is not None and paid.amount_minor == amount and paid.status == "succeeded"


def test_a_downgrade_is_scheduled_and_can_be_cancelled(ada: Visitor, cast: Cast) -> None:
    ada.get(of(cast) + "/plan-change")
    ada.submit("quotes", product_id=cast.products["acorn.more"])
    ada.submit("confirmation")
    assert "Starts on" in ada.get(of(cast) + "/plan-change").text
    page = ada.submit("quotes", product_id=cast.products["acorn.plan"])
    assert page.form("confirmation").find("button").get_text().startswith("Change on ")
    page = ada.submit("confirmation")
    assert page.h1 == "Acorn Max" and "Acorn Team starts on" in page.text and "Your plan changes to Acorn Team on that day." in page.text
    assert "€29.00" in page.soup.find(attrs={"aria-labelledby": "nextcharge"}).get_text()
    ada.get(of(cast) + "/plan-change")
    assert "A plan change is already scheduled." in ada.page.text and ada.path == of(cast)
    page = ada.submit("revocation")
    assert (
        "You’re keeping Acorn Max. The scheduled change was cancelled." in page.text
        and "€70.80" in page.soup.find(attrs={"aria-labelledby": "nextcharge"}).get_text()
    )
    assert "You scheduled a change to Acorn Team" in page.text and "You cancelled the scheduled plan change." in page.text
    subjects = [email.subject for email in ada.emails(cast.ADA)]
    assert "[test] Your plan is now Acorn Max" in subjects and "[test] Your plan changes to Acorn Team" in subjects


def test_a_subscription_is_paused_resumed_and_ended_now(ada: Visitor, cast: Cast) -> None:
    page = ada.get(of(cast) + "/pause")
    assert "Access stops immediately" in page.text
    page = ada.submit("/pause")
    assert "Acorn Team is paused." in page.text and subscription(cast).status == "paused"
    clock.turn(timedelta(days=10))
    assert "Resume Acorn Team?" in ada.get(of(cast) + "/pause").h1
    assert "is active again. It next renews on" in ada.submit("resumption").text and subscription(cast).status == "active"
    subjects = [email.subject for email in ada.emails(cast.ADA)]
    assert "[test] Acorn Team is paused" in subjects and "[test] Acorn Team is active again" in subjects
    assert ada.get(of(cast)).text.count("You paused the subscription.") == 1

    prove(cast.services, hours_ago=1)
    page = ada.get(of(cast) + "/cancellation")
    assert "You’ll be asked to sign in again first." in page.text
    back = ada.submit("cancellation", when="now", feedback="unused", follow=False, expect=303)
    assert "/login?again=1" in back.location and "when%3Dnow" in back.location and subscription(cast).status == "active"
    ada.sign_in(cast.ADA, back.location)
    assert ada.page.soup.find("input", {"value": "now"}).has_attr("checked")
    page = ada.submit("cancellation")
    assert "Acorn Team has ended. You won’t be charged again." in page.text
    assert (subscription(cast).status, subscription(cast).cancellation_feedback) == ("cancelled", "unused")
    assert "[test] Acorn Team has ended" in [email.subject for email in ada.emails(cast.ADA)]


def test_invoices_are_corrected_and_activations_deactivated(ada: Visitor, cast: Cast) -> None:
    """Billing details keep the input, a correction is a second document, and an activation is deactivated."""
    ada.get(of(cast) + "/billing-details")
    page = ada.submit("billing-details", expect=422, name="", business_name="Marlow <Studio>", tax_id="GB 12", street="1 New Street")
    assert "This tax number is not valid in this country." in page.text and "Please fix 2 things" in page.text
    assert page.soup.find("input", {"name": "business_name"})["value"] == "Marlow <Studio>"
    assert page.soup.find("option", selected=True)["value"] == "GB"
    page = ada.submit("billing-details", name="Ada Marlow", tax_id="GB 980 7806 84", business_name="Marlow Studio Ltd")
    assert "Saved." in page.text and "Marlow Studio Ltd" in page.text and subscription(cast).billing["street"] == "1 New Street"

    ada.get(of(cast))
    path = next(entry["href"] for entry in ada.page.soup.select("a[href^='/invoices/']") if ".pdf" not in entry["href"])
    ada.get(path)
    ada.get(path + "/correction")
    assert ada.submit("correction", expect=422).text.count("Nothing has changed.") >= 1
    page = ada.submit("correction", name="Ada Marlow", business_name="Marlow Studio Ltd", tax_id="GB980780684")
    papers = [entry["href"] for entry in page.soup.select("#documents a.get")]
    assert len(papers) == 2
    first, second = (ada.get(paper).body for paper in papers)
    assert first[:5] == second[:5] == b"%PDF-" and first != second
    assert [email.subject for email in ada.emails(cast.ADA) if "Corrected invoice" in email.subject]

    key = row(cast.services, LicenseKey, LicenseKey.customer_id == cast.ada_at_acorn.customer_id)
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        activate(db, key.id, "Old laptop")
    assert "1 of 3 activations in use" in ada.get("/license-keys").text
    assert "Activation removed." in ada.submit("release").text and "not in use" in ada.page.text or "0 of 3" in ada.page.text


def test_declined_forbidden_and_foreign_actions_change_nothing(ada: Visitor, cast: Cast, visitor: Callable[..., Visitor]) -> None:
    poor = cast.card(cast.ada_at_acorn, "4000000000009995")
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        db.scalar(select(Subscription).where(Subscription.id == cast.ada_at_acorn.subscription_id)).payment_method_id = poor
    ada.get(of(cast) + "/plan-change")
    ada.submit("quotes", product_id=cast.products["acorn.more"])
    page = ada.submit("confirmation")
    assert "You weren’t charged. Acorn Team is unchanged." in page.text
    assert subscription(cast).product_id == cast.products["acorn.plan"]
    assert ada.submit("quotes").form("confirmation")

    birch = f"/subscriptions/{cast.ada_at_birch.subscription_id}"
    assert "contact this business" in ada.get(birch + "/plan-change", expect=403).text
    assert "Contact the business to pause this subscription." in ada.get(birch + "/pause", expect=403).text
    token = ada.get("/profile") and ada.token()
    ada.post(birch + "/plan-change/quotes", {"product_id": cast.products["birch.more"], "csrf_token": token}, expect=403)
    ada.post(birch + "/pause", {"csrf_token": token}, expect=403)
    ada.post(of(cast) + "/pause/resumption", {"csrf_token": token}, expect=409)
    ben = visitor()
    ben.sign_in(cast.BEN)
    for path in ("/plan-change", "/pause", "/billing-details", "/cancellation"):
        ben.get(of(cast) + path, expect=404)
    token = ben.get("/profile") and ben.token()
    for path in ("/plan-change/quotes", "/plan-change/revocation", "/pause", "/pause/resumption", "/billing-details"):
        ben.post(of(cast) + path, {"csrf_token": token}, expect=404)
    ben.post(of(cast) + "/cancellation", {"when": "now", "csrf_token": token}, expect=404)
