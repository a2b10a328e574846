"""A year of billing with the clock turned by hand: every charge on its date, every figure equal in both books."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from billing import renewals
from billing.commands.businesses import create_business
from billing.commands.buying import buy, subscribe
from billing.commands.cancelling import cancel_at_period_end
from billing.commands.products import create_product
from billing.commands.refunding import refund
from billing.invoices import Invoice, InvoiceLine
from billing.licences import LicenseKey
from billing.parties import CustomerTotal, SpendMonth
from billing.payments import Payment
from billing.subscriptions import Subscription
from core import clock
from core.errors import Conflict, Invalid, NotFound
from core.outbox import Event
from core.scope import customer_of, everything, person, system
from tests.stories.shop import Shop, turn_to

# a leap year; London changes its clocks on 26 March and 29 October 2028, New York on 12 March and 5 November
FIRST_DAY = {"Europe/London": datetime(2028, 1, 31, 9, tzinfo=UTC), "America/New_York": datetime(2028, 1, 31, 14, tzinfo=UTC)}


@pytest.fixture
def shop(till_house: Any) -> Shop:
    return Shop.open(till_house)


@pytest.mark.parametrize("zone", FIRST_DAY)
def test_a_year_from_the_31st_of_january(till_house: Any, zone: str) -> None:
    turn_to(FIRST_DAY[zone])
    shop = Shop.open(till_house, zone=zone)
    shop.subscribe()
    ends = ["02-29", "03-31", "04-30", "05-31", "06-30", "07-31", "08-31", "09-30", "10-31", "11-30", "12-31"]
    hours = {FIRST_DAY[zone].hour}
    for n, day in enumerate(ends, start=2):
        due = shop.subscription().next_billing_at
        hours.add(due.hour)
        assert due.astimezone(ZoneInfo(zone)).strftime("%m-%d %H") == f"{day} 09"
        turn_to(due - timedelta(minutes=1))
        assert renewals.run_due(shop.till) == 0  # never early
        turn_to(due + timedelta(minutes=3))
        shop.work()
        shop.work()
        assert shop.subscription().period_n == n
    assert hours == {FIRST_DAY[zone].hour, FIRST_DAY[zone].hour - 1}  # an hour earlier in UTC all summer, and back again
    turn_to(shop.subscription().next_billing_at + timedelta(minutes=3))
    shop.work()
    assert len(shop.charges()) == 13 == len(shop.rows(Invoice, status="paid"))  # the first one, and 12 renewals
    assert len({(one.starts_at, one.ends_at) for one in shop.rows(Invoice)}) == 13
    months = {row.month: row.paid_minor for row in shop.rows(SpendMonth)}
    assert months == dict.fromkeys(["2028-01", *(f"2028-{day[:2]}" for day in ends), "2029-01"], 2900)
    shop.balanced()
    numbers = sorted(one.number for one in shop.rows(Invoice))
    assert numbers == [f"ACO-{n:04d}" for n in range(1, 14)]


def test_after_ninety_days_down_each_subscription_renews_once_a_day(shop: Shop) -> None:
    shop.subscribe()
    first = shop.subscription().next_billing_at
    turn_to(first.replace(hour=6) + timedelta(days=90))
    for _ in range(4):
        shop.work()
    assert len(shop.charges()) == 2
    for n in (3, 4):
        clock.turn(clock.offset() + timedelta(days=1))
        shop.work()
        shop.work()
        assert len(shop.charges()) == n
    assert shop.subscription().next_billing_at > clock.now() or shop.subscription().period_n == 4
    shop.balanced()


def test_a_card_that_fails_at_renewal_puts_it_on_hold_once(shop: Shop) -> None:
    shop.subscribe(card="4000000000000341")
    shop.pass_period()
    shop.work()
    held = shop.subscription()
    assert held.status == "on_hold" and held.on_hold_at is not None and len(shop.charges()) == 1
    types = shop.events()
    assert types.count("subscription.on_hold") == 1 and types.count("payment.failed") == 1
    owed = shop.rows(Invoice, status="open")
    assert len(owed) == 1 and owed[0].due_minor == 2900
    shop.pass_period()
    assert len(shop.rows(Payment)) == 2  # held: nothing more is tried by itself
    # dues pay the invoice that is there, under the next key; the period that was missed is not billed
    method = shop.card()
    with shop.database.open(system(shop.business_id), write=True) as db:
        from billing.payments import PaymentMethod

        card = db.scalar(select(PaymentMethod).where(PaymentMethod.id == method))
        invoice, row = db.scalar(select(Invoice).where(Invoice.id == owed[0].id)), db.scalar(select(Subscription))
        again = renewals.attempt(shop.till, db, invoice, row, card, off_session=False).id
    assert shop.till.start(shop.business_id, again) == "succeeded"
    back = shop.subscription()
    assert back.status == "active" and back.next_billing_at > clock.now() and back.on_hold_at is None
    assert shop.rows(Invoice)[0].number and len(shop.rows(Invoice)) == 2
    keys = [one.key for one in shop.rows(Payment) if one.charge_type == "renewal"]
    assert sorted(key.rsplit("/", 1)[1] for key in keys) == ["1", "2"]
    shop.balanced()


def test_a_held_one_that_is_cancelled_ends_and_its_invoice_is_void(shop: Shop) -> None:
    shop.subscribe(card="4000000000000341")
    shop.pass_period()
    with shop.database.open(system(shop.business_id), write=True) as db:
        cancel_at_period_end(db, shop.subscription_id)
    shop.work()
    assert shop.subscription().status == "cancelled"
    assert [one.status for one in shop.rows(Invoice, kind="renewal")] == ["void"]
    assert "invoice.void" in shop.events()


def test_a_scheduled_cancellation_ends_at_its_date_without_a_charge(shop: Shop) -> None:
    shop.subscribe()
    with shop.database.open(system(shop.business_id), write=True) as db:
        cancel_at_period_end(db, shop.subscription_id, "unused", "Thank you")
    shop.work()
    assert shop.subscription().status == "active"
    shop.pass_period()
    ended = shop.subscription()
    assert ended.status == "cancelled" and ended.cancelled_at is not None and len(shop.charges()) == 1
    shop.pass_period()
    assert len(shop.charges()) == 1 and shop.events().count("subscription.cancelled") == 1


def test_a_trial_takes_nothing_and_is_charged_when_it_ends(shop: Shop) -> None:
    began = shop.subscribe(trial_days=14)
    assert began.status == "succeeded" and began.total_minor == 0
    row = shop.subscription()
    assert row.status == "active" and row.is_trial and not shop.charges() and not shop.rows(Invoice)
    assert row.next_billing_at == row.trial_ends_at
    turn_to(row.trial_ends_at + timedelta(seconds=1))
    shop.work()
    row = shop.subscription()
    assert len(shop.charges()) == 1 and row.period_n == 1 and not row.is_trial
    invoice = shop.rows(Invoice)[0]
    assert (invoice.starts_at, invoice.ends_at) == (row.anchor_at, row.next_billing_at)


def test_something_free_is_settled_without_the_gateway(shop: Shop) -> None:
    assert shop.subscribe(price=0).status == "succeeded"
    shop.pass_period()
    assert shop.subscription().period_n == 2 and not shop.gateway.movements()
    assert [(one.status, one.amount_minor) for one in shop.rows(Invoice)] == [("paid", 0)] * 2  # every period that is billed has its number


def test_a_currency_without_decimals_is_charged_to_the_unit(shop: Shop) -> None:
    began = shop.subscribe(price=1001, currency="JPY", tax={"GB": 1000})
    assert (began.total_minor, began.currency) == (1101, "JPY")
    shop.pass_period()
    assert [(money.minor, money.currency) for _, _, money in shop.gateway.movements()] == [(1101, "JPY")] * 2
    shop.balanced()


def test_credit_is_used_exactly_once(shop: Shop) -> None:
    shop.subscribe()
    with shop.database.open(system(shop.business_id), write=True) as db:
        db.scalar(select(Subscription)).credit_minor = 4000
    shop.pass_period()
    assert shop.subscription().credit_minor == 1100 and len(shop.charges()) == 1  # all of it covered
    shop.pass_period()
    assert shop.subscription().credit_minor == 0 and shop.charges()[-1] == 1800
    shop.pass_period()
    assert shop.charges()[-1] == 2900
    assert sorted(one.credit_applied_minor for one in shop.rows(Invoice)) == [0, 0, 1100, 2900]
    shop.balanced()


def test_it_expires_at_the_end_of_its_term(shop: Shop) -> None:
    shop.subscribe(term=("Month", 2))
    shop.pass_period()
    shop.pass_period()
    assert shop.subscription().status == "expired" and len(shop.charges()) == 2


def test_a_purchase_gives_its_licence_keys_once(shop: Shop) -> None:
    bought = shop.buy(quantity=2, licence=True)
    shop.work()
    shop.till.check(shop.business_id, bought.payment_id)
    keys = shop.rows(LicenseKey)
    assert len(keys) == 2 and len({one.key for one in keys}) == 2
    assert all(one.status == "active" and one.payment_id == bought.payment_id for one in keys)


def test_refunds_in_part_then_in_full_and_never_more(shop: Shop) -> None:
    bought = shop.buy(price=4900)
    scope = system(shop.business_id)
    first = refund(shop.till, scope, bought.payment_id, amount_minor=1900, reason="A part of it")
    assert first.status == "succeeded" and first.is_partial and first.snapshot["credits"] == shop.rows(Invoice)[0].number
    with pytest.raises(Conflict, match="EXCEEDS"):
        refund(shop.till, scope, bought.payment_id, amount_minor=3001)
    line = shop.rows(InvoiceLine)[0]
    other, twice = [{"line_id": "ilin_other", "amount_minor": 1}], [{"line_id": line.id, "amount_minor": 5}] * 2
    for items, error in (([{"line_id": line.id, "amount_minor": 3001}], Conflict), (other, Invalid), (twice, Invalid)):
        with pytest.raises(error):
            refund(shop.till, scope, bought.payment_id, items=items)
    assert refund(shop.till, scope, bought.payment_id).amount_minor == 3000
    with pytest.raises(Conflict, match="ALREADY"):
        refund(shop.till, scope, bought.payment_id)
    assert shop.rows(Invoice)[0].refunded_minor == 4900 == shop.rows(InvoiceLine)[0].refunded_minor
    assert {row.refunded_minor for row in (*shop.rows(CustomerTotal), *shop.rows(SpendMonth))} == {4900}
    shop.balanced()


def test_a_refund_that_got_lost_is_found_not_sent_again(shop: Shop) -> None:
    bought = shop.buy()
    shop.gateway.turn_knob("next_refund", "lost")
    assert refund(shop.till, system(shop.business_id), bought.payment_id).status == "pending"
    shop.overdue()
    shop.work()
    shop.balanced()
    assert shop.rows(CustomerTotal)[0].refunded_minor == 2900


def test_a_person_buys_only_as_one_of_their_own_customers(shop: Shop) -> None:
    ada, ben = shop.customer_id, shop.customer("ben@hill.example")
    with shop.database.open(everything("a second business"), write=True) as db:
        birch = create_business(db, name="Birch", currency="EUR").business_id
    with shop.database.open(system(shop.business_id), write=True) as db:
        product = create_product(db, shop.business_id, name="Desk", price={"type": "one_time_price", "currency": "EUR", "price": 500}).id
        plan = create_product(db, shop.business_id, name="Plan", price=shop.monthly(700)).id
    me = person("idn_ada", [(birch, "cus_elsewhere"), (shop.business_id, ada)])
    for scope in (me, customer_of(shop.business_id, ada)):
        assert buy(shop.till, scope, customer_id=ada, cart=[(product, 1)], payment_method_id=shop.card()).status == "succeeded"
        assert subscribe(shop.till, scope, customer_id=ada, product_id=plan, payment_method_id=shop.card()).status == "succeeded"
        with pytest.raises(NotFound):
            buy(shop.till, scope, customer_id=ben, cart=[(product, 1)], payment_method_id=shop.card(ben))
    assert {one.actor_type for one in shop.rows(Event, type="subscription.created")} == {"customer"}
