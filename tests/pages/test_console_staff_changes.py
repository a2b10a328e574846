"""Staff change plans, pause, resume and cancel for customers, independent of the portal rules for customers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import BrowserSession
from billing.model.delegated_actions import DelegatedAction
from billing.model.parties import Business
from billing.model.payments import Payment
from billing.model.quotes import ScheduledChange
from billing.model.subscriptions import Subscription
from core import clock
from core.outbox import Event
from core.scope import everything, system
from tests.pages.console_setup import Site

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    urls, drop = engine.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("staff"))
    with item.services.database.open(system(item.acorn), write=True) as db:
        business = db.scalars(select(Business)).one()
        business.settings = {**business.settings, "plan_change": False, "pause": False, "cancel": False}
    yield item
    item.services.database.dispose()
    drop()


def prove(site: Site, hours_ago: int) -> None:
    with site.services.database.open(everything("time passes"), write=True) as db:
        for browser_session in db.scalars(select(BrowserSession)):
            browser_session.proved_at = clock.wall() - timedelta(hours=hours_ago)


def state(site: Site, subscription_id: str) -> Subscription:
    return site.row(Subscription, Subscription.id == subscription_id)


def test_staff_do_what_portal_rules_promises(site: Site) -> None:
    ada, sam = site.ada_at_acorn, site.sam
    assert "Your team can always change the plan, pause, resume and cancel" in sam.get(site.at("/settings")).text
    url = site.at(f"/sales/subscriptions/{ada.subscription_id}")
    sam.get(url)
    assert "is paused" in sam.submit("/pause").text and state(site, ada.subscription_id).status == "paused"
    assert "is active again" in sam.submit("/pause/removal").text and state(site, ada.subscription_id).status == "active"
    told = {row.type: row.actor_type for row in site.rows(Event, Event.noun_id == ada.subscription_id)}
    assert told["subscription.paused"] == told["subscription.unpaused"] == "staff"
    emails = [item.subject for item in sam.emails(ada.email)]
    assert any("paused" in item for item in emails)


def test_staff_plan_changes_with_a_charge_need_a_fresh_sign_in(site: Site) -> None:
    item = site.buyer("acorn", "cora@hill.example", "Cora Hill")
    sam, url = site.sam, site.at(f"/sales/subscriptions/{item.subscription_id}")
    page = sam.get(url + "/plan-change")
    assert "Acorn Max" in page.text
    assert sam.submit("plan-change", expect=422, product_id=site.products["acorn.more"], quantity="0").soup.select_one("#quantity-error")
    page = sam.submit("plan-change", product_id=site.products["acorn.more"], quantity="1", when="immediately")
    assert "Due now" in page.text and state(site, item.subscription_id).product_id == site.products["acorn.plan"]
    prove(site, hours_ago=1)
    sam.get(sam.path)
    assert "/login?again=1" in sam.submit("confirmation", follow=False, expect=303).location
    assert site.row(Payment, Payment.subscription_id == item.subscription_id, Payment.charge_type == "plan_change") is None
    prove(site, hours_ago=0)
    sam.get(sam.path.removesuffix("/confirmation"))
    form = {field["name"]: field["value"] for field in sam.page.form("confirmation").find_all("input")}
    confirmation = sam.page.form("confirmation")["action"]
    for _ in range(2):  # sent twice, it charges once
        sam.post(confirmation, form)
    assert state(site, item.subscription_id).product_id == site.products["acorn.more"]
    paid = site.rows(Payment, Payment.subscription_id == item.subscription_id, Payment.charge_type == "plan_change")
    assert [row.status for row in paid] == ["succeeded"]
    changed = site.row(Event, Event.noun_id == item.subscription_id, Event.type == "subscription.plan_changed")
    assert changed.actor_type in ("staff", "system")


def test_staff_schedule_a_change_and_cancel_it(site: Site) -> None:
    item = site.buyer("acorn", "dora@hill.example", "Dora Hill")
    sam, url = site.sam, site.at(f"/sales/subscriptions/{item.subscription_id}")
    sam.get(url + "/plan-change")
    sam.submit("plan-change", product_id=site.products["acorn.more"], quantity="2", when="next_billing_date")
    page = sam.submit("confirmation")
    assert "changes at the next billing date" in page.text and "Planned" in page.text
    sam.submit("plan-change/revocation")
    change = site.row(ScheduledChange, ScheduledChange.subscription_id == item.subscription_id)
    assert change.cancelled_at is not None and state(site, item.subscription_id).product_id == site.products["acorn.plan"]


def test_without_a_card_staff_get_a_payment_link(site: Site) -> None:
    item = site.buyer("acorn", "edda@hill.example", "Edda Hill")
    with site.services.database.open(system(site.acorn), write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == item.subscription_id)).one().payment_method_id = None
    sam, url = site.sam, site.at(f"/sales/subscriptions/{item.subscription_id}")
    prove(site, hours_ago=0)
    sam.get(url + "/plan-change")
    sam.submit("plan-change", product_id=site.products["acorn.more"], quantity="1", when="immediately")
    page = sam.submit("confirmation")
    assert "The customer has to pay first" in page.text and "/sandbox/pages/" in page.soup.select_one("#payment-link").get_text()


def test_only_owners_and_support_change_subscriptions(site: Site) -> None:
    url = site.at(f"/sales/subscriptions/{site.ada_at_acorn.subscription_id}")
    dev = site.staff("dev@acorn.example", "developer")
    assert "Pause" not in dev.get(url).text
    dev.get(url + "/plan-change", expect=403)
    dev.post(url + "/pause", expect=403)
    support = site.staff("help@acorn.example", "support")
    assert "Change plan" in support.get(url).text
    support.get(site.at(f"/sales/subscriptions/{site.ben.subscription_id}/plan-change"), expect=404)
    support.post(site.at(f"/sales/subscriptions/{site.ben.subscription_id}/pause"), expect=404)


def test_staff_changes_to_external_subscriptions_are_delegated(site: Site) -> None:
    item = site.buyer("acorn", "fenn@hill.example", "Fenn Hill")
    with site.services.database.open(system(site.acorn), write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == item.subscription_id)).one().collected_by = "dodo"
    sam, url = site.sam, site.at(f"/sales/subscriptions/{item.subscription_id}")
    assert "Change plan" not in sam.get(url).text
    sam.get(url + "/cancellation")
    assert not sam.page.soup.find("input", value="now")
    assert "The request was sent to the billing system" in sam.submit("cancellation", when="period").text
    act = site.row(DelegatedAction, DelegatedAction.subscription_id == item.subscription_id)
    assert (act.verb, act.actor_type) == ("cancel", "staff") and not state(site, item.subscription_id).cancel_at_period_end
    sam.post(url + "/cancellation", {"when": "now"}, expect=409)
