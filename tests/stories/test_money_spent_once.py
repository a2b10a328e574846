"""A refund, a credit and a plan change look at each other: no unit of money is given twice."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import select

from billing import renewals
from billing.commands import plan_change, plan_order
from billing.commands.refunding import refund
from billing.invoices import Invoice
from billing.payments import Payment, Refund
from billing.ports import Outcome
from billing.quotes import Quote
from billing.subscriptions import Subscription
from core import clock
from core.errors import Conflict
from tests.cast import Cast
from tests.stories.plans import MAX, Ada, wait
from tests.unpaid import fill_in, settle


@pytest.fixture
def ada(cast: Cast) -> Ada:
    return Ada(cast)


def first(ada: Ada) -> Payment:
    return next(one for one in ada.payments("new") if one.status == "succeeded" and one.amount_minor)


def ask_by_link(ada: Ada) -> Any:
    """The business orders a plan change that the customer pays on a page."""
    wish = plan_order.Order(ada.max, 1, (), "prorated_immediately", by_link=True)
    return plan_order.order(ada.till, ada.business, ada.buyer.subscription_id, wish)


def pay_link(ada: Ada, link: str) -> None:
    fill_in(ada.cast, link)
    settle(ada.cast)
    ada.cast.house.till.reconcile()


def refunds_of(ada: Ada, payment_id: str) -> list[Refund]:
    with ada.house.database.open(ada.business) as db:
        return list(db.scalars(select(Refund).where(Refund.payment_id == payment_id)))


def test_a_refund_calls_back_the_page_of_a_plan_change(ada: Ada) -> None:
    """Pay 29.00, order the change by link, refund the first payment in full, pay the link: nobody gets a month of the dear plan."""
    paid, asked = first(ada), ask_by_link(ada)
    assert asked.link and refund(ada.till, ada.business, paid.id).status == "succeeded"
    [waiting] = ada.payments("plan_change")
    assert waiting.status == "cancelled" and not waiting.is_open
    try:
        pay_link(ada, asked.link)
    except Exception:
        settle(ada.cast)  # the page is closed
    assert ada.subscription.product_id == ada.team
    assert all(one.status != "succeeded" for one in ada.payments("plan_change"))


def test_a_refund_that_is_refused_leaves_the_page_of_a_plan_change_open(ada: Ada) -> None:
    paid, asked = first(ada), ask_by_link(ada)
    with pytest.raises(Conflict, match="REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT"):
        refund(ada.till, ada.business, paid.id, amount_minor=paid.amount_minor + 1)
    assert asked.link and ada.payments("plan_change")[0].is_open
    pay_link(ada, asked.link)
    assert ada.subscription.product_id == ada.max


def test_a_refund_waits_for_a_plan_change_that_the_bank_is_asked_about(ada: Ada) -> None:
    ada.pay_with("4000000000006975")  # the answer is lost
    ada.confirm(ada.quote(ada.max).id)
    assert ada.payments("plan_change")[0].is_open
    with pytest.raises(Conflict, match="PREVIOUS_PAYMENT_PENDING"):
        refund(ada.till, ada.business, first(ada).id)


def test_a_plan_change_waits_for_a_refund(ada: Ada, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, paid = ada.quote(ada.max), first(ada)
    with monkeypatch.context() as broken:
        broken.setattr(ada.till, "start_refund", lambda *_: "pending")
        refund(ada.till, ada.business, paid.id)
    with pytest.raises(Conflict, match="PREVIOUS_PAYMENT_PENDING"):
        ada.confirm(shown.id)
    with pytest.raises(Conflict, match="PREVIOUS_PAYMENT_PENDING"):
        ada.quote(ada.max)
    ada.till.reconcile()
    assert ada.quote(ada.max).due_minor == MAX  # nothing is left to be credited


def test_what_a_plan_change_counts_on_is_checked_again_when_it_is_settled(ada: Ada) -> None:
    """Money that was refunded elsewhere between the page and its payment: the payment goes back, the plan stays."""
    asked, paid = ask_by_link(ada), first(ada)
    with ada.house.database.open(ada.business, write=True) as db:
        invoice = db.scalar(select(Invoice).where(Invoice.id == paid.invoice_id))
        invoice.refunded_minor = invoice.paid_minor
    pay_link(ada, asked.link)
    [late] = ada.payments("plan_change")
    assert late.status == "succeeded" and [one.amount_minor for one in refunds_of(ada, late.id)] == [late.amount_minor]
    assert ada.subscription.product_id == ada.team and ada.subscription.status == "active"


def test_a_page_paid_hours_later_gives_the_period_that_was_shown(ada: Ada) -> None:
    """Unused time is credited up to the moment of the quote, so the new period begins then."""
    asked = ask_by_link(ada)
    with ada.house.database.open(ada.business) as db:
        shown = db.scalar(select(Quote).where(Quote.id == asked.quote_id))
    wait(hours=20)
    pay_link(ada, asked.link)
    assert ada.subscription.product_id == ada.max and ada.subscription.next_billing_at == shown.next_billing_at


def test_a_page_paid_after_its_period_is_over_is_paid_back(ada: Ada) -> None:
    with ada.house.database.open(ada.business, write=True) as db:
        subscription = db.scalar(select(Subscription).where(Subscription.id == ada.buyer.subscription_id))
        wait(seconds=(subscription.next_billing_at - clock.now()).total_seconds() - 20 * 3600)
    wish = plan_order.Order(ada.max, 1, (), "prorated_immediately_keep_cycle", by_link=True)
    asked = plan_order.order(ada.till, ada.business, ada.buyer.subscription_id, wish)
    wait(hours=21)
    pay_link(ada, asked.link)
    [late] = ada.payments("plan_change")
    assert [one.amount_minor for one in refunds_of(ada, late.id)] == [late.amount_minor] and ada.subscription.product_id == ada.team


def test_credit_that_a_refund_takes_cannot_pay_for_a_renewal_meanwhile(ada: Ada, monkeypatch: pytest.MonkeyPatch) -> None:
    ada.confirm(ada.quote(ada.max).id)
    [paid] = ada.payments("plan_change")
    ada.confirm(ada.quote(ada.team, ada.business, mode="prorated_immediately_keep_cycle", effective_at="immediately").id, ada.business)
    credit, bill = ada.subscription.credit_minor, ada.invoice(paid.invoice_id)
    left = bill.paid_minor - (bill.credited_minor - credit)
    with monkeypatch.context() as slow:
        slow.setattr(ada.till, "start_refund", lambda *_: "pending")
        refund(ada.till, ada.business, paid.id, amount_minor=left)
    assert ada.subscription.credit_minor == 0
    wait(days=32)
    renewals.run_due(ada.till)
    assert ada.payments("renewal")[-1].amount_minor == ada.invoice(ada.payments("renewal")[-1].invoice_id).total_minor
    [asked] = refunds_of(ada, paid.id)
    ada.till.record_refund(asked.business_id, asked.id, Outcome("declined", asked.key, error_code="REFUND_FAILED"))
    assert ada.subscription.credit_minor == credit  # the refund failed: the credit is there again
    after = ada.invoice(paid.invoice_id)
    assert (after.refunded_minor, after.credited_minor) == (0, bill.credited_minor)


@pytest.mark.parametrize("seed", range(6))
def test_a_refund_and_a_plan_change_at_the_same_moment(ada: Ada, seed: int) -> None:
    """One of them is refused, or the refund is limited by what became credit."""
    paid, shown = first(ada), ada.quote(ada.max)
    gate, refused = threading.Barrier(2), []

    def run(act: Any) -> None:
        gate.wait()
        try:
            act()
        except Conflict as problem:
            refused.append(problem.code)

    acts = [lambda: refund(ada.till, ada.business, paid.id), lambda: plan_change.confirm(ada.till, ada.scope, shown.id)]
    threads = [threading.Thread(target=run, args=(act,)) for act in (acts if seed % 2 else reversed(acts))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    settle(ada.cast)
    ada.till.reconcile()
    invoice = ada.invoice(paid.invoice_id)
    assert refused and invoice.refunded_minor + invoice.credited_minor <= invoice.paid_minor
    if invoice.refunded_minor:
        assert ada.subscription.product_id == ada.team


def test_a_failed_refund_of_unwanted_money_is_booked_on_no_invoice_when_it_is_made_again(ada: Ada) -> None:
    """The invoice was never paid with it, so it cannot be refunded from it either."""
    ada.pay_with("4000000000006975")
    ada.confirm(ada.quote(ada.max).id)
    [late] = ada.payments("plan_change")
    from billing.commands.ending import cancel_now
    from core.money import Money

    cancel_now(ada.till, ada.business, ada.buyer.subscription_id)
    if ada.payments("plan_change")[0].status != "succeeded":
        ada.till.record(late.business_id, late.id, Outcome("succeeded", late.key, amount=Money(late.amount_minor, late.currency)))
    [back] = refunds_of(ada, late.id)
    if back.status == "pending":
        ada.till.record_refund(back.business_id, back.id, Outcome("declined", back.key, error_code="REFUND_FAILED"))
        again = refund(ada.till, ada.business, late.id)
        assert again.invoice_id is None and again.status in ("succeeded", "pending", "failed")


def test_a_refund_after_a_change_that_billed_nothing_leaves_nothing_to_credit(ada: Ada) -> None:
    """The present plan lives on the first payment, whatever plan it was then: refunded, it is worth nothing at the next change."""
    order = plan_order.Order(ada.max, 1, (), "do_not_bill")
    plan_order.order(ada.till, ada.business, ada.buyer.subscription_id, order)
    refund(ada.till, ada.business, first(ada).id)
    shown = ada.quote(ada.team, ada.business, mode="prorated_immediately", effective_at="immediately")
    assert (shown.unused_minor, shown.credit_minor, shown.due_minor) == (0, 0, shown.total_minor)
