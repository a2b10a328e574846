"""Notices, dunning, automatic retries and grace periods: each happens once, by the billing clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.catalogue.products import create_product
from billing.model.invoices import Invoice
from billing.model.parties import Business
from billing.model.payments import PaymentMethod
from billing.model.subscriptions import Subscription
from billing.plan_changes.confirm import confirm
from billing.plan_changes.quote import quote
from billing.renewals import dunning, renew
from billing.renewals.notices import month_end
from billing.renewals.pay_dues import pay_dues
from billing.subscriptions.subscribe import subscribe
from core import clock
from core.scope import everything, system
from tests import unpaid_renewals
from tests.cast import MONTHLY, Buyer, Cast

DAY = timedelta(days=1)
DUNNED = ("dunning.started", "dunning.reminder", "dunning.recovered")


@pytest.fixture
def cast(processor_services: Any, engine: Any, past: Any) -> Cast:
    return past(engine).for_services(processor_services)


@pytest.fixture
def ada(cast: Cast) -> Buyer:
    return cast.ada_at_acorn


def allow(cast: Cast, **settings: Any) -> None:
    with cast.services.database.open(everything("settings of a test"), write=True) as db:
        business = db.scalar(select(Business).where(Business.business_id == cast.acorn))
        assert business is not None
        business.settings = {**business.settings, **settings}


def change(cast: Cast, buyer: Buyer, **fields: Any) -> None:
    with cast.services.database.open(system(buyer.business_id), write=True) as db:
        subscription = db.scalar(select(Subscription).where(Subscription.id == buyer.subscription_id))
        for name, value in fields.items():
            setattr(subscription, name, value)


def later(cast: Cast, span: timedelta) -> None:
    """Advance the clock and run the job more than once."""
    clock.turn(clock.offset() + span)
    for _ in range(2):
        dunning.run_due(cast.services.processor)


def said(cast: Cast, buyer: Buyer, *types: str) -> list[str]:
    return [e.type for e in unpaid_renewals.events(cast, buyer, *(types or DUNNED))]


def test_each_dunning_step_is_sent_once_until_paid(cast: Cast, ada: Buyer) -> None:
    unpaid_renewals.hold(cast, ada)
    later(cast, timedelta(0))
    assert said(cast, ada) == []
    counts = []
    for _ in range(9):
        later(cast, DAY)
        counts.append(len(said(cast, ada)))
    assert counts == [1, 1, 2, 2, 3, 3, 4, 4, 4]
    assert said(cast, ada) == ["dunning.started"] + ["dunning.reminder"] * 3
    pay_dues(cast.services.processor, unpaid_renewals.scope_of(ada), ada.subscription_id, payment_method_id=ada.method_id)
    later(cast, timedelta(0))
    assert said(cast, ada)[4:] == ["dunning.recovered"]
    unpaid_renewals.hold(cast, ada)  # the next hold is announced again
    later(cast, 4 * DAY)
    assert said(cast, ada)[5:] == ["dunning.started"]  # the missed step is not sent later
    later(cast, DAY)
    assert said(cast, ada)[6:] == ["dunning.reminder"]


def test_no_dunning_for_ending_or_externally_billed_subscriptions(cast: Cast, ada: Buyer) -> None:
    unpaid_renewals.hold(cast, ada)
    for fields in ({"cancel_at_period_end": True}, {"cancel_at_period_end": False, "collected_by": "another system"}):
        change(cast, ada, **fields)
        later(cast, 2 * DAY)
    assert said(cast, ada) == []
    change(cast, ada, collected_by="us")
    later(cast, DAY)
    change(cast, ada, status="cancelled")
    later(cast, DAY)
    assert said(cast, ada) == ["dunning.started"]


def test_only_long_renewals_are_announced_once(cast: Cast, ada: Buyer) -> None:
    told = ("subscription.renewal_reminder",)
    change(cast, ada, next_billing_at=clock.now() + 10 * DAY)
    later(cast, 4 * DAY)
    assert said(cast, ada, *told) == []  # monthly
    change(cast, ada, interval="Month", interval_count=12)
    later(cast, timedelta(0))
    later(cast, DAY)
    (event,) = unpaid_renewals.events(cast, ada, *told)
    assert (event.data["amount"], event.data["currency"]) == (2900, "EUR")
    change(cast, ada, next_billing_at=clock.now() + 380 * DAY)
    later(cast, 370 * DAY)
    assert said(cast, ada, *told) == list(told)
    later(cast, 4 * DAY)
    assert said(cast, ada, *told) == list(told) * 2  # the next period's


def test_an_expiring_card_in_use_is_announced_once(cast: Cast, ada: Buyer) -> None:
    told = ("payment_method.expiring",)
    soon = clock.now() + 60 * DAY
    with cast.services.database.open(system(ada.business_id), write=True) as db:
        for method in db.scalars(select(PaymentMethod).where(PaymentMethod.customer_id == ada.customer_id)):
            method.expiry_month, method.expiry_year = soon.month, soon.year
    spare = cast.card(ada)
    end = month_end(soon.year, soon.month)
    later(cast, end - 31 * DAY - clock.now())
    assert said(cast, ada, *told) == []
    later(cast, 2 * DAY)
    later(cast, 5 * DAY)
    (event,) = unpaid_renewals.events(cast, ada, *told)
    assert event.data["subscription_ids"] == [ada.subscription_id] and event.noun_id == ada.method_id != spare


def test_notices_at_the_end_of_a_month() -> None:
    for year, month, end in ((2027, 12, (2028, 1, 1)), (2028, 2, (2028, 3, 1))):
        assert month_end(year, month) == datetime(*end, tzinfo=UTC)


def test_retries_only_where_the_business_enabled_them(cast: Cast, ada: Buyer) -> None:
    unpaid_renewals.hold(cast, ada)
    later(cast, 3 * DAY)
    assert len(unpaid_renewals.payments(cast, ada)) == 1
    allow(cast, retry_schedule_hours=[12, 24])
    later(cast, timedelta(0))
    assert [p.status for p in unpaid_renewals.payments(cast, ada)] == ["failed", "failed"]
    later(cast, timedelta(hours=23))
    assert len(unpaid_renewals.payments(cast, ada)) == 2
    change(cast, ada, payment_method_id=ada.method_id)
    later(cast, timedelta(hours=2))
    assert [p.status for p in unpaid_renewals.payments(cast, ada)] == ["failed", "failed", "succeeded"] and unpaid_renewals.taken(
        cast, ada
    ) == [2900]
    assert unpaid_renewals.subscription(cast, ada).status == "active"
    assert said(cast, ada)[-1] == "dunning.recovered"


@pytest.mark.parametrize("card", ["4000000000000069", unpaid_renewals.BANK_ASKS])
def test_a_hard_decline_is_not_retried(cast: Cast, ada: Buyer, card: str) -> None:
    allow(cast, retry_schedule_hours=[1, 1])
    unpaid_renewals.hold(cast, ada, card)
    later(cast, DAY)
    assert len(unpaid_renewals.payments(cast, ada)) == 1 and unpaid_renewals.subscription(cast, ada).status == "on_hold"


def test_retries_stop_and_do_not_block_the_customer(cast: Cast, ada: Buyer) -> None:
    allow(cast, retry_schedule_hours=[1])
    unpaid_renewals.hold(cast, ada)
    page = pay_dues(cast.services.processor, unpaid_renewals.scope_of(ada), ada.subscription_id)
    later(cast, timedelta(hours=2))
    assert len(unpaid_renewals.payments(cast, ada)) == 2  # her open page, and no try beside it
    cast.services.gateway.leave_page((page.link or "").rsplit("/", 1)[1])
    cast.services.processor.check(ada.business_id, page.payment_id)
    for _ in range(3):
        later(cast, timedelta(hours=2))
    assert [p.status for p in unpaid_renewals.payments(cast, ada)] == ["failed", "cancelled", "failed"]


@pytest.mark.parametrize(("action", "ends"), [("on_hold", "on_hold"), ("cancel", "cancelled")])
def test_a_subscription_stays_active_in_the_grace_period(cast: Cast, ada: Buyer, action: str, ends: str) -> None:
    allow(cast, grace_days=3, grace_action=action)
    unpaid_renewals.hold(cast, ada)
    assert unpaid_renewals.subscription(cast, ada).status == "past_due" and said(cast, ada, "subscription.past_due")
    later(cast, 2 * DAY)
    assert unpaid_renewals.subscription(cast, ada).status == "past_due" and said(cast, ada) == []
    later(cast, 2 * DAY)
    assert unpaid_renewals.subscription(cast, ada).status == ends
    with cast.services.database.open(system(ada.business_id)) as db:
        mine = select(Invoice.status).where(Invoice.subscription_id == ada.subscription_id, Invoice.kind == "renewal")
        assert db.scalar(mine) == ("open" if ends == "on_hold" else "void")


def test_a_payment_within_the_grace_period_keeps_it_active(cast: Cast, ada: Buyer) -> None:
    allow(cast, grace_days=3)
    unpaid_renewals.hold(cast, ada)
    pay_dues(cast.services.processor, unpaid_renewals.scope_of(ada), ada.subscription_id, payment_method_id=ada.method_id)
    later(cast, 5 * DAY)
    assert (
        unpaid_renewals.subscription(cast, ada).status == "active" and unpaid_renewals.taken(cast, ada) == [2900] and said(cast, ada) == []
    )


REMINDED = ("subscription.renewal_reminder",)


def test_a_long_renewal_is_announced_seven_days_ahead_at_least(cast: Cast, ada: Buyer) -> None:
    """For every way to express a year, and with a job that runs once an hour."""
    for interval, count in (("Year", 1), ("Year", 2), ("Month", 12), ("Week", 52), ("Day", 365)):
        change(cast, ada, interval=interval, interval_count=count, next_billing_at=clock.now() + timedelta(days=20))
        before = len(said(cast, ada, *REMINDED))
        for _ in range(20 * 24):
            clock.turn(clock.offset() + timedelta(hours=1))
            if unpaid_renewals.subscription(cast, ada).next_billing_at - clock.now() <= timedelta(days=8):
                break
        dunning.run_due(cast.services.processor)
        event = unpaid_renewals.events(cast, ada, *REMINDED)[-1]
        assert len(said(cast, ada, *REMINDED)) == before + 1, interval
        assert unpaid_renewals.subscription(cast, ada).next_billing_at - event.at >= timedelta(days=7)
    change(cast, ada, interval="Week", interval_count=4, next_billing_at=clock.now() + 5 * DAY)
    later(cast, DAY)
    assert len(said(cast, ada, *REMINDED)) == 5


def test_a_trials_first_charge_is_announced_once(cast: Cast, ada: Buyer) -> None:
    began = subscribe(
        cast.services.processor,
        system(cast.acorn),
        customer_id=ada.customer_id,
        product_id=cast.products["acorn.plan"],
        payment_method_id=ada.method_id,
        trial_days=14,
        billing={"country": "GB"},
    )
    ends = clock.now() + 14 * DAY
    later(cast, 5 * DAY)
    assert said(cast, ada, *REMINDED) == []
    later(cast, DAY + timedelta(hours=1))
    later(cast, DAY)
    (event,) = unpaid_renewals.events(cast, ada, *REMINDED)
    assert event.noun_id == began.subscription_id and event.data["trial"] is True and event.data["amount"] == 2900
    assert datetime.fromisoformat(event.data["next_billing_at"]) - event.at >= 7 * DAY
    assert abs(datetime.fromisoformat(event.data["next_billing_at"]) - ends) < DAY
    renewed = subscribe(
        cast.services.processor,
        system(cast.acorn),
        customer_id=ada.customer_id,
        product_id=cast.products["acorn.plan"],
        payment_method_id=ada.method_id,
        trial_days=3,
        billing={"country": "GB"},
    )
    later(cast, timedelta(hours=35))
    assert unpaid_renewals.events(cast, ada, *REMINDED)[-1].noun_id != renewed.subscription_id
    later(cast, timedelta(hours=2))
    assert unpaid_renewals.events(cast, ada, *REMINDED)[-1].noun_id == renewed.subscription_id, "a short trial: halfway through it"


def test_a_renewal_without_a_charge_is_not_announced(cast: Cast, ada: Buyer) -> None:
    soon = clock.now() + 5 * DAY
    for fields in ({"cancel_at_period_end": True}, {"collected_by": "dodo"}, {"expires_at": soon}, {"status": "paused"}):
        change(
            cast,
            ada,
            **{
                "interval": "Year",
                "next_billing_at": soon,
                "cancel_at_period_end": False,
                "collected_by": "us",
                "expires_at": None,
                "status": "active",
                **fields,
            },
        )
        later(cast, timedelta(minutes=1))
        assert said(cast, ada, *REMINDED) == [], fields


def test_the_announced_amount_includes_the_scheduled_change(cast: Cast, ada: Buyer) -> None:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        yearly = create_product(
            db, cast.acorn, name="Acorn Year", price={**MONTHLY, "price": 20000, "payment_frequency_interval": "Year"}, tax_category="saas"
        ).id
        shown = quote(db, ada.subscription_id, yearly, effective_at="next_billing_date").id
    assert confirm(cast.services.processor, system(cast.acorn), shown).status == "scheduled"
    later(cast, unpaid_renewals.subscription(cast, ada).next_billing_at - clock.now() - 8 * DAY + timedelta(minutes=1))
    (event,) = unpaid_renewals.events(cast, ada, *REMINDED)
    assert (event.data["amount"], event.data["product"]) == (24000, "Acorn Year")
    clock.turn(clock.offset() + 9 * DAY)
    renew.run_due(cast.services.processor)
    assert unpaid_renewals.taken(cast, ada) == [24000], "shown is charged"
