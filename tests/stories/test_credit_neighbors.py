"""Credit lines beside refunds, reminders, the bank's statement and an amount that was too small to charge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from billing import dunning, renewals
from billing.catalogue import Product
from billing.commands.plan_elsewhere import _tax
from billing.commands.refunding import refund
from billing.invoices import InvoiceLine
from billing.payments import Payment, Refund
from billing.quotes import Quote
from billing.subscriptions import Subscription
from billing.till import _words
from core.errors import Conflict
from core.format import money
from tenants.api.refunds import ItemBack, _back
from tests.cast import Cast
from tests.stories.papers import lines, paper
from tests.stories.plans import TEAM, Ada, wait
from tests.visitor import Visitor


@pytest.fixture
def ada(cast: Cast) -> Ada:
    return Ada(cast)


def upgraded(ada: Ada) -> Payment:
    wait(days=15)
    ada.confirm(ada.quote(ada.max).id)
    [payment] = ada.payments("plan_change")
    return payment


def test_all_of_an_item_is_refunded_up_to_what_was_paid(ada: Ada) -> None:
    """The item was 70.80, credit paid for a part of it: what was paid goes back, and no line of credit does."""
    payment = upgraded(ada)
    item, credit = lines(ada, payment.invoice_id)
    back = _back([ItemBack(item_id=item.id)], [item, credit], payment.amount_minor)
    assert back == [{"line_id": item.id, "amount_minor": payment.amount_minor}]
    assert refund(ada.till, ada.business, payment.id, items=back).status == "succeeded"
    with ada.house.database.open(ada.business) as db:
        found = db.scalar(select(Refund).where(Refund.payment_id == payment.id))
        assert (found.snapshot["subtotal_minor"] + found.snapshot["tax"][0]["tax_minor"]) == payment.amount_minor
        assert {one.refunded_minor for one in db.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == payment.invoice_id))} == {
            payment.amount_minor, 0}  # fmt: skip


def test_a_line_of_credit_cannot_be_refunded(ada: Ada) -> None:
    payment = upgraded(ada)
    _, credit = lines(ada, payment.invoice_id)
    with pytest.raises(Conflict):
        refund(ada.till, ada.business, payment.id, items=[{"line_id": credit.id, "amount_minor": 100}])


def test_the_bank_s_statement_names_what_was_bought(ada: Ada) -> None:
    payment = upgraded(ada)
    with ada.house.database.open(ada.business) as db:
        assert _words(db, payment) == "Acorn Max"


def test_what_was_too_small_to_charge_is_carried_over_and_announced(ada: Ada) -> None:
    with ada.house.database.open(ada.business, write=True) as db:
        db.scalar(select(Product).where(Product.id == ada.max)).price_minor = 2440  # 28 more with tax
    shown = ada.quote(ada.max)
    ada.confirm(shown.id)
    with ada.house.database.open(ada.business) as db:
        first = ada.invoice(db.scalar(select(Quote.invoice_id).where(Quote.id == shown.id)))
        owed = dunning._next_amount(db, db.scalar(select(Subscription).where(Subscription.id == ada.buyer.subscription_id)))
    assert (first.amount_minor, first.total_minor) == (0, -shown.credit_minor)
    assert f"Carried over to the next invoice \u2212€0.{first.total_minor}" in paper(ada, first.id)
    wait(days=32)
    renewals.run_due(ada.till)
    [renewal] = ada.payments("renewal")
    bill = ada.invoice(renewal.invoice_id)
    assert owed == renewal.amount_minor == bill.amount_minor == bill.total_minor + first.total_minor == 2928 + first.total_minor
    assert "Carried over from earlier" in paper(ada, bill.id)


def test_the_next_payment_is_shown_as_its_invoice_will_be(ada: Ada, visitor: Callable[..., Visitor]) -> None:
    """A month of the dear plan, half of it used, then the cheap one: credit pays for a part of the next invoice, tax included."""
    ada.confirm(ada.quote(ada.max).id)
    wait(days=24)
    ada.confirm(ada.quote(ada.team, ada.business, mode="prorated_immediately_keep_cycle", effective_at="immediately").id, ada.business)
    assert 0 < ada.subscription.credit_minor < TEAM
    them = visitor()
    them.sign_in(ada.cast.ADA)
    page = them.get(f"/subscriptions/{ada.buyer.subscription_id}").text
    wait(days=8)
    renewals.run_due(ada.till)
    [renewal] = ada.payments("renewal")
    bill = ada.invoice(renewal.invoice_id)
    assert "Credit from earlier" in page
    for minor in (renewal.amount_minor, bill.tax_minor, *(one.net_minor for one in lines(ada, bill.id))):
        assert money(minor, "EUR") in page


@pytest.mark.parametrize(("summary", "tax"), [({"tax": 1104}, 1104), ({}, 1104), ({"tax": None}, 1104)])
def test_the_tax_of_an_upgrade_billed_elsewhere_is_of_what_is_due(summary: dict[str, Any], tax: int) -> None:
    now = {"summary": summary, "line_items": [{"tax": 1180}, {"tax": -76}]}
    assert _tax(now, [{"tax_minor": 1180}]) == tax
