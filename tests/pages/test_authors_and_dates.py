"""Pages and emails name who made a change, and since when a state applies."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging.refund import refund
from billing.model.catalogue import CollectionItem, Product
from billing.model.parties import Business
from billing.model.payments import Payment
from billing.plan_changes import business_order
from billing.plan_changes import choices as plan_change_choices
from billing.subscriptions import queries as query
from billing.subscriptions.pause import pause, resume
from billing.subscriptions.subscribe import subscribe
from core import clock, mailbox
from core.outbox import Event
from core.scope import Actor, customer_of, staff, system
from tenants.memberships import invite
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.stories.ada_subscription import Ada, wait
from tests.visitor import Visitor

pytestmark = on_sqlite


@pytest.fixture
def ada(cast: Cast) -> Ada:
    return Ada(cast)


@pytest.fixture
def person(ada: Ada, visitor: Callable[..., Visitor]) -> Visitor:
    item = visitor()
    item.sign_in(ada.buyer.email)
    return item


def dates(text: str) -> list[datetime]:
    return [datetime.strptime(item, "%d %B %Y") for item in re.findall(r"\d{1,2} [A-Z][a-z]+ \d{4}", text)]


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
        assert all(item.date() <= clock.now().date() for item in dates(head)), head


def test_since_is_never_in_the_future_during_a_trial(ada: Ada, person: Visitor) -> None:
    began = subscribe(
        ada.processor,
        ada.business,
        customer_id=ada.buyer.customer_id,
        product_id=ada.team,
        trial_days=14,
        payment_method_id=ada.buyer.method_id,
    )
    head = person.get(f"/subscriptions/{began.subscription_id}").soup.find(class_="head").get_text(" ", strip=True)
    assert all(item.date() <= clock.now().date() for item in dates(head)), head


def plan_emails(ada: Ada) -> list[str]:
    """Newest first."""
    ada.services.worker.drain()
    return [
        " ".join(recent_email.text.split())
        for recent_email in mailbox.recent_emails(ada.services.database, ada.buyer.email)
        if "Your plan is now" in recent_email.subject
    ]


def test_the_email_says_who_changed_the_plan(ada: Ada) -> None:
    shown = ada.quote(ada.max)
    ada.confirm(shown.id)
    assert "changed as you asked" in plan_emails(ada)[0] and "Acorn Notes changed your plan" not in plan_emails(ada)[0]
    by_staff = staff(ada.buyer.business_id, "mem_sam")
    keeping = business_order.PlanChangeOrder(ada.team, 1, (), "prorated_immediately_keep_cycle")
    business_order.order(ada.processor, by_staff, ada.buyer.subscription_id, keeping)
    assert "Acorn Notes changed your plan" in plan_emails(ada)[0]


def test_payments_and_refunds_have_an_author_in_activity(ada: Ada, person: Visitor) -> None:
    ada.confirm(ada.quote(ada.max).id)
    [paid] = ada.payments("plan_change")
    refund(ada.processor, system(ada.buyer.business_id, Actor("api_key", "key_1")), paid.id, amount_minor=100)
    with ada.services.database.open(ada.business) as db:
        found: dict[str, Any] = {
            event.type: (event.actor_type, event.actor_id)
            for event in db.scalars(
                select(Event)
                .where(Event.type.in_(("payment.succeeded", "subscription.plan_changed", "refund.pending", "refund.succeeded")))
                .order_by(Event.at, Event.id)
            )
        }
        assert db.scalar(select(Payment.author).where(Payment.id == paid.id))["type"] == "customer"
    assert found["payment.succeeded"][0] == found["subscription.plan_changed"][0] == "customer"
    assert found["refund.pending"] == found["refund.succeeded"] == ("api_key", "key_1")
    rows = [row.get_text(" ", strip=True) for row in person.get("/activity").soup.select("tbody tr")]
    assert any("was paid" in row and "You" in row for row in rows)


def test_a_payment_page_names_who_refunded_it(ada: Ada, visitor: Callable[..., Visitor]) -> None:
    with ada.services.database.open(ada.business, write=True) as db:
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
    assert "refunded" in head and " by " not in head  # otherwise the named customer would appear to have refunded it
    assert "Refunded by" in page.text and Cast.SAM in page.soup.find("section", {"aria-labelledby": "refunds"}).get_text()


def test_change_plan_is_not_offered_where_no_plan_can_be_chosen(ada: Ada, person: Visitor) -> None:
    url = f"/subscriptions/{ada.buyer.subscription_id}"

    def labels() -> list[str]:
        return [row.get_text(strip=True) for row in person.get("/subscriptions").soup.find_all("a", href=f"{url}/plan-change")]

    assert labels() == ["Change plan"]
    with ada.services.database.open(ada.business, write=True) as db:
        db.scalar(select(CollectionItem).where(CollectionItem.product_id == ada.max)).enabled = False
    assert labels() == ["Change quantity"]
    with ada.services.database.open(ada.business, write=True) as db:
        business = db.scalar(select(Business).where(Business.business_id == ada.buyer.business_id))
        business.settings = {**business.settings, "multiple_subscriptions": False}
    assert labels() == []
    assert not person.get(url).soup.find_all("a", href=f"{url}/plan-change")
    with ada.services.database.open(ada.business, write=True) as db:
        db.scalar(select(CollectionItem).where(CollectionItem.product_id == ada.max)).enabled = True
        db.scalar(select(Product).where(Product.id == ada.max)).archived_at = clock.now()
    assert labels() == []


def test_offered_actions_match_the_page_of_choices(ada: Ada) -> None:
    with ada.services.database.open(customer_of(ada.buyer.business_id, ada.buyer.customer_id)) as db:
        row = query.get_subscription(db, ada.buyer.subscription_id)
        assert row.has_other_plans == (len(plan_change_choices.choices(db, row.id).plans) > 1)
    assert timedelta(0) < ada.subscription.next_billing_at - clock.now()
