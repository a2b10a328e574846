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
def site(sqlite: Any, tmp_path_factory: Any, stand_in: StandIn) -> Iterator[Site]:
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


def setup(site: Site) -> dict[str, Any]:
    return dict(site.row(Business, Business.business_id == site.acorn).tax_setup or {})


def account(stand_in: StandIn) -> Account:
    return stand_in.account(KEY)


def choose(site: Site, value: str) -> Any:
    site.sam.get(site.at("/taxes"))
    return site.save("/taxes/calculator", calculator=value)


def test_stripe_tax_is_checked_before_it_is_switched_on(site: Site, stand_in: StandIn) -> None:
    account(stand_in).tax_active = False
    assert "Complete its settings at Stripe" in choose(site, "pac_stripe").text
    account(stand_in).tax_active = True
    account(stand_in).refused.add("POST /v1/tax/transactions/create_from_calculation")
    assert "needs the permission" in choose(site, "pac_stripe").text
    account(stand_in).refused.clear()
    account(stand_in).refused.add("GET /v1/tax/settings")  # a key that may not read the settings can calculate
    page = choose(site, "pac_stripe")
    assert "Saved." in page.text
    account(stand_in).refused.clear()
    choose(site, "table")
    stand_in.on_next("GET", "/tax/settings", "drop before")
    assert "cannot be calculated right now" in choose(site, "pac_stripe").text
    assert "calculator" not in setup(site)
    page = choose(site, "pac_stripe")
    assert "Saved." in page.text and "Stripe Tax calculates, at the payment account Main account" in page.text
    assert "Which tax would a customer pay?" not in page.text
    assert (setup(site)["calculator"], setup(site)["calculator_account"]) == ("stripe", "pac_stripe")


def test_a_sale_shows_its_calculation(site: Site, stand_in: StandIn) -> None:
    """The card is charged at the other account; only the tax is from Stripe."""
    choose(site, "pac_stripe")
    buyer = site.ada_at_acorn
    with site.services.database.open(system(site.acorn)) as db:
        product_id = db.scalar(select(Payment.cart).where(Payment.customer_id == buyer.customer_id, Payment.subscription_id.is_not(None)))
    began = subscribe(
        site.services.processor, system(site.acorn), customer_id=buyer.customer_id, payment_method_id=buyer.method_id,
        product_id=product_id[0]["product_id"], billing={"country": "DE", "zipcode": "04109", "city": "Leipzig"},
    )  # fmt: skip
    shown = site.sam.get(site.at(f"/sales/payments/{began.payment_id}")).text
    calculation = site.row(TaxCalculation, TaxCalculation.operation == f"new:{began.subscription_id}")
    assert calculation.reference in shown and "Calculated by Stripe Tax." in shown and "Not yet recorded there." in shown
    site.services.worker.drain()
    next(tick for tick in site.services.worker.ticks if tick.name == "tax reports").run()
    report = site.row(TaxReport, TaxReport.calculation_id == calculation.id)
    assert f"Recorded there as {report.reference}." in site.sam.get(site.at(f"/sales/payments/{began.payment_id}")).text
    page = site.customer(site.ADA)
    text = page.get(f"/subscriptions/{began.subscription_id}").text
    assert "The tax is calculated again on the day of the payment." in text and "Tax 19%" in text
    assert site.row(Invoice, Invoice.operation == f"new:{began.subscription_id}").tax_minor > 0


def test_a_report_that_fails_is_listed_with_its_payment(site: Site, stand_in: StandIn) -> None:
    with site.services.database.open(everything("a report is sent again"), write=True) as db:
        db.execute(update(TaxReport).values(reported_at=None), execution_options={"synchronize_session": False})
    account(stand_in).stored.clear()  # Stripe has forgotten the key
    next(tick for tick in site.services.worker.ticks if tick.name == "tax reports").run()
    page = site.sam.get(site.at("/sales/failing"))
    assert "Tax record at Stripe Tax" in page.text and "Check it at Stripe" in page.text
    report = site.rows(TaxReport)[0]
    paid = site.row(Payment, Payment.invoice_id == report.noun_id)
    assert page.soup.find("a", href=site.at(f"/sales/payments/{paid.id}"))


def test_only_owners_choose_and_only_their_own_accounts(site: Site) -> None:
    reader = site.staff("reader@acorn.example", "read_only")
    assert "Save calculator" not in reader.get(site.at("/taxes")).text
    before = setup(site)
    choose(site, "pac_stripe")
    for foreign in (sandbox_account_id(site.birch), sandbox_account_id(site.acorn)):
        page = site.sam.post(site.at("/taxes/calculator"), {"calculator": foreign})
        assert "not a payment account at Stripe" in page.text
    assert setup(site) == before
    choose(site, "table")
    assert "calculator" not in setup(site)


def test_the_api_switches_it_too(site: Site) -> None:
    with site.services.database.open(system(site.acorn), write=True) as db:
        _row, key = new_key(db, site.acorn, "A program", settings=site.services.settings)

    def put(**sent: Any) -> Any:
        return site.app.test_client().put(
            "/api/tax-settings", json=sent, headers={"Authorization": f"Bearer {key}"}, base_url="http://localhost"
        )

    answer = put(calculator="stripe")
    assert (answer.get_json()["calculator"], answer.get_json()["calculator_account"]) == ("stripe", "pac_stripe")
    assert put(prices_include_tax=True).get_json()["calculator"] == "stripe", "without the field it stays"
    refused = put(calculator="stripe", calculator_account=sandbox_account_id(site.acorn))
    assert refused.status_code == 422 and "calculator_account" in refused.text
    assert put(calculator="table").get_json()["calculator"] == "table" and "calculator" not in setup(site)


def test_a_sale_by_api_that_could_not_be_calculated_can_be_repeated(site: Site, stand_in: StandIn) -> None:
    """503, nothing is stored, and the same call with the same key succeeds later."""
    choose(site, "pac_stripe")
    with site.services.database.open(system(site.acorn), write=True) as db:
        _row, key = new_key(db, site.acorn, "A program", settings=site.services.settings)
    ada = site.ada_at_acorn
    sent = {
        "customer": {"customer_id": ada.customer_id}, "billing": {"country": "DE", "zipcode": "04109", "city": "Leipzig"},
        "product_cart": [{"product_id": site.row(Payment, Payment.id == ada.purchase_id).cart[0]["product_id"], "quantity": 1}],
        "payment_method_id": ada.method_id,
    }  # fmt: skip

    def post() -> Any:
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "order-1"}
        return site.app.test_client().post("/api/payments", json=sent, headers=headers, base_url="http://localhost")

    before = len(site.rows(Payment))
    stand_in.on_next("POST", "/tax/calculations", "drop before")
    refused = post()
    assert (refused.status_code, refused.get_json()["code"]) == (503, "TAX_NOT_CALCULATED"), refused.text
    assert len(site.rows(Payment)) == before
    site.services.processor.taxes._silent.clear()  # 15 seconds later
    sold = post()
    assert sold.status_code == 200, sold.text
    paid = site.row(Payment, Payment.id == sold.get_json()["payment_id"])
    assert len(site.rows(Payment)) == before + 1
    assert site.row(TaxCalculation, TaxCalculation.operation == f"purchase:{paid.id}").lines[0]["tax_minor"] == paid.tax_minor > 0
    choose(site, "table")


def test_the_api_asks_stripe_too(site: Site, stand_in: StandIn) -> None:
    choose(site, "table")
    with site.services.database.open(system(site.acorn), write=True) as db:
        headers = {"Authorization": f"Bearer {new_key(db, site.acorn, 'taxes', settings=site.services.settings)[1]}"}
    api = site.app.test_client()
    sent = {"calculator": "stripe", "calculator_account": "pac_stripe"}
    account(stand_in).tax_active = False
    refused = api.put("/api/tax-settings", json=sent, headers=headers)
    assert refused.status_code == 422 and "Complete its settings at Stripe" in refused.get_data(as_text=True)
    assert "calculator" not in setup(site)
    account(stand_in).tax_active = True
    stand_in.on_next("GET", "/tax/settings", "drop before")
    assert api.put("/api/tax-settings", json=sent, headers=headers).status_code == 503
    assert api.put("/api/tax-settings", json=sent, headers=headers).json["calculator"] == "stripe"
    assert setup(site)["calculator_account"] == "pac_stripe"


def test_the_account_that_calculates_cannot_be_closed(site: Site) -> None:
    choose(site, "pac_stripe")
    with site.services.database.open(everything("another account charges"), write=True) as db:
        db.execute(update(PaymentAccount).where(PaymentAccount.id == "pac_stripe").values(state="refunds_only"))
    site.sam.get(site.at("/settings/payments/pac_stripe"))
    site.save("/settings/payments/pac_stripe/closing")
    refused = site.sam.submit("/closing", expect=None)
    assert "This account calculates your tax." in refused.text
    assert site.row(PaymentAccount, PaymentAccount.id == "pac_stripe").state == "refunds_only"
    choose(site, "table")
    site.sam.get(site.at("/settings/payments/pac_stripe"))
    site.save("/settings/payments/pac_stripe/closing")
    site.sam.submit("/closing")
    assert site.row(PaymentAccount, PaymentAccount.id == "pac_stripe").state == "closed"
