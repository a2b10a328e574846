"""The buyer accounts for the tax of a sale to a business in another EU state. Every other sale is taxed by the seller's rates."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select

from billing.model.catalogue import Product
from billing.model.invoices import Invoice
from billing.model.parties import Customer
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from billing.pricing.tax_setup import from_rates
from billing.renewals import renew
from billing.subscriptions.billing_details import correct_invoice, edit_billing
from billing.subscriptions.subscribe import buy
from core.errors import Invalid
from tests.cast import Cast
from tests.stories.ada_subscription import Ada, wait
from tests.stories.invoice_documents import business, lines, paper
from tests.visitor import Visitor

GERMAN, AUSTRIAN = "DE136695976", "ATU13585627"


@pytest.fixture
def ada(cast: Cast) -> Ada:
    return Ada(cast)


class TestReverseCharge:
    """A sale to a business in another EU state is taxed at the buyer (Directive 2006/112/EC art. 44, 196, 226(11a))."""

    @pytest.fixture(autouse=True)
    def in_germany(self, ada: Ada) -> None:
        business(
            ada,
            address={"street": "Lindenallee 9", "city": "Leipzig", "zipcode": "04109", "country": "DE"},
            tax_id=GERMAN,
            tax_setup=from_rates({"DE": 1900, "AT": 2000, "*": 0}),
        )

    def bought(self, ada: Ada, country: str, tax_id: str | None) -> tuple[Payment, Invoice]:
        done = buy(ada.processor, ada.business, customer_id=ada.buyer.customer_id, cart=[(ada.cast.products["acorn.once"], 1)],
                   payment_method_id=ada.buyer.method_id, billing={"country": country}, tax_id=tax_id,
                   business_name="Marlow Studio" if tax_id else None)  # fmt: skip
        with ada.services.database.open(ada.business) as db:
            payment = db.scalar(select(Payment).where(Payment.id == done.payment_id))
            return payment, db.scalar(select(Invoice).where(Invoice.id == payment.invoice_id))

    def test_a_business_in_another_state_is_charged_no_tax_with_a_reason(self, ada: Ada) -> None:
        payment, bill = self.bought(ada, "AT", AUSTRIAN)
        assert (payment.amount_minor, payment.tax_minor, bill.tax_minor) == (4900, 0, 0)
        [row] = lines(ada, bill.id)
        assert (row.tax_code, row.tax_bps, row.tax_reason) == ("AE", 0, "VATEX-EU-AE")
        text = paper(ada, bill.id)
        assert "Reverse charge" in text and AUSTRIAN[2:] in text and GERMAN[2:] in text

    def test_an_untaxed_document_does_not_speak_of_prices_with_tax(self, ada: Ada) -> None:
        with ada.services.database.open(ada.business, write=True) as db:
            db.scalar(select(Product).where(Product.id == ada.cast.products["acorn.once"])).tax_inclusive = True
        for country, tax_id, said in (("AT", None, True), ("AT", AUSTRIAN, False)):
            _payment, bill = self.bought(ada, country, tax_id)
            assert ("Tax-inclusive prices" in " ".join(paper(ada, bill.id).split())) is said

    @pytest.mark.parametrize(("country", "tax_id", "tax"), [("AT", None, 980), ("DE", GERMAN, 931), ("GB", "GB980780684", 0)])
    def test_other_buyers_are_taxed_by_the_rates(self, ada: Ada, country: str, tax_id: str | None, tax: int) -> None:
        payment, bill = self.bought(ada, country, tax_id)
        assert payment.tax_minor == bill.tax_minor == tax
        assert lines(ada, bill.id)[0].tax_code == ("S" if tax else "O")

    def test_a_seller_without_a_vat_id_charges_its_rates(self, ada: Ada) -> None:
        business(ada, tax_id=None)
        assert self.bought(ada, "AT", AUSTRIAN)[0].tax_minor == 980

    def test_a_subscription_follows_its_buyer_s_number(self, ada: Ada, visitor: Callable[..., Visitor]) -> None:
        with ada.services.database.open(ada.scope, write=True) as db:
            edit_billing(
                db,
                ada.buyer.subscription_id,
                name="Ada Marlow",
                street="Ring 1",
                city="Wien",
                state=None,
                zipcode="1010",
                country="AT",
                business_name="Marlow Studio",
                tax_id=AUSTRIAN,
            )
        them = visitor()
        them.sign_in(ada.cast.ADA)
        assert "€24.17" in them.get(f"/subscriptions/{ada.buyer.subscription_id}").text
        wait(days=32)
        renew.run_due(ada.processor)
        [payment] = ada.payments("renewal")
        assert (payment.amount_minor, payment.tax_minor) == (2417, 0)

    def test_a_correction_does_not_change_how_it_was_taxed(self, ada: Ada) -> None:
        _, bill = self.bought(ada, "AT", None)
        with ada.services.database.open(ada.scope, write=True) as db, pytest.raises(Invalid) as refused:
            correct_invoice(db, bill.id, {"name": "Ada Marlow", "country": "AT", "business_name": "Marlow Studio", "tax_id": AUSTRIAN})
        assert "tax_id" in refused.value.fields

    def test_a_number_is_printed_only_where_the_tax_fits_it(self, ada: Ada) -> None:
        """A tax number added after the subscription started is not printed, because its renewals are taxed."""
        with ada.services.database.open(ada.business, write=True) as db:
            db.scalar(select(Subscription).where(Subscription.id == ada.buyer.subscription_id)).billing = {"country": "AT"}
            customer = db.scalar(select(Customer).where(Customer.customer_id == ada.buyer.customer_id))
            customer.billing, customer.tax_id = {"country": "AT"}, AUSTRIAN
        wait(days=32)
        renew.run_due(ada.processor)
        [payment] = ada.payments("renewal")
        assert payment.tax_minor == 483 and AUSTRIAN[2:] not in paper(ada, str(payment.invoice_id))
        bought, bill = self.bought(ada, "AT", None)  # a new purchase is made with the number the customer has
        assert bought.tax_minor == 0 and AUSTRIAN[2:] in paper(ada, bill.id)
