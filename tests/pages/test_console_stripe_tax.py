"""Settings → Taxes: an owner lets Stripe Tax calculate, and staff see what it calculated and recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, update

from billing.charging.payment_processors import purpose
from billing.model.invoices import Invoice
from billing.model.parties import Business
from billing.model.payment_accounts import PaymentAccount, PaymentAccountDetails, sandbox_account_id
from billing.model.payments import Payment
from billing.model.tax_calculations import TaxCalculation, TaxReport
from billing.subscriptions.subscribe import subscribe
from core import clock, encryption
from core.scope import everything, system
from gateways.stripe import StripeKind
from tenants.api_keys import new_key
from tests.harness.stripe_site import KEY
from tests.harness.stripe_standin import Account, StandIn, running
from tests.pages.console_setup import Site


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    with running() as running_stand_in:
        yield running_stand_in
        assert running_stand_in.mistakes == []


@pytest.fixture(scope="module")
def shop(sqlite: Any, tmp_path_factory: Any, stand_in: StandIn) -> Iterator[Site]:
    """Acorn with a second payment account, at the stand-in for Stripe."""
    urls, drop = sqlite.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("stripe-tax"), outgoing_loopback=True)
    accounts = item.services.processor.accounts
    accounts.kinds = {**accounts.kinds, "stripe": StripeKind(item.services.outgoing, stand_in.base_url)}
    stand_in.account(KEY)
    with item.services.database.open(everything("connect Stripe"), write=True) as db:
        db.add(
            PaymentAccount(
                business_id=item.acorn,
                id="pac_stripe",
                kind="stripe",
                currencies=[],
                state="open",
                is_default=False,
                created_at=clock.wall(),
            )
        )
        db.flush()
        sealed = encryption.seal(item.services.settings.secret_keys, purpose("pac_stripe", "key"), KEY)
        db.add(PaymentAccountDetails(business_id=item.acorn, id="pac_stripe", label="Main account", sealed_key=sealed))
    yield item
    item.services.database.dispose()
    drop()


def setup(shop: Site) -> dict[str, Any]:
    return dict(shop.row(Business, Business.business_id == shop.acorn).tax_setup or {})


def account(stand_in: StandIn) -> Account:
    return stand_in.account(KEY)


def choose(shop: Site, value: str) -> Any:
    shop.sam.get(shop.at("/taxes"))
    return shop.save("/taxes/calculator", calculator=value)


def test_stripe_tax_is_checked_before_it_is_switched_on(shop: Site, stand_in: StandIn) -> None:
    account(stand_in).tax_active = False
    assert "Complete its settings at Stripe" in choose(shop, "pac_stripe").text
    account(stand_in).tax_active = True
    account(stand_in).refused.add("POST /v1/tax/transactions/create_from_calculation")
    assert "needs the permission" in choose(shop, "pac_stripe").text
    account(stand_in).refused.clear()
    stand_in.on_next("GET", "/tax/settings", "drop before")
    assert "cannot be calculated right now" in choose(shop, "pac_stripe").text
    assert "calculator" not in setup(shop)
    page = choose(shop, "pac_stripe")
    assert "Saved." in page.text and "Stripe Tax calculates, at the payment account Main account" in page.text
    assert "Which tax would a customer pay?" not in page.text
    assert (setup(shop)["calculator"], setup(shop)["calculator_account"]) == ("stripe", "pac_stripe")


def test_a_sale_shows_its_calculation(shop: Site, stand_in: StandIn) -> None:
    """The card is charged at the other account; only the tax is from Stripe."""
    choose(shop, "pac_stripe")
    buyer = shop.ada_at_acorn
    with shop.services.database.open(system(shop.acorn)) as db:
        product_id = db.scalar(select(Payment.cart).where(Payment.customer_id == buyer.customer_id, Payment.subscription_id.is_not(None)))
    began = subscribe(
        shop.services.processor, system(shop.acorn), customer_id=buyer.customer_id, payment_method_id=buyer.method_id,
        product_id=product_id[0]["product_id"], billing={"country": "DE", "zipcode": "04109", "city": "Leipzig"},
    )  # fmt: skip
    shown = shop.sam.get(shop.at(f"/sales/payments/{began.payment_id}")).text
    calculation = shop.row(TaxCalculation, TaxCalculation.operation == f"new:{began.subscription_id}")
    assert calculation.reference in shown and "Calculated by Stripe Tax." in shown and "Not yet recorded there." in shown
    shop.services.worker.drain()
    next(tick for tick in shop.services.worker.ticks if tick.name == "tax reports").run()
    report = shop.row(TaxReport, TaxReport.calculation_id == calculation.id)
    assert f"Recorded there as {report.reference}." in shop.sam.get(shop.at(f"/sales/payments/{began.payment_id}")).text
    page = shop.customer(shop.ADA)
    text = page.get(f"/subscriptions/{began.subscription_id}").text
    assert "The tax is calculated again on the day of the payment." in text and "Tax 19%" in text
    assert shop.row(Invoice, Invoice.operation == f"new:{began.subscription_id}").tax_minor > 0


def test_a_report_that_fails_is_listed_with_its_payment(shop: Site, stand_in: StandIn) -> None:
    with shop.services.database.open(everything("a report is sent again"), write=True) as db:
        db.execute(update(TaxReport).values(reported_at=None), execution_options={"synchronize_session": False})
    account(stand_in).stored.clear()  # Stripe has forgotten the key
    next(tick for tick in shop.services.worker.ticks if tick.name == "tax reports").run()
    page = shop.sam.get(shop.at("/sales/failing"))
    assert "Tax record at Stripe Tax" in page.text and "Check it at Stripe" in page.text
    report = shop.rows(TaxReport)[0]
    paid = shop.row(Payment, Payment.invoice_id == report.noun_id)
    assert page.soup.find("a", href=shop.at(f"/sales/payments/{paid.id}"))


def test_only_owners_choose_and_only_their_own_accounts(shop: Site) -> None:
    reader = shop.staff("reader@acorn.example", "read_only")
    assert "Save calculator" not in reader.get(shop.at("/taxes")).text
    before = setup(shop)
    choose(shop, "pac_stripe")
    for foreign in (sandbox_account_id(shop.birch), sandbox_account_id(shop.acorn)):
        page = shop.sam.post(shop.at("/taxes/calculator"), {"calculator": foreign})
        assert "not a payment account at Stripe" in page.text
    assert setup(shop) == before
    choose(shop, "table")
    assert "calculator" not in setup(shop)


def test_the_api_switches_it_too(shop: Site) -> None:
    with shop.services.database.open(system(shop.acorn), write=True) as db:
        _row, key = new_key(db, shop.acorn, "A program", settings=shop.services.settings)

    def put(**sent: Any) -> Any:
        return shop.app.test_client().put(
            "/api/tax-settings", json=sent, headers={"Authorization": f"Bearer {key}"}, base_url="http://localhost"
        )

    answer = put(calculator="stripe")
    assert (answer.get_json()["calculator"], answer.get_json()["calculator_account"]) == ("stripe", "pac_stripe")
    assert put(prices_include_tax=True).get_json()["calculator"] == "stripe", "without the field it stays"
    refused = put(calculator="stripe", calculator_account=sandbox_account_id(shop.acorn))
    assert refused.status_code == 422 and "calculator_account" in refused.text
    assert put(calculator="table").get_json()["calculator"] == "table" and "calculator" not in setup(shop)
