"""Unused time goes back once, whoever gives it back, and nobody pays for days after a pause or the end as if they were used."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from billing.charging.ports import ChargeOutcome
from billing.charging.refund import refund
from billing.charging.refund_reversal import record_refund_failure, reverse_refund
from billing.charging.refunds import request_refund
from billing.model.disputes import Dispute
from billing.model.invoices import InvoiceLine
from billing.model.payments import Payment, Refund
from billing.model.receipts import Receipt
from billing.model.statements import Statement
from billing.model.withdrawals import Withdrawal
from billing.statements import staff_withdrawals
from billing.statements.withdraw import Contract
from billing.statements.withdrawal_queries import WithdrawalState, withdrawals_of
from billing.subscriptions.cancel import cancel_at_period_end
from billing.subscriptions.end_now import cancel_now
from billing.subscriptions.pause import pause, resume
from billing.subscriptions.subscribe import buy
from core import clock
from core.errors import Conflict
from core.scope import everything, staff, system
from gateways.sandbox import returns
from tests.stories.business_and_buyer import Site
from tests.stories.self_refund_site import assessed, customer_scope, later, refund_own, shown, with_policy
from tests.stories.test_disputes import DISPUTED, told
from tests.stories.test_self_refunds import run_together
from tests.stories.test_withdrawal import agreed, of
from tests.stories.withdrawing import quote, withdrawal, withdraws


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


def do(site: Site, command: Any) -> None:
    with site.database.open(staff(site.business_id, "mem_test"), write=True) as db:
        command(db, site.subscription_id)


def given_back(site: Site) -> int:
    return sum(row.amount_minor for row in site.rows(Refund))


@pytest.mark.parametrize("by", ["customer", "withdrawal", "staff"])
def test_unused_time_that_went_back_is_not_refunded_again(site: Site, by: str) -> None:
    with_policy(site, amount="prorated")
    agreed(site)
    later(days=10)
    [paid] = site.rows(Payment)
    unused = assessed(site, paid.id).amount_minor
    assert 0 < unused < 3000
    if by == "customer":
        refund_own(site, paid.id)
    elif by == "withdrawal":
        withdraws(site, of(site))
    else:
        cancel_now(site.processor, customer_scope(site), site.subscription_id)
        refund(site.processor, system(site.business_id), paid.id, amount_minor=unused)
    site.work()
    found, before = assessed(site, paid.id), given_back(site)
    assert before == pytest.approx(unused, abs=1) and (found.obstacle, found.amount_minor) == ("nothing_left", 0)
    with pytest.raises(Conflict, match="NOTHING_TO_REFUND"):
        refund_own(site, paid.id)
    assert given_back(site) == before
    site.balanced()


@pytest.mark.parametrize("how", ["ends", "pauses", "ends while paused", "pauses and resumes"])
def test_a_withdrawal_keeps_nothing_for_days_after_the_end_or_of_a_pause(site: Site, how: str) -> None:
    agreed(site)
    later(days=2.5)
    if how != "ends":
        do(site, pause)
    if how in ("ends", "ends while paused"):
        later(days=0 if how == "ends" else 3)
        cancel_now(site.processor, customer_scope(site), site.subscription_id)
    later(days=8)
    used = 2
    if how == "pauses and resumes":
        do(site, resume)
        later(days=2)
        used = 4
    shown = quote(site, of(site))
    assert (shown.used_days, shown.kept_minor) == (used, 3000 * used // shown.period_days)
    withdraws(site, of(site))
    site.work()
    assert given_back(site) == 3000 - shown.kept_minor


@pytest.mark.parametrize("moved", [False, True])
def test_a_self_refund_counts_no_time_after_a_pause(site: Site, moved: bool) -> None:
    """The subscription ends during a pause, or after one that moved its dates."""
    with_policy(site, amount="prorated")
    began = site.subscribe(price=3000)
    later(days=2)
    do(site, pause)
    shown = assessed(site, began.payment_id).amount_minor
    later(days=5)
    if moved:
        do(site, resume)
    cancel_now(site.processor, customer_scope(site), site.subscription_id)
    later(days=1)
    assert assessed(site, began.payment_id).amount_minor == pytest.approx(shown, abs=1)


def test_a_receipt_names_no_payment_after_the_end(site: Site) -> None:
    site.subscribe(price=3000)
    do(site, pause)
    do(site, cancel_at_period_end)
    do(site, resume)
    [row] = site.rows(Receipt, kind="resume")
    assert row.content["facts"] == []
    ends_at = site.subscription().next_billing_at
    later(seconds=(ends_at - clock.now()).total_seconds() + 60)
    site.work()
    assert site.subscription().status == "cancelled" and site.charges() == [3000]


def fails(site: Site, refund_id: str, *, was_made: bool = False) -> None:
    """Record that a refund failed, and do what follows."""
    with site.database.open(system(site.business_id), write=True) as db:
        row = db.scalars(select(Refund).where(Refund.id == refund_id).with_for_update()).one()
        (reverse_refund if was_made else record_refund_failure)(db, row, ChargeOutcome("declined", row.key, error_code="RETURNED"))
    for _ in range(2):  # events may be delivered twice
        staff_withdrawals.refund_failed(site.database, site.business_id, refund_id)


def states(site: Site, **about: str) -> list[WithdrawalState]:
    with site.database.open(everything("withdrawals of a story")) as db:
        return withdrawals_of(db, **about)


def test_a_refund_that_was_on_its_way_before_a_withdrawal_and_fails_is_owed_again(site: Site) -> None:
    agreed(site)
    later(days=10)
    [paid] = site.rows(Payment)
    with site.database.open(everything("a refund on its way"), write=True) as db:
        payment = db.scalars(select(Payment).with_for_update()).one()
        waiting = request_refund(db, payment, 2500, "part", site.services.settings).id
    shown = quote(site, of(site))
    assert shown.refund_minor == 0
    withdraws(site, of(site))
    assert site.rows(Statement)[0].status == "effective"
    fails(site, waiting)
    [state] = states(site, subscription_id=site.subscription_id)
    owed = 3000 - 3000 * 10 // shown.period_days
    assert site.rows(Statement)[0].status == "waiting" and abs(state.left_minor - owed) <= 1
    refund(site.processor, system(site.business_id), paid.id, amount_minor=state.left_minor)
    [state] = states(site, subscription_id=site.subscription_id)
    assert state.left_minor == 0


def test_a_dispute_that_ends_after_a_withdrawal_does_not_keep_the_money(processor_services: Any) -> None:
    site = Site.open(processor_services)
    site.subscribe(price=2900, card=DISPUTED)
    told(site)
    [dispute] = site.rows(Dispute)
    withdraws(site, of(site))
    assert (withdrawal(site).refund_minor, site.rows(Statement)[0].status) == (0, "effective")
    site.gateway.on_page(returns.decide_dispute, dispute.reference, "dispute_won")
    told(site)
    for _ in range(2):
        staff_withdrawals.dispute_returned(site.database, site.business_id, dispute.id)
    [state] = states(site, subscription_id=site.subscription_id)
    assert (state.left_minor, site.rows(Statement)[0].status) == (2900, "waiting")


def test_two_withdrawals_from_one_purchase_do_not_count_each_others_refunds(site: Site) -> None:
    products = [site.product({"type": "one_time_price", "currency": "EUR", "price": price}) for price in (6000, 4000)]
    bought = buy(
        site.processor, system(site.business_id), customer_id=site.customer_id, cart=[(id, 1) for id in products],
        payment_method_id=site.card(),
    )  # fmt: skip
    for line in sorted(site.rows(InvoiceLine), key=lambda row: row.position):
        withdraws(site, Contract(payment_id=bought.payment_id, line_ids=[line.id]))
    assert [(item.refunded_minor, item.left_minor) for item in states(site, payment_id=bought.payment_id)] == [(6000, 0), (4000, 0)]
    [first] = site.rows(Refund, amount_minor=6000)
    fails(site, first.id, was_made=True)
    assert [item.left_minor for item in states(site, payment_id=bought.payment_id)] == [6000, 0]


@pytest.mark.parametrize("seed", range(3))
def test_a_withdrawal_meets_a_self_refund_a_cancellation_and_staff(site: Site, seed: int) -> None:
    """All at the same moment: one end, at most one withdrawal, and no more than was paid goes back."""
    with_policy(site)
    began = site.subscribe(price=2900)
    page, due = shown(site, began.payment_id), quote(site, of(site)).refund_minor
    run_together(
        [
            lambda: withdraws(site, of(site), due),
            lambda: refund_own(site, began.payment_id, page),
            lambda: cancel_now(site.processor, customer_scope(site), site.subscription_id),
            lambda: refund(site.processor, system(site.business_id), began.payment_id, amount_minor=900),
        ],
        seed,
    )
    site.work()
    assert given_back(site) in (900, 2900) and len({row.key for row in site.rows(Refund)}) == len(site.rows(Refund))
    assert site.subscription().status == "cancelled" and site.events().count("subscription.cancelled") == 1
    assert len(site.rows(Withdrawal)) == len(site.rows(Statement)) <= 1
    site.balanced()
