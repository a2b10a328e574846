"""Refunds, credit and plan changes check each other, so that no amount is used twice."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging.ports import ChargeOutcome
from billing.charging.refund import refund
from billing.model.invoices import Invoice
from billing.model.payments import Payment, Refund
from billing.model.quotes import Quote
from billing.model.subscriptions import Subscription
from billing.plan_changes import business_order
from billing.plan_changes import confirm as confirm_plan_change
from billing.renewals import renew
from core import clock
from core.errors import Conflict
from tests.cast import Cast
from tests.stories.ada_subscription import MAX, Ada, wait
from tests.unpaid_renewals import fill_in, settle


@pytest.fixture
def ada(cast: Cast) -> Ada:
    return Ada(cast)


def first(ada: Ada) -> Payment:
    return next(payment for payment in ada.payments("new") if payment.status == "succeeded" and payment.amount_minor)


def ask_by_link(ada: Ada) -> Any:
    """Order a plan change by the business that the customer pays on a page."""
    plan_order = business_order.PlanChangeOrder(ada.max, 1, (), "prorated_immediately", by_link=True)
    return business_order.order(ada.processor, ada.business, ada.buyer.subscription_id, plan_order)


def pay_link(ada: Ada, link: str) -> None:
    fill_in(ada.cast, link)
    settle(ada.cast)
    ada.cast.services.processor.reconcile()


def refunds_of(ada: Ada, payment_id: str) -> list[Refund]:
    with ada.services.database.open(ada.business) as db:
        return list(db.scalars(select(Refund).where(Refund.payment_id == payment_id)))


def test_a_refund_cancels_the_payment_page_of_a_plan_change(ada: Ada) -> None:
    """Pay 29.00, order a plan by link, refund the first payment in full, pay the link: no month of the expensive plan is given."""
    paid, asked = first(ada), ask_by_link(ada)
    assert asked.link and refund(ada.processor, ada.business, paid.id).status == "succeeded"
    [waiting] = ada.payments("plan_change")
    assert waiting.status == "cancelled" and not waiting.is_open
    try:
        pay_link(ada, asked.link)
    except Exception:
        settle(ada.cast)  # the page is closed
    assert ada.subscription.product_id == ada.team
    assert all(payment.status != "succeeded" for payment in ada.payments("plan_change"))


def test_a_refused_refund_keeps_the_payment_page_of_a_plan_change(ada: Ada) -> None:
    paid, asked = first(ada), ask_by_link(ada)
    with pytest.raises(Conflict, match="REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT"):
        refund(ada.processor, ada.business, paid.id, amount_minor=paid.amount_minor + 1)
    assert asked.link and ada.payments("plan_change")[0].is_open
    pay_link(ada, asked.link)
    assert ada.subscription.product_id == ada.max


def test_a_refund_waits_for_a_plan_change_that_needs_confirmation(ada: Ada) -> None:
    ada.pay_with("4000000000006975")  # the answer is lost
    ada.confirm(ada.quote(ada.max).id)
    assert ada.payments("plan_change")[0].is_open
    with pytest.raises(Conflict, match="PREVIOUS_PAYMENT_PENDING"):
        refund(ada.processor, ada.business, first(ada).id)


def test_a_plan_change_waits_for_a_refund(ada: Ada, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, paid = ada.quote(ada.max), first(ada)
    with monkeypatch.context() as broken:
        broken.setattr(ada.processor, "start_refund", lambda *_: "pending")
        refund(ada.processor, ada.business, paid.id)
    with pytest.raises(Conflict, match="PREVIOUS_PAYMENT_PENDING"):
        ada.confirm(shown.id)
    with pytest.raises(Conflict, match="PREVIOUS_PAYMENT_PENDING"):
        ada.quote(ada.max)
    ada.processor.reconcile()
    assert ada.quote(ada.max).due_minor == MAX  # nothing is left to be credited


def test_a_plan_change_is_checked_again_at_settlement(ada: Ada) -> None:
    """Credited money was refunded while the page was open. The payment is refunded, and the plan stays."""
    asked, paid = ask_by_link(ada), first(ada)
    with ada.services.database.open(ada.business, write=True) as db:
        invoice = db.scalar(select(Invoice).where(Invoice.id == paid.invoice_id))
        invoice.refunded_minor = invoice.paid_minor
    pay_link(ada, asked.link)
    [late] = ada.payments("plan_change")
    assert late.status == "succeeded" and [item.amount_minor for item in refunds_of(ada, late.id)] == [late.amount_minor]
    assert ada.subscription.product_id == ada.team and ada.subscription.status == "active"


def test_a_page_paid_hours_later_gives_the_period_that_was_shown(ada: Ada) -> None:
    """Unused time is credited up to the time of the quote, so the new period begins then."""
    asked = ask_by_link(ada)
    with ada.services.database.open(ada.business) as db:
        shown = db.scalar(select(Quote).where(Quote.id == asked.quote_id))
    wait(hours=20)
    pay_link(ada, asked.link)
    assert ada.subscription.product_id == ada.max and ada.subscription.next_billing_at == shown.next_billing_at


def test_a_plan_change_paid_after_its_period_is_refunded(ada: Ada) -> None:
    with ada.services.database.open(ada.business, write=True) as db:
        subscription = db.scalar(select(Subscription).where(Subscription.id == ada.buyer.subscription_id))
        wait(seconds=(subscription.next_billing_at - clock.now()).total_seconds() - 20 * 3600)
    plan_order = business_order.PlanChangeOrder(ada.max, 1, (), "prorated_immediately_keep_cycle", by_link=True)
    asked = business_order.order(ada.processor, ada.business, ada.buyer.subscription_id, plan_order)
    wait(hours=21)
    pay_link(ada, asked.link)
    [late] = ada.payments("plan_change")
    assert [item.amount_minor for item in refunds_of(ada, late.id)] == [late.amount_minor] and ada.subscription.product_id == ada.team


def test_credit_taken_by_a_refund_cannot_pay_a_renewal(ada: Ada, monkeypatch: pytest.MonkeyPatch) -> None:
    ada.confirm(ada.quote(ada.max).id)
    [paid] = ada.payments("plan_change")
    ada.confirm(ada.quote(ada.team, ada.business, mode="prorated_immediately_keep_cycle", effective_at="immediately").id, ada.business)
    credit, bill = ada.subscription.credit_minor, ada.invoice(paid.invoice_id)
    left = bill.paid_minor - (bill.credited_minor - credit)
    with monkeypatch.context() as slow:
        slow.setattr(ada.processor, "start_refund", lambda *_: "pending")
        refund(ada.processor, ada.business, paid.id, amount_minor=left)
    assert ada.subscription.credit_minor == 0
    wait(days=32)
    renew.run_due(ada.processor)
    assert ada.payments("renewal")[-1].amount_minor == ada.invoice(ada.payments("renewal")[-1].invoice_id).total_minor
    [asked] = refunds_of(ada, paid.id)
    ada.processor.record_refund(asked.business_id, asked.id, ChargeOutcome("declined", asked.key, error_code="REFUND_FAILED"))
    assert ada.subscription.credit_minor == credit  # the refund failed: the credit is there again
    after = ada.invoice(paid.invoice_id)
    assert (after.refunded_minor, after.credited_minor) == (0, bill.credited_minor)


@pytest.mark.parametrize("seed", range(6))
def test_a_parallel_refund_and_plan_change_spend_credit_once(ada: Ada, seed: int) -> None:
    """One of them is refused, or the refund is reduced by the amount that became credit."""
    paid, shown = first(ada), ada.quote(ada.max)
    gate, refused = threading.Barrier(2), []

    def run(act: Any) -> None:
        gate.wait()
        try:
            act()
        except Conflict as problem:
            refused.append(problem.code)

    acts = [lambda: refund(ada.processor, ada.business, paid.id), lambda: confirm_plan_change.confirm(ada.processor, ada.scope, shown.id)]
    threads = [threading.Thread(target=run, args=(act,)) for act in (acts if seed % 2 else reversed(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settle(ada.cast)
    ada.processor.reconcile()
    invoice = ada.invoice(paid.invoice_id)
    assert refused and invoice.refunded_minor + invoice.credited_minor <= invoice.paid_minor
    if invoice.refunded_minor:
        assert ada.subscription.product_id == ada.team


def test_a_repeated_refund_of_unwanted_money_is_on_no_invoice(ada: Ada) -> None:
    """The money never paid the invoice, so the refund is not recorded on it."""
    ada.pay_with("4000000000006975")
    ada.confirm(ada.quote(ada.max).id)
    [late] = ada.payments("plan_change")
    from billing.subscriptions.end_now import cancel_now
    from core.money import Money

    cancel_now(ada.processor, ada.business, ada.buyer.subscription_id)
    if ada.payments("plan_change")[0].status != "succeeded":
        ada.processor.record(
            late.business_id, late.id, ChargeOutcome("succeeded", late.key, amount=Money(late.amount_minor, late.currency))
        )
    [back] = refunds_of(ada, late.id)
    if back.status == "pending":
        ada.processor.record_refund(back.business_id, back.id, ChargeOutcome("declined", back.key, error_code="REFUND_FAILED"))
        again = refund(ada.processor, ada.business, late.id)
        assert again.invoice_id is None and again.status in ("succeeded", "pending", "failed")


def test_a_refund_after_a_change_that_billed_nothing_leaves_nothing_to_credit(ada: Ada) -> None:
    """The first payment also pays for the present plan. After its refund the period has no value at the next change."""
    order = business_order.PlanChangeOrder(ada.max, 1, (), "do_not_bill")
    business_order.order(ada.processor, ada.business, ada.buyer.subscription_id, order)
    refund(ada.processor, ada.business, first(ada).id)
    shown = ada.quote(ada.team, ada.business, mode="prorated_immediately", effective_at="immediately")
    assert (shown.unused_minor, shown.credit_minor, shown.due_minor) == (0, 0, shown.total_minor)
