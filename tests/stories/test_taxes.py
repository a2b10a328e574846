"""A business sets up its taxes. Quote, charge, invoice, document, API and refund have the same tax, to the cent, in every case."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pypdf
import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import undefer

from billing.catalogue.products import create_collection, create_product
from billing.charging.refund import refund
from billing.customers import tax_settings
from billing.model.invoices import Invoice
from billing.model.payments import Payment, PaymentMethod
from billing.model.subscriptions import Subscription
from billing.plan_changes import confirm as confirm_plan_change
from billing.renewals import renew
from billing.subscriptions.subscribe import buy, subscribe
from core import clock
from core.formatting import money
from tenants.api_keys import new_key
from tests.cast import MONTHLY, ONCE, Cast
from tests.stories.ada_subscription import Ada
from tests.stories.business_and_buyer import turn_to
from tests.stories.invoice_documents import business, lines, paper
from tests.visitor import Visitor

GERMAN, AUSTRIAN = "DE136695976", "ATU13585627"


@pytest.fixture
def ada(cast: Cast) -> Ada:
    """Ada's business is in Germany, registered there and for the One Stop Sales. Education is exempt."""
    ada = Ada(cast)
    business(
        ada,
        address={"street": "Lindenallee 9", "city": "Leipzig", "zipcode": "04109", "country": "DE"},
        tax_id=GERMAN,
        tax_setup={},
        zone="Europe/Berlin",
    )
    ada.do(tax_settings.save_registration, {"scheme": "local", "country": "DE", "number": GERMAN}, scope=ada.business)
    ada.do(tax_settings.save_registration, {"scheme": "oss", "country": "DE", "number": GERMAN}, scope=ada.business)
    ada.do(tax_settings.save_general, {"exempt": {"edtech": "VATEX-EU-132"}}, scope=ada.business)
    return ada


class Sales:
    """Sells one-time products and plans of Acorn to Ada, and reads what the sale left everywhere."""

    def __init__(self, ada: Ada, app: Flask) -> None:
        self.ada, self.app = ada, app
        with ada.services.database.open(ada.business, write=True) as db:
            _row, self.key = new_key(db, ada.buyer.business_id, "A program", settings=ada.services.settings)

    def product(self, category: str, inclusive: bool, price: dict[str, Any] | None = None) -> str:
        with self.ada.services.database.open(self.ada.business, write=True) as db:
            price = {**(price or ONCE), "tax_inclusive": inclusive}
            return create_product(db, self.ada.buyer.business_id, name="Handbook", price=price, tax_category=category).id

    def sell(self, billing: dict[str, str], tax_id: str | None, category: str = "saas", inclusive: bool = False) -> Payment:
        done = buy(
            self.ada.processor, self.ada.business, customer_id=self.ada.buyer.customer_id, cart=[(self.product(category, inclusive), 1)],
            payment_method_id=self.ada.buyer.method_id, billing=billing, tax_id=tax_id, business_name="Marlow Studio" if tax_id else None,
        )  # fmt: skip
        return self.payment(done.payment_id)

    def payment(self, payment_id: str) -> Payment:
        with self.ada.services.database.open(self.ada.business) as db:
            return db.scalar(select(Payment).where(Payment.id == payment_id))

    def invoice(self, payment: Payment) -> Invoice:
        with self.ada.services.database.open(self.ada.business) as db:
            query = select(Invoice).options(undefer(Invoice.tax_evidence), undefer(Invoice.snapshot))
            return db.scalar(query.where(Invoice.id == payment.invoice_id))

    def api(self, path: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}"}
        answer: dict[str, Any] = self.app.test_client().get(f"/api{path}", headers=headers, base_url="http://localhost").get_json()
        return answer


@pytest.fixture
def sales(ada: Ada, app: Flask) -> Sales:
    return Sales(ada, app)


CASES = [
    # billing, tax id, category, tax included → net, tax, code, case, registration
    ({"country": "DE"}, None, "saas", False, (4900, 931, "S", "domestic", GERMAN)),
    ({"country": "DE"}, None, "saas", True, (4118, 782, "S", "domestic", GERMAN)),
    ({"country": "FR"}, None, "saas", False, (4900, 980, "S", "oss", GERMAN)),
    ({"country": "FR"}, None, "saas", True, (4083, 817, "S", "oss", GERMAN)),
    ({"country": "FI"}, None, "saas", False, (4900, 1250, "S", "oss", GERMAN)),  # 25.5 % of 49.00 is 12.495
    ({"country": "DE"}, None, "e_book", False, (4900, 343, "S", "domestic", GERMAN)),
    ({"country": "AT"}, AUSTRIAN, "saas", False, (4900, 0, "AE", "reverse_charge", None)),
    ({"country": "AT"}, AUSTRIAN, "saas", True, (4900, 0, "AE", "reverse_charge", None)),
    ({"country": "DE"}, GERMAN, "saas", False, (4900, 931, "S", "domestic", GERMAN)),
    ({"country": "US", "state": "NY"}, None, "saas", False, (4900, 0, "O", "outside", None)),
    ({"country": "FR"}, None, "edtech", False, (4900, 0, "E", "exempt", None)),
]


@pytest.mark.parametrize(("billing", "tax_id", "category", "inclusive", "expected"), CASES)
def test_a_sale_is_taxed_the_same_everywhere(
    ada: Ada, sales: Sales, visitor: Callable[..., Visitor], billing: dict[str, str], tax_id: str | None, category: str, inclusive: bool,
    expected: tuple[int, int, str, str, str | None],
) -> None:  # fmt: skip
    net, tax, code, case, registration = expected
    payment = sales.sell(billing, tax_id, category, inclusive)
    bill = sales.invoice(payment)
    [line] = lines(ada, bill.id)
    assert (payment.amount_minor, payment.tax_minor) == (net + tax, tax)
    assert (bill.subtotal_minor, bill.tax_minor, bill.total_minor) == (net, tax, net + tax)
    assert (line.net_minor, line.tax_minor, line.tax_code) == (net, tax, code)
    text = paper(ada, bill.id)
    assert money(net + tax, "EUR") in text and (not tax or money(tax, "EUR") in text)
    assert ("Reverse charge" in text) is (code == "AE") and ("Exempt from tax" in text) is (code == "E")
    found = bill.tax_evidence
    assert (found["cases"], found["country"], found["registration"]) == ([case], billing["country"], registration)
    day = clock.now().astimezone(ZoneInfo("Europe/Berlin")).date()  # the day at the seller
    assert (found["region"], found["established"], found["tax_point"]) == (billing.get("state"), "DE", day.isoformat())

    answer = sales.api(f"/payments/{payment.id}")
    assert (answer["total_amount"], answer["tax"] or 0) == (net + tax, tax)
    items = sales.api(f"/payments/{payment.id}/line-items")["items"]
    assert [item["tax"] for item in items] == [tax]
    them = visitor()
    them.sign_in(ada.cast.ADA)
    page = them.get(f"/invoices/{bill.id}").text
    assert money(net + tax, "EUR") in page and (not tax or money(tax, "EUR") in page)

    back = refund(ada.processor, ada.business, payment.id)
    assert (back.amount_minor, back.status) == (net + tax, "succeeded")
    with ada.services.database.open(ada.scope) as db:
        pdf, _number = ada.services.documents.refund_pdf(db, back.id)
    text = " ".join(" ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages).split())
    assert money(net + tax, "EUR") in text and (not tax or money(tax, "EUR") in text)


class TestRateChange:
    """The rate changes on 1 March. The period that began before keeps the old rate, the next period has the new one."""

    @pytest.fixture(autouse=True)
    def in_february(self, ada: Ada, sales: Sales) -> None:
        turn_to(datetime(2028, 2, 10, 12, tzinfo=UTC))
        for rate in ({"bps": 1900}, {"bps": 2000, "valid_from": "2028-03-01"}):
            ada.do(tax_settings.save_rate, {"country": "DE", **rate}, scope=ada.business)

    def subscribed(self, ada: Ada, sales: Sales, inclusive: bool) -> Subscription:
        began = subscribe(
            ada.processor, ada.business, customer_id=ada.buyer.customer_id, payment_method_id=ada.buyer.method_id,
            product_id=sales.product("saas", inclusive, {**MONTHLY, "price": 10_000}), billing={"country": "DE", "city": "Leipzig"},
        )  # fmt: skip
        with ada.services.database.open(ada.business) as db:
            return db.scalar(select(Subscription).where(Subscription.id == began.subscription_id))

    def charges(self, ada: Ada, subscription: Subscription) -> list[tuple[int, int]]:
        with ada.services.database.open(ada.business) as db:
            query = select(Payment).where(Payment.subscription_id == subscription.id).order_by(Payment.created_at)
            return [(payment.amount_minor, payment.tax_minor) for payment in db.scalars(query)]

    @pytest.mark.parametrize(
        ("inclusive", "first", "next"), [(False, (11_900, 1900), (12_000, 2000)), (True, (10_000, 1597), (10_000, 1667))]
    )
    def test_the_renewal_has_the_rate_of_its_first_day(
        self, ada: Ada, sales: Sales, visitor: Callable[..., Visitor], inclusive: bool, first: tuple[int, int], next: tuple[int, int]
    ) -> None:
        subscription = self.subscribed(ada, sales, inclusive)
        assert self.charges(ada, subscription) == [first]
        them = visitor()
        them.sign_in(ada.cast.ADA)
        assert money(next[0], "EUR") in them.get(f"/subscriptions/{subscription.id}").text, "the page shows what the renewal will charge"
        turn_to(datetime(2028, 3, 10, 13, tzinfo=UTC))
        renew.run_due(ada.processor)
        assert self.charges(ada, subscription) == [first, next]
        with ada.services.database.open(ada.business) as db:
            query = select(Invoice).options(undefer(Invoice.tax_evidence)).where(Invoice.subscription_id == subscription.id)
            points = [bill.tax_evidence["tax_point"] for bill in db.scalars(query.order_by(Invoice.issued_at))]
        assert points == ["2028-02-10", "2028-03-10"]

    def test_a_renewal_that_runs_late_keeps_the_rate_of_its_period(self, ada: Ada, sales: Sales) -> None:
        """The worker was down over the change: the period began in February, so the new rate does not apply."""
        ada.do(tax_settings.save_rate, {"country": "DE", "bps": 2100, "valid_from": "2028-03-11"}, scope=ada.business)
        subscription = self.subscribed(ada, sales, False)
        turn_to(datetime(2028, 3, 12, 12, tzinfo=UTC))
        renew.run_due(ada.processor)
        assert self.charges(ada, subscription)[-1] == (12_000, 2000)

    def test_a_plan_change_quotes_its_renewal_at_the_rate_of_that_day(self, ada: Ada, sales: Sales) -> None:
        subscription = self.subscribed(ada, sales, False)
        more = sales.product("saas", False, {**MONTHLY, "price": 20_000})
        with ada.services.database.open(ada.business, write=True) as db:
            create_collection(db, ada.buyer.business_id, name="Taxed", product_ids=[subscription.product_id, more])
        with ada.services.database.open(ada.scope, write=True) as db:
            quote = confirm_plan_change.quote(db, subscription.id, more)
        assert (quote.total_minor, quote.next_renewal_minor) == (23_800, 24_000)
        confirm_plan_change.confirm(ada.processor, ada.scope, quote.id)
        assert self.charges(ada, subscription)[-1] == (quote.due_minor, quote.tax)
        turn_to(quote.next_billing_at + timedelta(hours=1))
        renew.run_due(ada.processor)
        assert self.charges(ada, subscription)[-1] == (24_000, 4000)


def test_the_country_of_the_card_is_kept_beside_the_address(ada: Ada, sales: Sales) -> None:
    with ada.services.database.open(ada.business, write=True) as db:
        db.scalar(select(PaymentMethod).where(PaymentMethod.id == ada.buyer.method_id)).country = "SG"
    found = sales.invoice(sales.sell({"country": "FR"}, None)).tax_evidence
    assert (found["country"], found["clear"], found["facts"]) == ("FR", False, {"address": "FR", "card": "SG", "ip": None})
