"""The pages of refunds by customers: what the page of a payment says, the review, the confirmation, and the settings of the business."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from billing.charging.ports import ChargeOutcome
from billing.customers.refund_policy import change_refund_policy
from billing.model.parties import Business
from billing.model.payments import Payment, Refund
from billing.model.refund_policy import refund_policy
from billing.model.subscriptions import Subscription
from core import clock
from core.scope import everything, system
from tenants.api_keys import new_key
from tests.pages.console_setup import Site
from tests.pages.test_subscription_actions import prove
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


@pytest.fixture
def site(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    urls, drop = sqlite.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("refunds"))
    yield item
    item.services.database.dispose()
    drop()


def allow(site: Site, **changes: Any) -> None:
    with site.services.database.open(system(site.acorn), write=True) as db:
        change_refund_policy(db, {"is_on": True, "months": 0, **changes})


def refund_url(payment_id: str, door: str = "") -> str:
    return f"{door}/payments/{payment_id}/refund"


def test_nothing_is_said_while_the_policy_is_off(site: Site) -> None:
    ada, bought = site.customer(site.ADA), site.ada_at_acorn
    for path in (f"/purchases/{bought.purchase_id}", f"/subscriptions/{bought.subscription_id}"):
        assert "refund" not in ada.get(path).text.lower()


def test_a_purchase_is_refunded_at_the_unified_door(site: Site) -> None:
    allow(site)
    ada, bought = site.customer(site.ADA), site.ada_at_acorn
    page = ada.get(f"/purchases/{bought.purchase_id}")
    assert "You can refund €58.80 yourself until" in page.text
    page = ada.get(refund_url(bought.purchase_id))
    assert page.h1 == "Refund Acorn for desktop" and "0 of 3 activations in use" in page.text and "Day 0 of 14." in page.text
    assert "ends at once" not in page.text and "stops working at once." in page.text
    assert page.form("/refund").find("button").get_text() == "Refund €58.80"
    page = ada.submit("/refund", reason="mistake")
    assert ada.path == f"/purchases/{bought.purchase_id}" and "You refunded €58.80." in page.text
    assert "You can refund" not in page.text
    [made] = site.rows(Refund)
    assert made.by_policy and made.status == "succeeded"
    page = ada.get(f"/refunds/{made.id}")
    assert "You made this refund under the refund policy." in page.text and "Bought by mistake" in page.text
    [email] = [item for item in ada.emails(site.ADA) if "refunded" in item.subject]
    assert email.subject == "[test] You refunded €58.80 from Acorn Notes" and "under the refund policy of Acorn Notes" in email.text
    assert "The customer refunded €58.80 under the refund policy." in site.sam.get(site.at("/activity")).text


def test_a_subscription_is_refunded_at_the_business_door(site: Site) -> None:
    allow(site)
    ada, door, bought = Visitor(site.app), f"/business/{site.acorn}", site.ada_at_acorn
    ada.sign_in(site.ADA, door=f"/login/{site.acorn}")
    assert "The subscription then ends at once." in ada.get(f"{door}/subscriptions/{bought.subscription_id}").text
    page = ada.get(refund_url(bought.payment_id, door))
    assert "Acorn Team ends at once" in page.text and page.form("/refund").find("button").get_text().endswith("and end the subscription")
    page = ada.submit("/refund")
    assert ada.path == f"{door}/subscriptions/{bought.subscription_id}" and "You refunded €29.00." in page.text
    assert site.row(Subscription, Subscription.id == bought.subscription_id).status == "cancelled"


def test_it_needs_a_recent_sign_in(site: Site) -> None:
    allow(site)
    ada, url = site.customer(site.ADA), refund_url(site.ada_at_acorn.purchase_id)
    prove(site.services, hours_ago=1)
    page = ada.get(url)
    assert "You’ll be asked to sign in again first." in page.text
    assert "/login?again=1" in ada.submit("/refund", follow=False, expect=303).location and site.rows(Refund) == []
    prove(site.services, hours_ago=0)
    ada.get(url)
    ada.submit("/refund")
    assert len(site.rows(Refund)) == 1


def test_a_changed_amount_is_shown_and_not_refunded(site: Site) -> None:
    allow(site, amount="prorated")
    ada, bought = site.customer(site.ADA), site.ada_at_acorn
    ada.get(refund_url(bought.payment_id))
    clock.turn(timedelta(minutes=20))
    page = ada.submit("/refund")
    assert "The refund has changed since you opened this page." in page.text and site.rows(Refund) == []
    shown = page.form("/refund").find("button").get_text()
    page = ada.submit("/refund")
    [made] = site.rows(Refund)
    assert shown == f"Refund €{made.amount_minor / 100:.2f} and end the subscription"


@pytest.mark.parametrize(
    "typed",
    [
        {"amount": "-1"}, {"amount": "9" * 30}, {"amount": "١"}, {"as_of": "now"}, {"as_of": "2026-01-01T00:00:00"}, {"seen": "x"},
        {"as_of": "9999-12-31T23:59:59+00:00"}, {"as_of": "0001-01-01T00:00:00+14:00"}, {"amount": "0"}, {"seen": "7"},
    ],
)  # fmt: skip
def test_hostile_forms_refund_nothing(site: Site, typed: dict[str, str]) -> None:
    allow(site)
    ada = site.customer(site.ADA)
    ada.get(refund_url(site.ada_at_acorn.purchase_id))
    page = ada.submit("/refund", **typed)
    assert "The refund has changed since you opened this page." in page.text and site.rows(Refund) == []


def test_a_reason_that_is_not_in_the_list_is_refused(site: Site) -> None:
    allow(site)
    ada = site.customer(site.ADA)
    ada.get(refund_url(site.ada_at_acorn.purchase_id))
    page = ada.submit("/refund", expect=422, reason="<script>")
    assert "Choose a reason from the list, or none." in page.text and site.rows(Refund) == []


def test_what_is_not_covered_says_why(site: Site) -> None:
    allow(site, kinds=["one_time"])
    ada, bought = site.customer(site.ADA), site.ada_at_acorn
    page = ada.get(f"/subscriptions/{bought.subscription_id}")
    assert "You can’t refund this payment yourself. This is the first payment of a subscription." in page.text
    page = ada.get(refund_url(bought.payment_id))
    assert "You can ask Acorn Notes for a refund: help@acorn.example" in page.text
    assert "(not met)" in page.text and not page.soup.find("input", {"name": "as_of"})
    clock.turn(timedelta(days=20))
    page = ada.get(f"/purchases/{bought.purchase_id}")
    assert "You paid on" in page.text and "The time ended on" in page.text


def test_a_refund_that_the_bank_refuses_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(site)
    ada = site.customer(site.ADA)
    ada.get(refund_url(site.ada_at_acorn.payment_id))
    monkeypatch.setattr(
        type(site.services.gateway), "refund", lambda _self, request: ChargeOutcome("declined", request.key, error_code="REFUND_FAILED")
    )
    page = ada.submit("/refund")
    assert "Your bank didn’t accept the refund of €29.00. The business has been notified." in page.text
    [email] = [item for item in ada.emails(site.ADA) if "did not arrive" in item.subject]
    assert "Your bank did not accept the refund. Acorn Notes has been notified." in email.text
    assert [item.subject for item in ada.received(site.SAM) if "needs reconciliation" in item.subject]
    page = site.sam.get(site.at("/sales/reconciliation"))
    assert "The customer refunded this payment under your refund policy" in page.text and "2. Enter below what you did." in page.text


def test_the_other_purchases_say_whether_they_can_be_refunded(site: Site) -> None:
    allow(site)
    ada, bought = site.customer(site.ADA), site.ada_at_acorn
    page = ada.get(refund_url(bought.payment_id))
    others = page.soup.find(attrs={"aria-labelledby": "others"})
    assert "Acorn for desktop" in others.get_text() and others.find("a")["href"] == refund_url(bought.purchase_id)
    clock.turn(timedelta(days=20))
    others = ada.get(refund_url(bought.payment_id)).soup.find(attrs={"aria-labelledby": "others"})
    assert "The time ended on" in others.get_text()
    assert ada.get(refund_url(bought.purchase_id)).soup.find(attrs={"aria-labelledby": "others"}) is None


def test_strangers_get_404(site: Site) -> None:
    allow(site)
    ada, ben, bought = site.customer(site.ADA), site.customer(site.BEN), site.ada_at_acorn
    other = f"/business/{site.birch}"
    for visitor, url in (
        (ben, refund_url(bought.purchase_id)),
        (ada, refund_url(bought.purchase_id, other)),
        (ada, refund_url(site.ben.purchase_id)),
        (ada, refund_url("pay_unknown")),
    ):
        visitor.get(url, expect=404)
        visitor.post(url, {"amount": "4900", "as_of": clock.now().isoformat(), "seen": "0"}, expect=404)
    assert site.rows(Refund) == []


def test_a_payment_of_another_system_says_where(site: Site) -> None:
    allow(site)
    with site.services.database.open(everything("a pulled payment"), write=True) as db:
        row = db.get(Payment, (site.acorn, site.ada_at_acorn.purchase_id))
        assert row is not None
        row.account_id, row.payment_account_id = "acc_dodo", None
    page = site.customer(site.ADA).get(f"/purchases/{site.ada_at_acorn.purchase_id}")
    assert "Acorn Notes took this payment with its own billing system. For a refund, contact help@acorn.example." in page.text


def test_the_settings_page_and_the_api_agree(site: Site) -> None:
    sam = site.sam
    page = sam.get(site.at("/settings/refunds"))
    assert not page.soup.find("input", {"name": "is_on"}).has_attr("checked") and not page.soup.find(class_="err")
    page = site.save("/settings/refunds", is_on="1", kinds=["renewal"], days="30", amount="prorated", months="6", keys="any")
    assert "Saved." in page.text
    with site.app.app_context(), site.services.database.open(system(site.acorn), write=True) as db:
        _row, secret = new_key(db, site.acorn, "A program")
    headers, api = {"Authorization": f"Bearer {secret}"}, site.app.test_client()
    shown = api.get("/api/refund-policy", headers=headers, base_url="http://localhost").json
    assert shown == {
        "enabled": True, "days": 30, "kinds": ["renewal"], "amount": "prorated", "months_between_refunds": 6, "license_keys": "any",
        "requests_enabled": False, "answer_within_working_days": 5,
    }  # fmt: skip
    changed = api.patch("/api/refund-policy", headers=headers, json={"enabled": False, "days": 7}, base_url="http://localhost")
    assert changed.status_code == 200 and changed.json == {**shown, "enabled": False, "days": 7}
    for wrong in ({"days": 0}, {"amount": "half"}, {"kinds": ["x"]}, {"months_between_refunds": 99}, {"enabled": True, "kinds": []}):
        assert api.patch("/api/refund-policy", headers=headers, json=wrong, base_url="http://localhost").status_code == 422, wrong
    policy = refund_policy(site.row(Business, Business.business_id == site.acorn))
    assert (policy.is_on, policy.days, policy.kinds) == (False, 7, ("renewal",))
    page = site.save("/settings/refunds", expect=422, is_on="1", kinds=[], days="0", months="x")
    assert "Please fix 2 things" in page.text
    assert "business.refund_policy_changed" in [row.type for row in _events(site)]


def _events(site: Site) -> list[Any]:
    from core.outbox import Event

    return site.rows(Event, Event.business_id == site.acorn)


def test_only_owners_change_the_policy(site: Site) -> None:
    support = site.staff("pat@acorn.example", "support")
    page = support.get(site.at("/settings/refunds"))
    assert "Your role can view this page but not change it." in page.text
    support.post(site.at("/settings/refunds"), {"is_on": "1", "kinds": "renewal", "days": "30"}, expect=403)
