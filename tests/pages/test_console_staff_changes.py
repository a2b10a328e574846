"""What *Portal rules* promises: the team changes plans, pauses, resumes and cancels for customers, whatever customers may do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import BrowserSession
from billing.forwarded import ForwardedAct
from billing.parties import Business
from billing.payments import Payment
from billing.quotes import ScheduledChange
from billing.subscriptions import Subscription
from core import clock
from core.outbox import Event
from core.scope import everything, system
from tests.pages.staffed import Shop


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    urls, drop = engine.fresh()
    one = Shop.open(urls, tmp_path_factory.mktemp("staff"))
    with one.house.database.open(system(one.acorn), write=True) as db:
        business = db.scalars(select(Business)).one()
        business.settings = {**business.settings, "plan_change": False, "pause": False, "cancel": False}
    yield one
    one.house.database.dispose()
    drop()


def prove(shop: Shop, hours_ago: int) -> None:
    with shop.house.database.open(everything("time passes"), write=True) as db:
        for one in db.scalars(select(BrowserSession)):
            one.proved_at = clock.wall() - timedelta(hours=hours_ago)


def state(shop: Shop, subscription_id: str) -> Subscription:
    return shop.row(Subscription, Subscription.id == subscription_id)


def test_staff_do_what_portal_rules_promises(shop: Shop) -> None:
    ada, sam = shop.ada_at_acorn, shop.sam
    assert "Your team can always change the plan, pause, resume and cancel" in sam.get(shop.at("/settings")).text
    url = shop.at(f"/sales/subscriptions/{ada.subscription_id}")
    sam.get(url)
    assert "is paused" in sam.submit("/pause").text and state(shop, ada.subscription_id).status == "paused"
    assert "is active again" in sam.submit("/pause/removal").text and state(shop, ada.subscription_id).status == "active"
    told = {one.type: one.actor_type for one in shop.rows(Event, Event.noun_id == ada.subscription_id)}
    assert told["subscription.paused"] == told["subscription.unpaused"] == "staff"
    letters = [one.subject for one in sam.letters(ada.email)]
    assert any("paused" in one for one in letters)


def test_staff_change_a_plan_and_charge_on_a_fresh_proof(shop: Shop) -> None:
    one = shop.buyer("acorn", "cora@hill.example", "Cora Hill")
    sam, url = shop.sam, shop.at(f"/sales/subscriptions/{one.subscription_id}")
    page = sam.get(url + "/plan-change")
    assert "Acorn Max" in page.text
    assert sam.submit("plan-change", expect=422, product_id=shop.products["acorn.more"], quantity="0").soup.select_one("#quantity-error")
    page = sam.submit("plan-change", product_id=shop.products["acorn.more"], quantity="1", when="immediately")
    assert "Due now" in page.text and state(shop, one.subscription_id).product_id == shop.products["acorn.plan"]
    prove(shop, hours_ago=1)
    sam.get(sam.path)
    assert "/login?again=1" in sam.submit("confirmation", follow=False, expect=303).location
    assert shop.row(Payment, Payment.subscription_id == one.subscription_id, Payment.charge_type == "plan_change") is None
    prove(shop, hours_ago=0)
    sam.get(sam.path.removesuffix("/confirmation"))
    form = {field["name"]: field["value"] for field in sam.page.form("confirmation").find_all("input")}
    confirmation = sam.page.form("confirmation")["action"]
    for _ in range(2):  # sent twice, it charges once
        sam.post(confirmation, form)
    assert state(shop, one.subscription_id).product_id == shop.products["acorn.more"]
    paid = shop.rows(Payment, Payment.subscription_id == one.subscription_id, Payment.charge_type == "plan_change")
    assert [row.status for row in paid] == ["succeeded"]
    changed = shop.row(Event, Event.noun_id == one.subscription_id, Event.type == "subscription.plan_changed")
    assert changed.actor_type in ("staff", "system")


def test_staff_plan_a_change_and_remove_it(shop: Shop) -> None:
    one = shop.buyer("acorn", "dora@hill.example", "Dora Hill")
    sam, url = shop.sam, shop.at(f"/sales/subscriptions/{one.subscription_id}")
    sam.get(url + "/plan-change")
    sam.submit("plan-change", product_id=shop.products["acorn.more"], quantity="2", when="next_billing_date")
    page = sam.submit("confirmation")
    assert "changes at the next billing date" in page.text and "Planned" in page.text
    sam.submit("plan-change/revocation")
    change = shop.row(ScheduledChange, ScheduledChange.subscription_id == one.subscription_id)
    assert change.cancelled_at is not None and state(shop, one.subscription_id).product_id == shop.products["acorn.plan"]


def test_without_a_card_staff_get_a_payment_link(shop: Shop) -> None:
    one = shop.buyer("acorn", "edda@hill.example", "Edda Hill")
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == one.subscription_id)).one().payment_method_id = None
    sam, url = shop.sam, shop.at(f"/sales/subscriptions/{one.subscription_id}")
    prove(shop, hours_ago=0)
    sam.get(url + "/plan-change")
    sam.submit("plan-change", product_id=shop.products["acorn.more"], quantity="1", when="immediately")
    page = sam.submit("confirmation")
    assert "The customer has to pay first" in page.text and "/sandbox/pages/" in page.soup.select_one("#payment-link").get_text()


def test_support_may_and_developers_and_strangers_may_not(shop: Shop) -> None:
    url = shop.at(f"/sales/subscriptions/{shop.ada_at_acorn.subscription_id}")
    dev = shop.staff("dev@acorn.example", "developer")
    assert "Pause" not in dev.get(url).text
    dev.get(url + "/plan-change", expect=403)
    dev.post(url + "/pause", expect=403)
    support = shop.staff("help@acorn.example", "support")
    assert "Change plan" in support.get(url).text
    support.get(shop.at(f"/sales/subscriptions/{shop.ben.subscription_id}/plan-change"), expect=404)
    support.post(shop.at(f"/sales/subscriptions/{shop.ben.subscription_id}/pause"), expect=404)


def test_what_another_system_bills_is_asked_of_it(shop: Shop) -> None:
    one = shop.buyer("acorn", "fenn@hill.example", "Fenn Hill")
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == one.subscription_id)).one().collected_by = "dodo"
    sam, url = shop.sam, shop.at(f"/sales/subscriptions/{one.subscription_id}")
    assert "Change plan" not in sam.get(url).text
    sam.get(url + "/cancellation")
    assert not sam.page.soup.find("input", value="now")
    assert "We have asked the billing system" in sam.submit("cancellation", when="period").text
    act = shop.row(ForwardedAct, ForwardedAct.subscription_id == one.subscription_id)
    assert (act.verb, act.actor_type) == ("cancel", "staff") and not state(shop, one.subscription_id).cancel_at_period_end
    sam.post(url + "/cancellation", {"when": "now"}, expect=409)
