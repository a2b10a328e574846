"""A subscription on hold that is paid weeks late: its dates afterwards, and what the page shows before."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from billing.model.parties import Business
from billing.plan_changes import business_order
from billing.renewals import renew
from billing.renewals.pay_dues import dues, pay_dues
from core import clock
from core.formatting import date_words
from core.scope import system
from tests.cast import Cast
from tests.stories.ada_subscription import TEAM, Ada, wait
from tests.unpaid_renewals import hold
from tests.visitor import Visitor


def choose(ada: Ada, **settings: str) -> None:
    with ada.services.database.open(ada.business, write=True) as db:
        business = db.scalar(select(Business).where(Business.business_id == ada.buyer.business_id))
        business.settings = {**business.settings, **settings}


@pytest.fixture
def held(cast: Cast) -> Ada:
    """A subscription on hold since its renewal failed 25 days ago."""
    ada = Ada(cast)
    hold(cast, ada.buyer)
    due = ada.subscription.next_billing_at
    clock.turn(clock.offset() + (due + timedelta(days=25) - clock.now()))
    assert ada.subscription.status == "on_hold"
    return ada


def pay(ada: Ada) -> None:
    card = ada.cast.card(ada.buyer)
    assert pay_dues(ada.processor, ada.scope, ada.buyer.subscription_id, payment_method_id=card).status == "succeeded"


@pytest.mark.parametrize("choice", ["keep_dates", "restart_cycle"])
def test_the_next_charge_is_shown_before_a_late_payment_and_made_then(held: Ada, choice: str) -> None:
    choose(held, late_payment=choice)
    was = held.subscription
    with held.services.database.open(held.scope) as db:
        shown = dues(db, held.buyer.subscription_id)
    pay(held)
    now = held.subscription
    assert shown is not None and shown.next_at is not None
    assert abs(now.next_billing_at - shown.next_at) < timedelta(minutes=1) and now.status == "active"
    if choice == "keep_dates":
        assert timedelta(days=2) < now.next_billing_at - clock.now() < timedelta(days=7)
        assert now.anchor_at == was.anchor_at
    else:
        assert now.next_billing_at - clock.now() > timedelta(days=27)
    made = len(held.payments("renewal"))
    clock.turn(clock.offset() + (now.next_billing_at - clock.now()) + timedelta(minutes=5))
    renew.run_due(held.processor)
    assert [payment.amount_minor for payment in held.payments("renewal")[made:]] == [TEAM]
    assert held.subscription.next_billing_at > now.next_billing_at


def test_the_next_charge_is_shown_and_made_after_a_late_paid_plan_change(cast: Cast) -> None:
    ada = Ada(cast)
    ada.pay_with("4000000000000002")
    plan_order = business_order.PlanChangeOrder(ada.max, 1, (), "prorated_immediately_keep_cycle", on_payment_failure="apply_change")
    business_order.order(ada.processor, ada.business, ada.buyer.subscription_id, plan_order)
    assert ada.subscription.status == "on_hold" and ada.subscription.product_id == ada.max
    wait(days=40)
    with ada.services.database.open(ada.scope) as db:
        shown = dues(db, ada.buyer.subscription_id)
    pay(ada)
    assert shown is not None and shown.next_at == ada.subscription.next_billing_at > clock.now()
    assert shown.next_n == ada.subscription.period_n + 1


def test_a_period_that_passed_on_hold_is_not_billed(held: Ada) -> None:
    wait(days=40)
    pay(held)
    now, paid = held.subscription, len(held.payments("renewal"))
    assert now.next_billing_at > clock.now()
    renew.run_due(held.processor)
    assert len(held.payments("renewal")) == paid


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_the_customer_reads_the_next_charge_and_its_date_on_the_page(cast: Cast, visitor: Callable[..., Visitor]) -> None:
    ada, person = Ada(cast), visitor()
    person.sign_in(ada.buyer.email)
    hold(cast, ada.buyer)
    clock.turn(clock.offset() + (ada.subscription.next_billing_at + timedelta(days=25) - clock.now()))
    with ada.services.database.open(system(ada.buyer.business_id)) as db:
        shown = dues(db, ada.buyer.subscription_id)
    page = person.get(f"/subscriptions/{ada.buyer.subscription_id}/payment-method")
    said = re.search(r"Next charge: (\S+) on ([^.]+)\.", page.text)
    assert shown and said and said.groups() == ("€29.00", date_words(shown.next_at, "en", "Europe/London", "document"))
