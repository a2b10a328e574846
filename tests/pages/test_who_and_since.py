"""What pages and emails say about who did something and since when."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.catalogue import CollectionItem, Product
from billing.commands import plan_order
from billing.commands.buying import subscribe
from billing.commands.pausing import pause, resume
from billing.commands.refunding import refund
from billing.parties import Business
from billing.payments import Payment
from billing.queries import plan_choices
from billing.queries import subscriptions as query
from core import clock, mailbox
from core.outbox import Event
from core.scope import Actor, customer_of, staff, system
from tenants.joining import invite
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.stories.plans import Ada, wait
from tests.visitor import Visitor

pytestmark = on_sqlite


@pytest.fixture
def ada(cast: Cast) -> Ada:
    return Ada(cast)


@pytest.fixture
def person(ada: Ada, visitor: Callable[..., Visitor]) -> Visitor:
    one = visitor()
    one.sign_in(ada.buyer.email)
    return one


def dates(text: str) -> list[datetime]:
    return [datetime.strptime(one, "%d %B %Y") for one in re.findall(r"\d{1,2} [A-Z][a-z]+ \d{4}", text)]


def test_since_is_never_in_the_future_after_resume_or_upgrade(ada: Ada, person: Visitor) -> None:
    page = f"/subscriptions/{ada.buyer.subscription_id}"
    wait(days=3)
    ada.do(pause, ada.buyer.subscription_id)
    wait(days=2)
    ada.do(resume, ada.buyer.subscription_id)
    for upgraded in (False, True):
        if upgraded:
            ada.confirm(ada.quote(ada.max).id)
        head = person.get(page).soup.find(class_="head").get_text(" ", strip=True)
        assert "You subscribed on" in head and dates(head)
        assert all(one.date() <= clock.now().date() for one in dates(head)), head


def test_since_is_never_in_the_future_during_a_trial(ada: Ada, person: Visitor) -> None:
    began = subscribe(ada.till, ada.business, customer_id=ada.buyer.customer_id, product_id=ada.team, trial_days=14,
                      payment_method_id=ada.buyer.method_id)
    head = person.get(f"/subscriptions/{began.subscription_id}").soup.find(class_="head").get_text(" ", strip=True)
    assert all(one.date() <= clock.now().date() for one in dates(head)), head


def plan_emails(ada: Ada) -> list[str]:
    """Newest first."""
    ada.house.worker.drain()
    return [" ".join(one.text.split()) for one in mailbox.letters(ada.house.database, ada.buyer.email) if "Your plan is now" in one.subject]


def test_the_email_says_who_changed_the_plan(ada: Ada) -> None:
    shown = ada.quote(ada.max)
    ada.confirm(shown.id)
    assert "changed as you asked" in plan_emails(ada)[0] and "Acorn Notes changed your plan" not in plan_emails(ada)[0]
    by_staff = staff(ada.buyer.business_id, "mem_sam")
    plan_order.order(ada.till, by_staff, ada.buyer.subscription_id, plan_order.Order(ada.team, 1, (), "prorated_immediately_keep_cycle"))
    assert "Acorn Notes changed your plan" in plan_emails(ada)[0]


def test_payments_and_refunds_have_an_author_in_activity(ada: Ada, person: Visitor) -> None:
    ada.confirm(ada.quote(ada.max).id)
    [paid] = ada.payments("plan_change")
    refund(ada.till, system(ada.buyer.business_id, Actor("api_key", "key_1")), paid.id, amount_minor=100)
    with ada.house.database.open(ada.business) as db:
        found: dict[str, Any] = {one.type: (one.actor_type, one.actor_id) for one in db.scalars(
            select(Event).where(Event.type.in_(("payment.succeeded", "subscription.plan_changed", "refund.pending", "refund.succeeded")))
            .order_by(Event.at, Event.id))}
        assert db.scalar(select(Payment.author).where(Payment.id == paid.id))["type"] == "customer"
    assert found["payment.succeeded"][0] == found["subscription.plan_changed"][0] == "customer"
    assert found["refund.pending"] == found["refund.succeeded"] == ("api_key", "key_1")
    rows = [one.get_text(" ", strip=True) for one in person.get("/activity").soup.select("tbody tr")]
    assert any("was paid" in one and "You" in one for one in rows)


def test_a_payment_page_names_who_refunded_it(ada: Ada, visitor: Callable[..., Visitor]) -> None:
    with ada.house.database.open(ada.business, write=True) as db:
        invite(db, ada.buyer.business_id, Cast.SAM, "owner")
    sam = visitor()
    sam.sign_in(Cast.SAM)
    sam.get("/console")
    sam.submit("acceptance", follow=False, expect=303)
    path = f"/console/{ada.buyer.business_id}/sales/payments/{ada.buyer.purchase_id}"
    sam.get(path + "/refund")
    sam.submit("/refund", amount="1.00")
    page = sam.submit("/refund")
    head = page.soup.find("h1").find_parent(class_="head").p.get_text(" ", strip=True)
    assert "refunded" in head and " by " not in head  # else it reads as if the customer, who is named there, had refunded it
    assert "Refunded by" in page.text and Cast.SAM in page.soup.find("section", {"aria-labelledby": "refunds"}).get_text()


def test_change_plan_is_not_offered_where_no_plan_can_be_chosen(ada: Ada, person: Visitor) -> None:
    url = f"/subscriptions/{ada.buyer.subscription_id}"

    def labels() -> list[str]:
        return [one.get_text(strip=True) for one in person.get("/subscriptions").soup.find_all("a", href=f"{url}/plan-change")]

    assert labels() == ["Change plan"]
    with ada.house.database.open(ada.business, write=True) as db:
        db.scalar(select(CollectionItem).where(CollectionItem.product_id == ada.max)).enabled = False
    assert labels() == ["Change quantity"]
    with ada.house.database.open(ada.business, write=True) as db:
        business = db.scalar(select(Business).where(Business.business_id == ada.buyer.business_id))
        business.settings = {**business.settings, "multiple_subscriptions": False}
    assert labels() == []
    assert not person.get(url).soup.find_all("a", href=f"{url}/plan-change")
    with ada.house.database.open(ada.business, write=True) as db:
        db.scalar(select(CollectionItem).where(CollectionItem.product_id == ada.max)).enabled = True
        db.scalar(select(Product).where(Product.id == ada.max)).archived_at = clock.now()
    assert labels() == []


def test_what_is_offered_agrees_with_the_page_of_choices(ada: Ada) -> None:
    with ada.house.database.open(customer_of(ada.buyer.business_id, ada.buyer.customer_id)) as db:
        row = query.one(db, ada.buyer.subscription_id)
        assert row.has_other_plans == (len(plan_choices.choices(db, row.id).plans) > 1)
    assert timedelta(0) < ada.subscription.next_billing_at - clock.now()
