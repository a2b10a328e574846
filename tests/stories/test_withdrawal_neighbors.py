"""Withdrawing beside credit, discounts, plan changes, disputes, unpaid renewals and other billing systems."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from billing.catalogue.discount_codes import create_discount
from billing.charging.ports import ChargeOutcome
from billing.charging.refund import refund
from billing.charging.refund_reversal import reverse_refund
from billing.charging.refunds import request_refund
from billing.model.delegated_actions import DelegatedAction
from billing.model.invoices import Invoice
from billing.model.parties import Customer
from billing.model.payments import Payment, Refund
from billing.model.statements import Statement
from billing.model.subscriptions import Subscription
from billing.model.withdrawals import Withdrawal
from billing.statements import staff_withdrawals
from billing.statements.signed_in import add_statement
from billing.statements.withdraw import Contract, withdraw
from billing.statements.withdrawal_queries import subscription_quote, withdrawal_by_statement
from billing.subscriptions.subscribe import subscribe
from core.scope import everything, system
from core.scope import staff as member
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.stories.ada_subscription import Ada, wait
from tests.stories.business_and_buyer import Site
from tests.stories.withdrawing import quote, withdraws


def goes(ada: Ada) -> Any:
    """Withdraw as Ada with what the page shows. Returns the quote."""
    shown = subscription_quote(ada.services.database, ada.buyer.business_id, ada.buyer.subscription_id)

    def statement(db: Any) -> Statement:
        customer = db.scalars(select(Customer).where(Customer.customer_id == ada.buyer.customer_id)).one()
        return add_statement(db, customer, contract="Team", sentence="I withdraw.", language="en", zone="Europe/London", item="Team")

    contract = Contract(subscription_id=ada.buyer.subscription_id)
    withdraw(
        ada.processor, ada.scope, contract, business_id=ada.buyer.business_id, statement=statement, shown_minor=shown.refund_minor
    )  # fmt: skip
    return shown


def refunds(ada: Ada) -> list[Refund]:
    with ada.services.database.open(everything("refunds of a test")) as db:
        return list(db.scalars(select(Refund).order_by(Refund.created_at, Refund.id)))


def test_all_money_goes_back_although_a_part_was_used_as_credit(cast: Cast) -> None:
    """An upgrade on day 5 was paid with money and with the credit of the first payment. Together they are all that Ada paid."""
    ada = Ada(cast)
    wait(days=5)
    ada.confirm(ada.quote(ada.max).id)
    paid = sum(row.amount_minor for row in (*ada.payments("new"), *ada.payments("plan_change")))
    shown = goes(ada)
    assert shown.refund_minor == paid
    assert shown.by_staff_minor == 0
    assert sum(row.amount_minor for row in refunds(ada)) == paid
    assert {row.status for row in refunds(ada)} == {"succeeded"}
    with ada.services.database.open(ada.business) as db:
        for invoice in db.scalars(select(Invoice).where(Invoice.subscription_id == ada.buyer.subscription_id)):
            assert invoice.refunded_minor == invoice.paid_minor and invoice.credited_minor == 0
    assert ada.subscription.credit_minor == 0


@on_sqlite
def test_unused_credit_of_a_downgrade_goes_back_as_money(cast: Cast) -> None:
    ada = Ada(cast)
    wait(days=2)
    ada.confirm(ada.quote(ada.max).id)
    ada.confirm(ada.quote(ada.team, ada.business, mode="prorated_immediately_keep_cycle", effective_at="immediately").id, ada.business)
    assert ada.subscription.credit_minor > 0
    paid = sum(row.amount_minor for row in (*ada.payments("new"), *ada.payments("plan_change")) if row.status == "succeeded")
    shown = goes(ada)
    assert sum(row.amount_minor for row in refunds(ada)) == shown.refund_minor == paid
    assert ada.subscription.credit_minor == 0


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


def test_a_discount_is_not_paid_out(site: Site) -> None:
    with site.database.open(system(site.business_id), write=True) as db:
        create_discount(db, site.business_id, kind="percentage", amount=2500, code="QUARTER")
    began = subscribe(
        site.processor, system(site.business_id), customer_id=site.customer_id, product_id=site.product(site.monthly(2000)),
        billing={"country": "FR"}, payment_method_id=site.card(), discount_codes=["QUARTER"],
    )  # fmt: skip
    site.subscription_id = began.subscription_id or ""
    withdraws(site, Contract(subscription_id=site.subscription_id))
    site.work()
    assert [row.amount_minor for row in site.rows(Refund)] == [1500]
    site.balanced()


def test_an_unpaid_renewal_is_not_owed_any_more(site: Site) -> None:
    weekly = site.product({**site.monthly(700), "payment_frequency_interval": "Week"})
    began = subscribe(
        site.processor, system(site.business_id), customer_id=site.customer_id, product_id=weekly, billing={"country": "DE"},
        payment_method_id=site.card(),
    )  # fmt: skip
    site.subscription_id = began.subscription_id or ""
    poor = site.card(number="4000000000000341")
    with site.database.open(system(site.business_id), write=True) as db:
        db.scalars(select(Subscription)).one().payment_method_id = poor
    site.pass_period()
    assert site.subscription().status == "on_hold"
    withdraws(site, Contract(subscription_id=site.subscription_id))
    site.work()
    assert site.subscription().status == "cancelled"
    assert {row.status for row in site.rows(Invoice)} == {"paid", "void"}
    assert [row.amount_minor for row in site.rows(Refund)] == [700]


def test_a_disputed_payment_ends_the_contract_and_leaves_the_money_to_the_bank(site: Site) -> None:
    began = site.subscribe(price=2900)
    with site.database.open(everything("a dispute of a story"), write=True) as db:
        db.scalars(select(Payment).where(Payment.id == began.payment_id)).one().disputed_minor = 2900
    shown = quote(site, Contract(subscription_id=site.subscription_id))
    assert (shown.refund_minor, shown.disputed_minor) == (0, 2900)
    withdraws(site, Contract(subscription_id=site.subscription_id))
    assert site.subscription().status == "cancelled"
    assert not site.rows(Refund)


def test_a_refund_left_to_staff_is_watched_until_it_is_made(site: Site) -> None:
    began = site.subscribe(price=2900)
    with site.database.open(everything("a refund that waits"), write=True) as db:
        paid = db.scalars(select(Payment).where(Payment.id == began.payment_id)).one()
        waiting = request_refund(db, paid, 100, "part", site.services.settings).id
    id = withdraws(site, Contract(subscription_id=site.subscription_id))
    site.processor.start_refund(site.business_id, waiting)
    with site.database.open(system(site.business_id)) as db:
        state = withdrawal_by_statement(db, id)
        assert state is not None and state.left_minor == 2800
    refund(site.processor, system(site.business_id), began.payment_id)
    with site.database.open(member(site.business_id, "mem_test"), write=True) as db:
        state = withdrawal_by_statement(db, id)
        assert state is not None and state.left_minor == 0
        staff_withdrawals.settle(db, id)
    assert site.rows(Statement)[0].status == "effective"
    assert site.rows(Statement)[0].decided_at is not None


@on_sqlite
@pytest.mark.parametrize("system_name", ["stripe", "another"])
def test_what_another_system_bills_is_ended_there_and_refunded_by_staff(cast: Cast, visitor: Any, system_name: str) -> None:
    ada, url = cast.ada_at_birch, f"/subscriptions/{cast.ada_at_birch.subscription_id}"
    with cast.services.database.open(system(cast.birch), write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == ada.subscription_id)).one().collected_by = system_name
        for paid in db.scalars(select(Payment).where(Payment.subscription_id == ada.subscription_id)):
            paid.payment_account_id = None
    person = visitor()
    person.sign_in(Cast.ADA)
    page = person.get(f"{url}/withdrawal")
    assert "Birch Hosting bills this with another system." in page.text
    assert "within 14 days" in page.text
    person.submit("/withdrawal")
    with cast.services.database.open(everything("rows of a test")) as db:
        [statement], [row] = db.scalars(select(Statement)).all(), db.scalars(select(Withdrawal)).all()
        verbs = list(db.scalars(select(DelegatedAction.verb)))
        assert not db.scalars(select(Refund)).all()
    assert statement.status == "waiting" and statement.answer_by == row.refund_by
    assert row.refund_minor > 0
    assert verbs == (["end"] if system_name == "stripe" else [])
    [receipt] = [email for email in person.emails(Cast.ADA) if "Receipt of your withdrawal" in email.subject]
    assert "Birch Hosting refunds" in receipt.text


def test_a_refund_that_fails_afterwards_is_left_to_staff(cast: Cast, visitor: Any) -> None:
    ada = Ada(cast)
    goes(ada)
    cast.services.worker.drain()
    with ada.services.database.open(ada.business, write=True) as db:
        assert db.scalars(select(Statement.status)).all() == ["effective"]
        row = db.scalars(select(Refund).with_for_update()).one()
        reverse_refund(db, row, ChargeOutcome("declined", row.key, error_code="RETURNED"))
    visitor().emails()
    with ada.services.database.open(ada.business) as db:
        [statement] = db.scalars(select(Statement)).all()
        state = withdrawal_by_statement(db, statement.id)
    assert statement.status == "waiting"
    assert state is not None and state.left_minor == state.withdrawal.refund_minor
