"""The amount due, its tax and its lines agree everywhere. One function gives the amount of an invoice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from billing.catalogue.products import create_product
from billing.charging.refund import refund
from billing.history.billing_history import Filter, entries
from billing.history.overview import recent_invoices
from billing.model.invoices import Invoice
from billing.model.parties import Customer
from billing.model.payments import Refund
from billing.model.quotes import Quote
from billing.plan_changes.business_order import PlanChangeOrder, preview
from billing.renewals import renew
from billing.subscriptions.subscribe import buy, subscribe
from core.formatting import money
from core.scope import everything
from tenants.api.shapes.plan_changes import PreviewShape
from tests.cast import ONCE, Cast
from tests.stories.ada_subscription import MAX, TEAM, Ada, wait
from tests.stories.invoice_documents import lines, paper
from tests.visitor import Visitor


@pytest.fixture
def ada(cast: Cast) -> Ada:
    return Ada(cast)


def test_amount_due_tax_and_lines_of_an_upgrade_agree(ada: Ada, visitor: Callable[..., Visitor]) -> None:
    wait(days=15)
    with ada.services.database.open(ada.business) as db:
        seen = preview(db, ada.buyer.subscription_id, PlanChangeOrder(ada.max, 1, (), "prorated_immediately"))
    shown = ada.quote(ada.max)
    assert shown.due_minor == MAX - shown.unused_minor
    net = round(shown.due_minor / 1.2)
    assert shown.tax in (shown.due_minor - net, shown.due_minor - net + 1, shown.due_minor - net - 1) and shown.tax < 1180

    them = visitor()
    them.sign_in(ada.cast.ADA)
    page = them.get(f"/subscriptions/{ada.buyer.subscription_id}/plan-change/quotes/{shown.id}").text
    assert money(shown.tax, "EUR") in page and money(1180, "EUR") not in page

    summary = _summary(seen)
    assert (summary["tax"], summary["total_amount"]) == (seen.quote.tax, seen.quote.due_minor)

    ada.confirm(shown.id)
    [payment] = ada.payments("plan_change")
    bill, rows = ada.invoice(payment.invoice_id), lines(ada, payment.invoice_id)
    assert (bill.total_minor, bill.tax_minor, payment.tax_minor) == (shown.due_minor, shown.tax, shown.tax)
    assert sum(row.net_minor + row.tax_minor for row in rows) == payment.amount_minor == bill.amount_minor
    kinds = [(row.kind, row.tax_bps, row.tax_code, row.net_minor < 0) for row in rows]
    assert kinds == [("item", 2000, "S", False), ("unused", 2000, "S", True)]
    assert bill.description == "Acorn Max"

    text = paper(ada, bill.id)
    for words in ("Unused time on Acorn Team", f"Total {money(bill.total_minor, 'EUR')}", money(bill.tax_minor, "EUR")):
        assert words in text
    page = them.get(f"/invoices/{bill.id}").text
    for words in ("Unused time on Acorn Team", money(bill.tax_minor, "EUR"), money(bill.subtotal_minor, "EUR")):
        assert words in page
    assert "Credit used" not in page + text


def _summary(seen: Any) -> dict[str, Any]:
    from tenants.api.shapes import plan_changes

    return plan_changes._summary(seen.quote)


def test_the_preview_of_the_api_adds_up(ada: Ada, app: Any) -> None:
    wait(days=15)
    with app.app_context(), ada.services.database.open(ada.business) as db:
        seen = preview(db, ada.buyer.subscription_id, PlanChangeOrder(ada.max, 1, (), "prorated_immediately"))
        customer = db.scalar(select(Customer).where(Customer.customer_id == ada.buyer.customer_id))
        charge = PreviewShape.of(seen, customer, seen.wanted.product).immediate_charge
    taxes = [line_item["tax"] or 0 for line_item in charge.line_items]
    assert sum(taxes) == charge.summary["tax"] == seen.quote.tax and taxes[-1] < 0


def test_an_invoice_has_one_amount_everywhere(ada: Ada, visitor: Callable[..., Visitor]) -> None:
    wait(days=15)
    shown = ada.quote(ada.max)
    ada.confirm(shown.id)
    [payment] = ada.payments("plan_change")
    with ada.services.database.open(ada.scope) as db:
        first = recent_invoices(db)[0]
        entry = next(item for item in entries(db, Filter()) if item.document_id == payment.invoice_id)
    assert first.id == payment.invoice_id and first.amount_minor == entry.minor == shown.due_minor
    them = visitor()
    them.sign_in(ada.cast.ADA)
    due = money(shown.due_minor, "EUR")
    for path in ("/", "/billing-history", f"/invoices/{payment.invoice_id}"):
        page = them.get(path).text
        assert due in page and money(MAX, "EUR") not in page.split("Subscriptions")[0], path


def test_an_old_invoice_with_credit_below_its_total_has_the_amount_that_was_paid(ada: Ada) -> None:
    """As earlier versions issued them: total 70.80, credit 4.56, paid 66.24."""
    with ada.services.database.open(everything("an invoice of before"), write=True) as db:
        bill = db.scalar(select(Invoice).where(Invoice.subscription_id == ada.buyer.subscription_id))
        bill.total_minor, bill.credit_applied_minor, bill.due_minor, bill.subtotal_minor, bill.tax_minor = 7080, 456, 6624, 5900, 1180
        assert (bill.amount_minor, bill.value_minor) == (6624, 7080)
    with ada.services.database.open(ada.scope) as db:
        assert 6624 in [recent_invoice.amount_minor for recent_invoice in recent_invoices(db)]


def test_remaining_credit_lowers_the_tax(ada: Ada) -> None:
    ada.confirm(ada.quote(ada.max).id)
    back = ada.quote(ada.team, ada.business, mode="prorated_immediately_keep_cycle", effective_at="immediately")
    ada.confirm(back.id, ada.business)
    zero = ada.invoice(_applied(ada, back.id).invoice_id)
    assert (zero.status, zero.total_minor, zero.tax_minor, zero.amount_minor) == ("paid", 0, 0, 0) and zero.number
    held = ada.subscription.credit_minor
    assert 2 * TEAM > held > TEAM
    wait(days=32)
    renew.run_due(ada.processor)
    covered = _renewals(ada)[0]
    assert (covered.total_minor, covered.tax_minor, covered.value_minor) == (0, 0, TEAM)
    left = ada.subscription.credit_minor
    assert left == held - TEAM
    wait(days=32)
    renew.run_due(ada.processor)
    [paid] = ada.payments("renewal")
    bill = ada.invoice(paid.invoice_id)
    assert (paid.amount_minor, bill.value_minor) == (TEAM - left, TEAM)
    assert bill.tax_minor == paid.tax_minor and abs(bill.tax_minor - paid.amount_minor / 6) <= 1
    assert [line.kind for line in lines(ada, bill.id)] == ["item", "credit"]


def _applied(ada: Ada, quote_id: str) -> Quote:
    with ada.services.database.open(ada.business) as db:
        return db.scalar(select(Quote).where(Quote.id == quote_id))


def _renewals(ada: Ada) -> list[Invoice]:
    with ada.services.database.open(ada.business) as db:
        return list(
            db.scalars(
                select(Invoice)
                .where(Invoice.subscription_id == ada.buyer.subscription_id, Invoice.kind == "renewal")
                .order_by(Invoice.issued_at)
            )
        )


def test_a_refund_of_an_upgrade_has_its_tax(ada: Ada) -> None:
    wait(days=15)
    ada.confirm(ada.quote(ada.max).id)
    [payment] = ada.payments("plan_change")
    refund(ada.processor, ada.business, payment.id)
    with ada.services.database.open(ada.business) as db:
        back = db.scalar(select(Refund).where(Refund.payment_id == payment.id))
        assert (back.snapshot["total_minor"], back.snapshot["tax"][0]["tax_minor"]) == (payment.amount_minor, payment.tax_minor)
        pdf, _ = ada.services.documents.refund_pdf(db, back.id)
    assert pdf.startswith(b"%PDF")


class TestFree:
    """Every billed period, purchase and change has a numbered invoice, also for nothing. A trial has none."""

    def test_a_free_first_period_and_a_free_purchase_have_numbers(self, ada: Ada, visitor: Callable[..., Visitor]) -> None:
        with ada.services.database.open(ada.business, write=True) as db:
            plan = create_product(db, ada.buyer.business_id, name="Free plan", price={**_monthly(), "price": 0}).id
            once = create_product(db, ada.buyer.business_id, name="Free tool", price={**ONCE, "price": 0}).id
        subscribe(ada.processor, ada.business, customer_id=ada.buyer.customer_id, product_id=plan, payment_method_id=ada.buyer.method_id)
        buy(ada.processor, ada.business, customer_id=ada.buyer.customer_id, cart=[(once, 1)], payment_method_id=ada.buyer.method_id)
        with ada.services.database.open(ada.scope) as db:
            free = [entry for entry in entries(db, Filter()) if entry.minor == 0]
        assert sorted((item.kind, item.what, item.status) for item in free) == [
            ("invoice", "Free plan", "paid"),
            ("invoice", "Free tool", "paid"),
        ]
        assert all(item.number for item in free)

    def test_a_trial_has_no_invoice(self, ada: Ada) -> None:
        began = subscribe(
            ada.processor,
            ada.business,
            customer_id=ada.buyer.customer_id,
            product_id=ada.team,
            trial_days=14,
            payment_method_id=ada.buyer.method_id,
        )
        with ada.services.database.open(ada.business) as db:
            assert db.scalar(select(Invoice).where(Invoice.subscription_id == began.subscription_id)) is None


def _monthly() -> dict[str, Any]:
    from tests.cast import MONTHLY

    return MONTHLY


def test_an_address_is_in_the_order_of_its_country_on_pages_and_documents(ada: Ada, visitor: Callable[..., Visitor]) -> None:
    with ada.services.database.open(ada.business) as db:
        first = db.scalar(select(Invoice.id).where(Invoice.subscription_id == ada.buyer.subscription_id))
    them = visitor()
    them.sign_in(ada.cast.ADA)
    paths = (f"/invoices/{first}", f"/subscriptions/{ada.buyer.subscription_id}")
    for text in (paper(ada, str(first)), *(them.get(path).text for path in paths)):
        assert "London SE1 3LD" in text and "SE1 3LD London" not in text
