"""A year of billing with a moved clock: every charge on its date, every amount equal in both ledgers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from billing.catalogue.products import create_product
from billing.charging.refund import refund
from billing.customers.businesses import create_business
from billing.model.invoices import Invoice, InvoiceLine
from billing.model.licenses import LicenseKey
from billing.model.parties import CustomerTotal, SpendMonth
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from billing.renewals import renew
from billing.subscriptions.cancel import cancel_at_period_end
from billing.subscriptions.subscribe import buy, subscribe
from core import clock
from core.errors import Conflict, Invalid, NotFound
from core.outbox import Event
from core.scope import customer_of, everything, person, system
from tests.stories.business_and_buyer import Site, turn_to

# a leap year; London changes its clocks on 26 March and 29 October 2028, New York on 12 March and 5 November
FIRST_DAY = {"Europe/London": datetime(2028, 1, 31, 9, tzinfo=UTC), "America/New_York": datetime(2028, 1, 31, 14, tzinfo=UTC)}


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


@pytest.mark.parametrize("zone", FIRST_DAY)
def test_a_year_from_the_31st_of_january(processor_services: Any, zone: str) -> None:
    turn_to(FIRST_DAY[zone])
    site = Site.open(processor_services, zone=zone)
    site.subscribe()
    ends = ["02-29", "03-31", "04-30", "05-31", "06-30", "07-31", "08-31", "09-30", "10-31", "11-30", "12-31"]
    hours = {FIRST_DAY[zone].hour}
    for n, day in enumerate(ends, start=2):
        due = site.subscription().next_billing_at
        hours.add(due.hour)
        assert due.astimezone(ZoneInfo(zone)).strftime("%m-%d %H") == f"{day} 09"
        turn_to(due - timedelta(minutes=1))
        assert renew.run_due(site.processor) == 0  # never early
        turn_to(due + timedelta(minutes=3))
        site.work()
        site.work()
        assert site.subscription().period_n == n
    assert hours == {FIRST_DAY[zone].hour, FIRST_DAY[zone].hour - 1}  # an hour earlier in UTC all summer, and back again
    turn_to(site.subscription().next_billing_at + timedelta(minutes=3))
    site.work()
    assert len(site.charges()) == 13 == len(site.rows(Invoice, status="paid"))  # the first one, and 12 renewals
    assert len({(entry.starts_at, entry.ends_at) for entry in site.rows(Invoice)}) == 13
    months = {row.month: row.paid_minor for row in site.rows(SpendMonth)}
    assert months == dict.fromkeys(["2028-01", *(f"2028-{day[:2]}" for day in ends), "2029-01"], 2900)
    site.balanced()
    numbers = sorted(entry.number for entry in site.rows(Invoice))
    assert numbers == [f"ACO-{n:04d}" for n in range(1, 14)]


def test_after_ninety_days_down_each_subscription_renews_once_a_day(site: Site) -> None:
    site.subscribe()
    first = site.subscription().next_billing_at
    turn_to(first.replace(hour=6) + timedelta(days=90))
    for _ in range(4):
        site.work()
    assert len(site.charges()) == 2
    for n in (3, 4):
        clock.turn(clock.offset() + timedelta(days=1))
        site.work()
        site.work()
        assert len(site.charges()) == n
    assert site.subscription().next_billing_at > clock.now() or site.subscription().period_n == 4
    site.balanced()


def test_a_card_that_fails_at_renewal_puts_it_on_hold_once(site: Site) -> None:
    site.subscribe(card="4000000000000341")
    site.pass_period()
    site.work()
    held = site.subscription()
    assert held.status == "on_hold" and held.on_hold_at is not None and len(site.charges()) == 1
    types = site.events()
    assert types.count("subscription.on_hold") == 1 and types.count("payment.failed") == 1
    owed = site.rows(Invoice, status="open")
    assert len(owed) == 1 and owed[0].due_minor == 2900
    site.pass_period()
    assert len(site.rows(Payment)) == 2  # on hold: no automatic retry
    # dues pay the invoice that is there, under the next key; the period that was missed is not billed
    method = site.card()
    with site.database.open(system(site.business_id), write=True) as db:
        from billing.model.payments import PaymentMethod

        card = db.scalar(select(PaymentMethod).where(PaymentMethod.id == method))
        invoice, row = db.scalar(select(Invoice).where(Invoice.id == owed[0].id)), db.scalar(select(Subscription))
        again = renew.attempt(site.processor, db, invoice, row, card, off_session=False).id
    assert site.processor.start(site.business_id, again) == "succeeded"
    back = site.subscription()
    assert back.status == "active" and back.next_billing_at > clock.now() and back.on_hold_at is None
    assert site.rows(Invoice)[0].number and len(site.rows(Invoice)) == 2
    keys = [entry.key for entry in site.rows(Payment) if entry.charge_type == "renewal"]
    assert sorted(key.rsplit("/", 1)[1] for key in keys) == ["1", "2"]
    site.balanced()


def test_cancelling_on_hold_ends_it_and_voids_the_invoice(site: Site) -> None:
    site.subscribe(card="4000000000000341")
    site.pass_period()
    with site.database.open(system(site.business_id), write=True) as db:
        cancel_at_period_end(db, site.subscription_id)
    site.work()
    assert site.subscription().status == "cancelled"
    assert [row.status for row in site.rows(Invoice, kind="renewal")] == ["void"]
    assert "invoice.void" in site.events()


def test_a_scheduled_cancellation_ends_at_its_date_without_a_charge(site: Site) -> None:
    site.subscribe()
    with site.database.open(system(site.business_id), write=True) as db:
        cancel_at_period_end(db, site.subscription_id, "unused", "Thank you")
    site.work()
    assert site.subscription().status == "active"
    site.pass_period()
    ended = site.subscription()
    assert ended.status == "cancelled" and ended.cancelled_at is not None and len(site.charges()) == 1
    site.pass_period()
    assert len(site.charges()) == 1 and site.events().count("subscription.cancelled") == 1


def test_a_trial_is_free_and_charged_when_it_ends(site: Site) -> None:
    began = site.subscribe(trial_days=14)
    assert began.status == "succeeded" and began.total_minor == 0
    row = site.subscription()
    assert row.status == "active" and row.is_trial and not site.charges() and not site.rows(Invoice)
    assert row.next_billing_at == row.trial_ends_at
    turn_to(row.trial_ends_at + timedelta(seconds=1))
    site.work()
    row = site.subscription()
    assert len(site.charges()) == 1 and row.period_n == 1 and not row.is_trial
    invoice = site.rows(Invoice)[0]
    assert (invoice.starts_at, invoice.ends_at) == (row.anchor_at, row.next_billing_at)


def test_a_free_purchase_does_not_use_the_gateway(site: Site) -> None:
    assert site.subscribe(price=0).status == "succeeded"
    site.pass_period()
    assert site.subscription().period_n == 2 and not site.gateway.movements()
    assert [(row.status, row.amount_minor) for row in site.rows(Invoice)] == [("paid", 0)] * 2  # every period that is billed has its number


def test_a_currency_without_decimals_is_charged_to_the_unit(site: Site) -> None:
    began = site.subscribe(price=1001, currency="JPY", tax={"GB": 1000})
    assert (began.total_minor, began.currency) == (1101, "JPY")
    site.pass_period()
    assert [(money.minor, money.currency) for _, _, money in site.gateway.movements()] == [(1101, "JPY")] * 2
    site.balanced()


def test_credit_is_used_once(site: Site) -> None:
    site.subscribe()
    with site.database.open(system(site.business_id), write=True) as db:
        db.scalar(select(Subscription)).credit_minor = 4000
    site.pass_period()
    assert site.subscription().credit_minor == 1100 and len(site.charges()) == 1  # all of it covered
    site.pass_period()
    assert site.subscription().credit_minor == 0 and site.charges()[-1] == 1800
    site.pass_period()
    assert site.charges()[-1] == 2900
    assert sorted(row.credit_applied_minor for row in site.rows(Invoice)) == [0, 0, 1100, 2900]
    site.balanced()


def test_a_subscription_expires_at_the_end_of_its_term(site: Site) -> None:
    site.subscribe(term=("Month", 2))
    site.pass_period()
    site.pass_period()
    assert site.subscription().status == "expired" and len(site.charges()) == 2


def test_a_purchase_creates_its_license_keys_once(site: Site) -> None:
    bought = site.buy(quantity=2, licence=True)
    site.work()
    site.processor.check(site.business_id, bought.payment_id)
    keys = site.rows(LicenseKey)
    assert len(keys) == 2 and len({item.key for item in keys}) == 2
    assert all(item.status == "active" and item.payment_id == bought.payment_id for item in keys)


def test_refunds_never_exceed_the_payment(site: Site) -> None:
    bought = site.buy(price=4900)
    scope = system(site.business_id)
    first = refund(site.processor, scope, bought.payment_id, amount_minor=1900, reason="A part of it")
    assert first.status == "succeeded" and first.is_partial and first.snapshot["credits"] == site.rows(Invoice)[0].number
    with pytest.raises(Conflict, match="EXCEEDS"):
        refund(site.processor, scope, bought.payment_id, amount_minor=3001)
    line = site.rows(InvoiceLine)[0]
    other, twice = [{"line_id": "ilin_other", "amount_minor": 1}], [{"line_id": line.id, "amount_minor": 5}] * 2
    for items, error in (([{"line_id": line.id, "amount_minor": 3001}], Conflict), (other, Invalid), (twice, Invalid)):
        with pytest.raises(error):
            refund(site.processor, scope, bought.payment_id, items=items)
    assert refund(site.processor, scope, bought.payment_id).amount_minor == 3000
    with pytest.raises(Conflict, match="ALREADY"):
        refund(site.processor, scope, bought.payment_id)
    assert site.rows(Invoice)[0].refunded_minor == 4900 == site.rows(InvoiceLine)[0].refunded_minor
    assert {row.refunded_minor for row in (*site.rows(CustomerTotal), *site.rows(SpendMonth))} == {4900}
    site.balanced()


def test_a_lost_refund_is_looked_up_and_not_sent_again(site: Site) -> None:
    bought = site.buy()
    site.gateway.turn_knob("next_refund", "lost")
    assert refund(site.processor, system(site.business_id), bought.payment_id).status == "pending"
    site.overdue()
    site.work()
    site.balanced()
    assert site.rows(CustomerTotal)[0].refunded_minor == 2900


def test_a_person_buys_only_as_one_of_their_own_customers(site: Site) -> None:
    ada, ben = site.customer_id, site.customer("ben@hill.example")
    with site.database.open(everything("a second business"), write=True) as db:
        birch = create_business(db, name="Birch", currency="EUR").business_id
    with site.database.open(system(site.business_id), write=True) as db:
        product = create_product(db, site.business_id, name="Desk", price={"type": "one_time_price", "currency": "EUR", "price": 500}).id
        plan = create_product(db, site.business_id, name="Plan", price=site.monthly(700)).id
    me = person("idn_ada", [(birch, "cus_elsewhere"), (site.business_id, ada)])
    for scope in (me, customer_of(site.business_id, ada)):
        assert buy(site.processor, scope, customer_id=ada, cart=[(product, 1)], payment_method_id=site.card()).status == "succeeded"
        assert subscribe(site.processor, scope, customer_id=ada, product_id=plan, payment_method_id=site.card()).status == "succeeded"
        with pytest.raises(NotFound):
            buy(site.processor, scope, customer_id=ben, cart=[(product, 1)], payment_method_id=site.card(ben))
    assert {row.actor_type for row in site.rows(Event, type="subscription.created")} == {"customer"}
