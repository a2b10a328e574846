"""A subscription on hold that is paid weeks late: which dates it has then, and what the page says before."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from billing import renewals
from billing.commands import plan_order
from billing.commands.paying import dues, pay_dues
from billing.parties import Business
from core import clock
from core.format import date_words
from core.scope import system
from tests.cast import Cast
from tests.stories.plans import TEAM, Ada, wait
from tests.unpaid import hold
from tests.visitor import Visitor


def choose(ada: Ada, **settings: str) -> None:
    with ada.house.database.open(ada.business, write=True) as db:
        business = db.scalar(select(Business).where(Business.business_id == ada.buyer.business_id))
        business.settings = {**business.settings, **settings}


@pytest.fixture
def held(cast: Cast) -> Ada:
    """On hold since its renewal failed, 25 days ago."""
    ada = Ada(cast)
    hold(cast, ada.buyer)
    due = ada.subscription.next_billing_at
    clock.turn(clock.offset() + (due + timedelta(days=25) - clock.now()))
    assert ada.subscription.status == "on_hold"
    return ada


def pay(ada: Ada) -> None:
    card = ada.cast.card(ada.buyer)
    assert pay_dues(ada.till, ada.scope, ada.buyer.subscription_id, payment_method_id=card).status == "succeeded"


@pytest.mark.parametrize("choice", ["keep_dates", "restart_cycle"])
def test_the_page_says_the_next_charge_before_a_late_payment_and_it_is_made_then(held: Ada, choice: str) -> None:
    choose(held, late_payment=choice)
    was = held.subscription
    with held.house.database.open(held.scope) as db:
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
    renewals.run_due(held.till)
    assert [one.amount_minor for one in held.payments("renewal")[made:]] == [TEAM]
    assert held.subscription.next_billing_at > now.next_billing_at


def test_the_next_charge_is_shown_and_made_after_a_late_paid_plan_change(cast: Cast) -> None:
    ada = Ada(cast)
    ada.pay_with("4000000000000002")
    wish = plan_order.Order(ada.max, 1, (), "prorated_immediately_keep_cycle", on_payment_failure="apply_change")
    plan_order.order(ada.till, ada.business, ada.buyer.subscription_id, wish)
    assert ada.subscription.status == "on_hold" and ada.subscription.product_id == ada.max
    wait(days=40)
    with ada.house.database.open(ada.scope) as db:
        shown = dues(db, ada.buyer.subscription_id)
    pay(ada)
    assert shown is not None and shown.next_at == ada.subscription.next_billing_at > clock.now()
    assert shown.next_n == ada.subscription.period_n + 1


def test_a_period_that_passed_on_hold_is_not_billed(held: Ada) -> None:
    wait(days=40)
    pay(held)
    now, paid = held.subscription, len(held.payments("renewal"))
    assert now.next_billing_at > clock.now()
    renewals.run_due(held.till)
    assert len(held.payments("renewal")) == paid


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_the_customer_reads_the_next_charge_and_its_date_on_the_page(cast: Cast, visitor: Callable[..., Visitor]) -> None:
    ada, person = Ada(cast), visitor()
    person.sign_in(ada.buyer.email)
    hold(cast, ada.buyer)
    clock.turn(clock.offset() + (ada.subscription.next_billing_at + timedelta(days=25) - clock.now()))
    with ada.house.database.open(system(ada.buyer.business_id)) as db:
        shown = dues(db, ada.buyer.subscription_id)
    page = person.get(f"/subscriptions/{ada.buyer.subscription_id}/payment-method")
    said = re.search(r"Next charge: (\S+) on ([^.]+)\.", page.text)
    assert shown and said and said.groups() == ("€29.00", date_words(shown.next_at, "en", "Europe/London", "document"))
