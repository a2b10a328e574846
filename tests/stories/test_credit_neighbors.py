"""Credit lines together with refunds, reminders, bank statements, and amounts below the smallest charge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging.charge_descriptions import description_of
from billing.charging.refund import refund
from billing.model.catalogue import Product
from billing.model.invoices import InvoiceLine
from billing.model.payments import Payment, Refund
from billing.model.quotes import Quote
from billing.model.subscriptions import Subscription
from billing.plan_changes.external import _tax
from billing.renewals import renew
from billing.renewals.notices import next_amount
from core.errors import Conflict
from core.formatting import money
from tenants.api.refunds import RefundItemInput, _refund_items
from tests.cast import Cast
from tests.stories.ada_subscription import TEAM, Ada, wait
from tests.stories.invoice_documents import lines, paper
from tests.visitor import Visitor


@pytest.fixture
def ada(cast: Cast) -> Ada:
    return Ada(cast)


def upgraded(ada: Ada) -> Payment:
    wait(days=15)
    ada.confirm(ada.quote(ada.max).id)
    [payment] = ada.payments("plan_change")
    return payment


def test_a_full_item_refund_is_limited_to_what_was_paid(ada: Ada) -> None:
    """The item cost 70.80 and credit paid a part. The paid part is refunded, and credit lines are not."""
    payment = upgraded(ada)
    item, credit = lines(ada, payment.invoice_id)
    back = _refund_items([RefundItemInput(item_id=item.id)], [item, credit], payment.amount_minor)
    assert back == [{"line_id": item.id, "amount_minor": payment.amount_minor}]
    assert refund(ada.processor, ada.business, payment.id, items=back).status == "succeeded"
    with ada.services.database.open(ada.business) as db:
        found = db.scalar(select(Refund).where(Refund.payment_id == payment.id))
        assert (found.snapshot["subtotal_minor"] + found.snapshot["tax"][0]["tax_minor"]) == payment.amount_minor
        assert {
            invoice_line.refunded_minor
            for invoice_line in db.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == payment.invoice_id))
        } == {payment.amount_minor, 0}


def test_a_line_of_credit_cannot_be_refunded(ada: Ada) -> None:
    payment = upgraded(ada)
    _, credit = lines(ada, payment.invoice_id)
    with pytest.raises(Conflict):
        refund(ada.processor, ada.business, payment.id, items=[{"line_id": credit.id, "amount_minor": 100}])


def test_the_bank_s_statement_names_what_was_bought(ada: Ada) -> None:
    payment = upgraded(ada)
    with ada.services.database.open(ada.business) as db:
        assert description_of(db, payment) == "Acorn Max"


def test_an_amount_below_the_minimum_is_carried_over_and_announced(ada: Ada) -> None:
    with ada.services.database.open(ada.business, write=True) as db:
        db.scalar(select(Product).where(Product.id == ada.max)).price_minor = 2440  # 28 more with tax
    shown = ada.quote(ada.max)
    ada.confirm(shown.id)
    with ada.services.database.open(ada.business) as db:
        first = ada.invoice(db.scalar(select(Quote.invoice_id).where(Quote.id == shown.id)))
        owed = next_amount(db, db.scalar(select(Subscription).where(Subscription.id == ada.buyer.subscription_id)))
    assert (first.amount_minor, first.total_minor) == (0, -shown.credit_minor)
    assert f"Carried over to the next invoice \u2212€0.{first.total_minor}" in paper(ada, first.id)
    wait(days=32)
    renew.run_due(ada.processor)
    [renewal] = ada.payments("renewal")
    bill = ada.invoice(renewal.invoice_id)
    assert owed == renewal.amount_minor == bill.amount_minor == bill.total_minor + first.total_minor == 2928 + first.total_minor
    assert "Carried over from an earlier invoice" in paper(ada, bill.id)


def test_the_shown_next_payment_equals_its_invoice(ada: Ada, visitor: Callable[..., Visitor]) -> None:
    """After half a month of the expensive plan, credit pays a part of the next invoice of the cheap one, tax included."""
    ada.confirm(ada.quote(ada.max).id)
    wait(days=24)
    ada.confirm(ada.quote(ada.team, ada.business, mode="prorated_immediately_keep_cycle", effective_at="immediately").id, ada.business)
    assert 0 < ada.subscription.credit_minor < TEAM
    them = visitor()
    them.sign_in(ada.cast.ADA)
    page = them.get(f"/subscriptions/{ada.buyer.subscription_id}").text
    wait(days=8)
    renew.run_due(ada.processor)
    [renewal] = ada.payments("renewal")
    bill = ada.invoice(renewal.invoice_id)
    assert "Credit from earlier" in page
    for minor in (renewal.amount_minor, bill.tax_minor, *(line.net_minor for line in lines(ada, bill.id))):
        assert money(minor, "EUR") in page


@pytest.mark.parametrize(("summary", "tax"), [({"tax": 1104}, 1104), ({}, 1104), ({"tax": None}, 1104)])
def test_the_tax_of_an_external_upgrade_is_of_the_amount_due(summary: dict[str, Any], tax: int) -> None:
    now = {"summary": summary, "line_items": [{"tax": 1180}, {"tax": -76}]}
    assert _tax(now, [{"tax_minor": 1180}]) == tax
