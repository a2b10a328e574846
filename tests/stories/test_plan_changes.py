"""Plan changes charge exactly what was quoted, once, or nothing."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from billing.catalogue.products import create_product
from billing.charging.refund import refund
from billing.model.catalogue import CollectionItem, Product
from billing.plan_changes import confirm as confirm_plan_change
from billing.renewals import renew
from billing.renewals.pay_dues import pay_dues
from billing.subscriptions.subscribe import subscribe
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.scope import customer_of, system
from tests.cast import MONTHLY, Cast
from tests.stories.ada_subscription import MAX, TEAM, Ada, wait


@pytest.fixture
def ada(cast: Cast) -> Ada:
    return Ada(cast)


def test_an_upgrade_in_the_middle_charges_exactly_the_quote(ada: Ada) -> None:
    before, taken = ada.subscription, ada.charged()
    wait(days=15)
    plans = ada.do(confirm_plan_change.options, ada.buyer.subscription_id)
    assert [(plan.product_id, plan.direction, plan.is_current) for plan in plans] == [(ada.team, "same", True), (ada.max, "upgrade", False)]
    shown = ada.quote(ada.max)
    assert shown.mode == "prorated_immediately" and shown.effective_at == "immediately" and shown.restarts
    assert 0 < shown.unused_minor < TEAM and shown.due_minor == MAX - shown.unused_minor and shown.next_renewal_minor == MAX

    done = ada.confirm(shown.id)
    assert done.status == "succeeded" and done.link is None
    [payment] = ada.payments("plan_change")
    assert payment.amount_minor == shown.due_minor and ada.charged() == taken + 1
    after, bill = ada.subscription, ada.invoice(payment.invoice_id)
    assert (after.product_id, after.unit_minor, after.credit_minor) == (ada.max, 5900, 0)
    assert after.next_billing_at == shown.next_billing_at > before.next_billing_at
    assert (bill.kind, bill.status, bill.value_minor, bill.credit_applied_minor) == ("plan_change", "paid", MAX, shown.unused_minor)
    assert bill.total_minor == bill.due_minor == shown.due_minor == bill.subtotal_minor + bill.tax_minor
    assert "subscription.plan_changed" in ada.events()

    wait(days=32)
    renew.run_due(ada.processor)
    renewed = ada.payments("renewal")[-1]
    assert renewed.amount_minor == shown.next_renewal_minor and ada.subscription.status == "active"


def test_confirming_twice_charges_once(ada: Ada) -> None:
    shown, taken = ada.quote(ada.max), ada.charged()
    first, second = ada.confirm(shown.id), ada.confirm(shown.id)
    assert first == second and ada.charged() == taken + 1


def test_a_quote_of_another_tab_is_stale(ada: Ada) -> None:
    item, other = ada.quote(ada.max), ada.quote(ada.max, quantity=2)
    ada.confirm(item.id)
    with pytest.raises(Conflict) as refused:
        ada.confirm(other.id)
    assert refused.value.code == "QUOTE_STALE" and len(ada.payments("plan_change")) == 1


def test_a_stale_quote_is_refused_with_the_new_figures(ada: Ada) -> None:
    shown = ada.quote(ada.max)
    with ada.services.database.open(ada.business, write=True) as db:
        db.scalar(select(Product).where(Product.id == ada.max)).price_minor = 6900
    with pytest.raises(Conflict) as refused:
        ada.confirm(shown.id)
    assert refused.value.code == "QUOTE_STALE" and not ada.payments("plan_change")
    fresh = refused.value.fields["quote_id"]
    assert ada.confirm(fresh).status == "succeeded"
    assert ada.payments("plan_change")[0].amount_minor > shown.due_minor


def test_a_quote_lasts_a_quarter_of_an_hour(ada: Ada) -> None:
    shown = ada.quote(ada.max)
    wait(minutes=16)
    with pytest.raises(Conflict, match="QUOTE_STALE"):
        ada.confirm(shown.id)


def test_a_declined_card_prevents_the_change(ada: Ada) -> None:
    ada.pay_with("4000000000000002")
    shown = ada.quote(ada.max)
    assert ada.confirm(shown.id).status == "failed" == ada.confirm(shown.id).status
    now = ada.subscription
    assert (now.product_id, now.status, now.credit_minor) == (ada.team, "active", 0)
    ada.pay_with("4242424242424242")
    assert ada.confirm(ada.quote(ada.max).id).status == "succeeded" and ada.subscription.product_id == ada.max


def test_a_business_may_change_the_plan_before_payment(ada: Ada) -> None:
    ada.pay_with("4000000000000002")
    shown = ada.quote(ada.max, ada.business, on_payment_failure="apply_change")
    assert ada.confirm(shown.id, ada.business).status == "failed"
    now = ada.subscription
    assert (now.product_id, now.status) == (ada.max, "on_hold")
    assert ada.invoice(ada.payments("plan_change")[0].invoice_id).status == "open"
    card = ada.cast.card(ada.buyer)
    assert pay_dues(ada.processor, ada.scope, ada.buyer.subscription_id, payment_method_id=card).status == "succeeded"
    assert (ada.subscription.product_id, ada.subscription.status) == (ada.max, "active")
    assert ada.invoice(ada.payments("plan_change")[0].invoice_id).paid_minor == shown.due_minor


def test_a_change_without_a_saved_card_opens_a_page(ada: Ada) -> None:
    ada.forget_cards()
    shown = ada.quote(ada.max)
    done = ada.confirm(shown.id)
    assert done.status == "requires_payment_method" and done.link and ada.confirm(shown.id).link == done.link
    with pytest.raises(Conflict, match="PREVIOUS_PAYMENT_PENDING"):
        ada.quote(ada.max)


def test_a_downgrade_waits_for_the_next_date(ada: Ada) -> None:
    ada.confirm(ada.quote(ada.max).id)
    shown, taken = ada.quote(ada.team), ada.charged()
    assert (shown.effective_at, shown.due_minor, shown.next_renewal_minor) == ("next_billing_date", 0, TEAM)
    assert ada.confirm(shown.id).status == "scheduled" and ada.charged() == taken
    assert ada.subscription.product_id == ada.max
    with pytest.raises(Conflict, match="SCHEDULED_PLAN_CHANGE_EXISTS"):
        ada.quote(ada.team)

    ada.do(confirm_plan_change.cancel_scheduled, ada.buyer.subscription_id)
    with pytest.raises(NotFound, match="SCHEDULED_PLAN_CHANGE_NOT_FOUND"):
        ada.do(confirm_plan_change.cancel_scheduled, ada.buyer.subscription_id)
    ada.confirm(ada.quote(ada.team).id)
    wait(days=32)
    renew.run_due(ada.processor)
    assert ada.subscription.product_id == ada.team and ada.payments("renewal")[-1].amount_minor == TEAM
    changes = [event for event in ada.events() if "plan_change" in event]
    assert changes == [
        "subscription.plan_changed",
        "subscription.plan_change_scheduled",
        "subscription.plan_change_cancelled",
        "subscription.plan_change_scheduled",
        "subscription.plan_changed",
    ]


def test_a_downgrade_now_leaves_credit_that_the_next_renewal_uses(ada: Ada) -> None:
    ada.confirm(ada.quote(ada.max).id)
    shown = ada.quote(ada.team, ada.business, mode="prorated_immediately_keep_cycle", effective_at="immediately")
    assert shown.due_minor == 0 and 0 < shown.credit_minor <= MAX
    ada.confirm(shown.id, ada.business)
    assert ada.subscription.credit_minor == shown.credit_minor
    wait(days=32)
    renew.run_due(ada.processor)
    assert ada.subscription.credit_minor == shown.credit_minor - TEAM and not ada.payments("renewal")


def test_a_refund_takes_the_unused_credit_it_produced(ada: Ada) -> None:
    ada.confirm(ada.quote(ada.max).id)
    paid = ada.payments("plan_change")[0]
    ada.confirm(ada.quote(ada.team, ada.business, mode="prorated_immediately_keep_cycle", effective_at="immediately").id, ada.business)
    credit, bill = ada.subscription.credit_minor, ada.invoice(paid.invoice_id)
    assert credit > 0 and bill.credited_minor > credit  # a part of it pays for the rest of the cheaper plan
    with pytest.raises(Conflict, match="REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT"):
        refund(ada.processor, ada.business, paid.id)
    left = bill.paid_minor - (bill.credited_minor - credit)
    assert refund(ada.processor, ada.business, paid.id, amount_minor=left).status == "succeeded"
    after = ada.invoice(paid.invoice_id)
    assert ada.subscription.credit_minor == 0 and after.refunded_minor + after.credited_minor == after.paid_minor


def test_at_most_three_changes_in_a_period(ada: Ada) -> None:
    for product in (ada.max, ada.team, ada.max):
        ada.confirm(ada.quote(product, ada.business, mode="prorated_immediately", effective_at="immediately").id, ada.business)
    with pytest.raises(Conflict, match="PLAN_CHANGE_LIMIT_REACHED"):
        ada.quote(ada.team, ada.business, mode="full_immediately", effective_at="immediately")


def test_refused_plan_changes(ada: Ada) -> None:
    with pytest.raises(Invalid):
        ada.quote(ada.team)  # the present plan
    with pytest.raises(NotFound):
        ada.quote(ada.cast.products["acorn.once"])
    with pytest.raises(Invalid):
        ada.quote(ada.max, mode="do_not_bill")
    shown, ben = ada.quote(ada.max), customer_of(ada.cast.birch, ada.cast.ben.customer_id)
    with pytest.raises(NotFound):
        ada.confirm(shown.id, ben)
    with ada.services.database.open(ben, write=True) as db, pytest.raises(Forbidden, match="PLAN_CHANGE_FOR_CUSTOMER_PORTAL_DISABLED"):
        confirm_plan_change.quote(db, ada.cast.ben.subscription_id, ada.cast.products["birch.more"])
    with ada.services.database.open(system(ada.cast.birch), write=True) as db:
        assert confirm_plan_change.quote(db, ada.cast.ben.subscription_id, ada.cast.products["birch.more"]).due_minor > 0


def test_a_change_ends_the_trial_and_charges_now(ada: Ada) -> None:
    began = subscribe(
        ada.processor,
        ada.business,
        customer_id=ada.buyer.customer_id,
        product_id=ada.team,
        payment_method_id=ada.buyer.method_id,
        trial_days=14,
    )
    ada.buyer.subscription_id = began.subscription_id or ""
    assert ada.subscription.is_trial
    wait(days=3)
    shown = ada.quote(ada.max)
    assert (shown.due_minor, shown.unused_minor) == (MAX, 0)
    assert ada.confirm(shown.id).status == "succeeded"
    now = ada.subscription
    assert not now.is_trial and now.product_id == ada.max and now.next_billing_at == shown.next_billing_at
    wait(days=32)
    renew.run_due(ada.processor)
    assert [payment.amount_minor for payment in ada.payments("renewal")] == [MAX]


def test_a_change_from_monthly_to_yearly_renews_yearly(ada: Ada) -> None:
    with ada.services.database.open(ada.business, write=True) as db:
        place = db.scalar(select(CollectionItem).where(CollectionItem.product_id == ada.team))
        price = {**MONTHLY, "price": 24000, "payment_frequency_interval": "Year"}
        year = create_product(db, ada.buyer.business_id, name="Acorn Team, yearly", price=price).id
        db.add(
            CollectionItem(
                business_id=ada.buyer.business_id,
                id="yearly",
                collection_id=place.collection_id,
                product_id=year,
                group_id=place.group_id,
                position=9,
                enabled=True,
            )
        )
    wait(days=10)
    shown = ada.quote(year)
    assert shown.direction == "downgrade" and shown.effective_at == "next_billing_date"  # cheaper by the day
    now = ada.quote(year, ada.business, effective_at="immediately")
    assert now.total_minor == 28800 and now.due_minor == 28800 - now.unused_minor
    ada.confirm(now.id, ada.business)
    first = ada.subscription.next_billing_at
    assert first == now.next_billing_at and 364 <= (first - now.as_of).days <= 366
    wait(days=367)
    renew.run_due(ada.processor)
    assert ada.subscription.next_billing_at.year == first.year + 1 and len(ada.payments("renewal")) == 1


def test_too_little_to_charge_is_carried_to_the_renewal(ada: Ada) -> None:
    with ada.services.database.open(ada.business, write=True) as db:
        db.scalar(select(Product).where(Product.id == ada.max)).price_minor = 2440  # 28 more with tax
    shown, taken = ada.quote(ada.max), ada.charged()
    assert (shown.due_minor, shown.total_minor) == (0, 2928) and -50 < shown.credit_minor < 0
    assert ada.confirm(shown.id).status == "applied" and ada.charged() == taken
    wait(days=32)
    renew.run_due(ada.processor)
    [renewal] = ada.payments("renewal")
    assert renewal.amount_minor == shown.next_renewal_minor == 2928 - shown.credit_minor and ada.subscription.credit_minor == 0
