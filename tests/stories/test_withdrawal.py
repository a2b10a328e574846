"""Withdrawing from a contract, below the pages: what is shown is refunded, once, and ledger and tax agree."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging.refund import refund
from billing.charging.refunds import request_refund
from billing.model.consents import Consent
from billing.model.invoices import InvoiceLine
from billing.model.licenses import LicenseKey
from billing.model.parties import Business
from billing.model.payments import Payment, Refund
from billing.model.statements import Statement
from billing.model.withdrawals import Withdrawal
from billing.pricing.tax_setup import from_rates
from billing.statements.withdraw import Contract
from billing.subscriptions.consents import Agreed, record
from billing.subscriptions.subscribe import buy, subscribe
from core import clock
from core.errors import Conflict
from core.scope import everything, system
from tests.stories.business_and_buyer import Site
from tests.stories.withdrawing import quote, withdrawal, withdraws

START = Agreed("immediate_start", "Begin now. I pay for what I used.", "en")
DIGITAL = Agreed("digital_content", "Deliver now. My right to withdraw ends with it.", "en")


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


def of(site: Site) -> Contract:
    return Contract(subscription_id=site.subscription_id)


def agrees(site: Site, *items: Agreed, **contract: str) -> list[Consent]:
    with site.database.open(system(site.business_id), write=True) as db:
        return record(db, items, business_id=site.business_id, customer_id=site.customer_id, **contract)


def agreed(site: Site, tax: dict[str, int] | None = None) -> None:
    """Subscribe for 30.00 a month, with the consent to begin at once."""
    with site.database.open(everything("tax of a story"), write=True) as db:
        db.scalars(select(Business)).one().tax_setup = from_rates(tax or {})
    began = subscribe(
        site.processor, system(site.business_id), customer_id=site.customer_id, product_id=site.product(site.monthly(3000)),
        billing={"country": "GB"}, payment_method_id=site.card(), consents=[START],
    )  # fmt: skip
    site.subscription_id = began.subscription_id or ""


def turn(days: float) -> None:
    clock.turn(clock.now() - clock.wall() + timedelta(days=days))


@pytest.mark.parametrize(("currency", "price"), [("EUR", 2900), ("JPY", 3333), ("KWD", 12345)])
def test_everything_goes_back_without_consent(site: Site, currency: str, price: int) -> None:
    site.subscribe(price=price, currency=currency, tax={"GB": 2000})
    turn(13)
    shown = quote(site, of(site))
    [paid] = site.rows(Payment)
    assert (shown.refund_minor, shown.kept_minor) == (paid.amount_minor, 0)
    withdraws(site, of(site))
    site.work()
    assert site.subscription().status == "cancelled"
    assert [(row.amount_minor, row.status) for row in site.rows(Refund)] == [(paid.amount_minor, "succeeded")]
    assert sum(row.refunded_minor for row in site.rows(InvoiceLine)) == paid.amount_minor
    assert site.rows(Statement)[0].status == "effective"
    site.balanced()


def test_used_days_are_kept_if_the_customer_asked_to_begin(site: Site) -> None:
    agreed(site, tax={"GB": 2000})
    turn(10.5)
    shown = quote(site, of(site))
    [paid] = site.rows(Payment)
    assert shown.used_days == 10
    assert shown.kept_minor == paid.amount_minor * 10 // shown.period_days
    assert shown.refund_minor == paid.amount_minor - shown.kept_minor
    withdraws(site, of(site))
    site.work()
    assert [row.amount_minor for row in site.rows(Refund)] == [shown.refund_minor]
    assert withdrawal(site).kept_minor == shown.kept_minor
    site.balanced()
    [line] = site.rows(InvoiceLine)
    assert line.refunded_minor == shown.refund_minor


def test_what_was_not_shown_is_not_done(site: Site) -> None:
    agreed(site)
    turn(3.2)
    shown = quote(site, of(site)).refund_minor
    turn(1)
    with pytest.raises(Conflict) as refused:
        withdraws(site, of(site), shown)
    assert refused.value.code == "WITHDRAWAL_CHANGED"
    assert not site.rows(Refund) and not site.rows(Statement) and site.subscription().status == "active"


def test_renewals_within_the_period_go_back_and_do_not_start_the_right_again(site: Site) -> None:
    site.subscribe(price=700)
    weekly = site.product({**site.monthly(700), "payment_frequency_interval": "Week"})

    site.subscription_id = subscribe(
        site.processor, system(site.business_id), customer_id=site.customer_id, product_id=weekly, billing={"country": "DE"},
        payment_method_id=site.card(),
    ).subscription_id or ""  # fmt: skip
    site.pass_period()
    assert len(site.rows(Payment, subscription_id=site.subscription_id)) == 2
    assert quote(site, of(site)).refund_minor == 1400
    withdraws(site, of(site))
    site.work()
    assert sum(row.amount_minor for row in site.rows(Refund)) == 1400
    site.balanced()


def test_after_the_period_there_is_no_right(site: Site) -> None:
    site.subscribe()
    for _ in range(2):
        site.pass_period()
    assert quote(site, of(site)).right.state == "over"
    with pytest.raises(Conflict) as refused:
        withdraws(site, of(site))
    assert refused.value.code == "WITHDRAWAL_NOT_POSSIBLE"


def test_a_trial_is_withdrawn_from_with_nothing_to_refund(site: Site) -> None:
    site.subscribe(trial_days=30)
    turn(2)
    withdraws(site, of(site))
    assert site.subscription().status == "cancelled"
    assert (withdrawal(site).refund_minor, site.rows(Refund)) == (0, [])


@pytest.mark.parametrize("times", [2])
def test_two_tabs_withdraw_once(site: Site, times: int) -> None:
    site.subscribe()
    shown, found, errors = quote(site, of(site)).refund_minor, [], []

    def confirm() -> None:
        try:
            found.append(withdraws(site, of(site), shown))
        except Exception as error:  # noqa: BLE001 - asserted below
            errors.append(error)

    threads = [threading.Thread(target=confirm) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    site.work()
    assert not errors and len(set(found)) == 1
    assert len(site.rows(Refund)) == len(site.rows(Withdrawal)) == len(site.rows(Statement)) == 1
    site.balanced()


def test_a_refund_by_staff_at_the_same_time_pays_nothing_twice(site: Site) -> None:
    began = site.subscribe(price=2900)
    shown, refused = quote(site, of(site)).refund_minor, []

    def run(do: Any) -> None:
        try:
            do()
        except Conflict as error:
            refused.append(error.code)

    threads = [
        threading.Thread(target=run, args=(do,))
        for do in (
            lambda: withdraws(site, of(site), shown),
            lambda: refund(site.processor, system(site.business_id), began.payment_id, amount_minor=900),
        )
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    site.work()
    made = sum(row.amount_minor for row in site.rows(Refund) if row.status == "succeeded")
    assert made in (900, 2900) and len(refused) <= 1
    if site.rows(Withdrawal):
        assert site.subscription().status == "cancelled"
        assert made == 2900 or site.rows(Statement)[0].status == "waiting"
    else:
        assert refused == ["WITHDRAWAL_CHANGED"]
    site.balanced()


def test_a_crash_before_the_refund_is_sent_refunds_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.subscribe()

    def crash(*_: Any) -> str:
        raise SystemExit("killed")

    with monkeypatch.context() as patched:
        patched.setattr(type(site.processor), "start_refund", crash)
        with pytest.raises(SystemExit):
            withdraws(site, of(site))
    assert site.subscription().status == "cancelled"
    assert [row.status for row in site.rows(Refund)] == ["pending"]
    site.overdue()
    site.processor.reconcile()
    assert [row.status for row in site.rows(Refund)] == ["succeeded"]
    withdraws(site, of(site), 0)
    site.balanced()


def test_what_staff_refunded_before_is_not_refunded_again(site: Site) -> None:
    began = site.subscribe(price=2900)
    refund(site.processor, system(site.business_id), began.payment_id, amount_minor=900)
    assert quote(site, of(site)).refund_minor == 2000
    withdraws(site, of(site))
    assert sorted(row.amount_minor for row in site.rows(Refund)) == [900, 2000]
    site.balanced()


def test_a_refund_in_progress_leaves_the_rest_to_staff(site: Site) -> None:
    began = site.subscribe(price=2900)
    with site.database.open(everything("a refund that waits"), write=True) as db:
        paid = db.get(Payment, (site.business_id, began.payment_id))
        assert paid is not None
        request_refund(db, paid, 100, "part", site.services.settings)
    shown = quote(site, of(site))
    assert (shown.refund_minor, shown.by_staff_minor) == (2800, 2800), "100 are on their way"
    withdraws(site, of(site))
    assert site.subscription().status == "cancelled"
    assert site.rows(Statement)[0].status == "waiting"
    assert len(site.rows(Refund)) == 1


@pytest.mark.parametrize("kind", ["immediate_start", "digital_content"])
def test_a_business_cannot_end_the_right_afterwards(site: Site, kind: Any) -> None:
    """A consent that is recorded after the purchase takes nothing away, whatever it says about its time."""
    site.subscribe(price=3000)
    turn(5.1)
    agrees(
        site, Agreed(kind, "They said yes, really.", "en", agreed_at=clock.now() - timedelta(days=5)), subscription_id=site.subscription_id
    )
    shown = quote(site, of(site))
    assert (shown.right.state, shown.kept_minor) == ("open", 0)
    turn(2)
    assert quote(site, of(site)).kept_minor == 0


def test_digital_content_delivered_with_consent_ends_the_right(site: Site) -> None:

    product = site.product({"type": "one_time_price", "currency": "EUR", "price": 4900}, license_key_enabled=True)
    bought = buy(
        site.processor, system(site.business_id), customer_id=site.customer_id, cart=[(product, 1)], payment_method_id=site.card(),
        consents=[DIGITAL],
    )  # fmt: skip
    contract = Contract(payment_id=bought.payment_id)
    assert quote(site, contract).right.state == "delivered"
    with pytest.raises(Conflict):
        withdraws(site, contract)
    assert not site.rows(Refund)


def test_a_cart_is_withdrawn_from_item_by_item(site: Site) -> None:

    price = {"type": "one_time_price", "currency": "EUR", "price": 1000}
    items = [(site.product(price, license_key_enabled=True), 2), (site.product({**price, "price": 333}, license_key_enabled=True), 1)]
    bought = buy(
        site.processor, system(site.business_id), customer_id=site.customer_id, cart=items, payment_method_id=site.card(),
        billing={"country": "GB"},
    )  # fmt: skip
    first, second = quote(site, Contract(payment_id=bought.payment_id)).lines
    one = Contract(payment_id=bought.payment_id, line_ids=[first.id])
    assert quote(site, one).refund_minor == first.minor == 2000
    withdraws(site, one)
    site.work()
    keys = {key.product_id: key.status for key in site.rows(LicenseKey)}
    assert keys == {items[0][0]: "disabled", items[1][0]: "active"}
    assert withdraws(site, one, 2000) == withdrawal(site).id, "confirming again does nothing"
    rest = Contract(payment_id=bought.payment_id)
    assert quote(site, rest).refund_minor == second.minor == 333
    withdraws(site, rest)
    site.work()
    assert {row.refunded_minor for row in site.rows(InvoiceLine)} == {2000, 333}
    assert {key.status for key in site.rows(LicenseKey)} == {"disabled"}
    site.balanced()
