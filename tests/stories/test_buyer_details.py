"""Addresses and companies are replaced as a whole when a purchase is paid. Each document keeps its own."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import undefer

from billing.customers.customers import update_customer
from billing.customers.profile import edit_profile
from billing.model.customer_search import CustomerWord
from billing.model.invoices import Invoice
from billing.model.parties import Customer
from billing.model.payments import Payment
from billing.subscriptions.billing_details import edit_billing
from billing.subscriptions.subscribe import buy, subscribe
from core.errors import Invalid
from core.scope import everything, system
from tests.stories.business_and_buyer import VISA, Site

RENO = {"street": "1 Virginia Street", "city": "Reno", "state": "NV", "zipcode": "89501", "country": "US"}
LONDON = {"street": "14 Tanner Street", "city": "London", "country": "GB"}
BERLIN = {"street": "Torstraße 1", "city": "Berlin", "zipcode": "10119", "country": "DE"}
DECLINED = "4000000000000002"
ONCE = {"type": "one_time_price", "currency": "EUR", "price": 2900}
MARLOW = {"business_name": "Marlow GmbH", "tax_id": "DE136695976"}


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


def buys(site: Site, billing: dict[str, Any] | None, *, card: str | None = VISA, **more: Any) -> str:
    """Make a one-time purchase. Returns its payment's id. Without a card only the payment link is created."""
    return buy(
        site.processor,
        system(site.business_id),
        customer_id=site.customer_id,
        cart=[(site.product(ONCE), 1)],
        billing=billing,
        payment_method_id=site.card(number=card) if card else None,
        **more,
    ).payment_id


def subscribes(site: Site, billing: dict[str, Any] | None, *, card: str | None = VISA, **more: Any) -> str:
    began = subscribe(
        site.processor,
        system(site.business_id),
        customer_id=site.customer_id,
        product_id=site.product(site.monthly(2900)),
        billing=billing,
        payment_method_id=site.card(number=card) if card else None,
        **more,
    )
    site.subscription_id = began.subscription_id or ""
    return began.payment_id


BUY = [pytest.param(buys, id="purchase"), pytest.param(subscribes, id="subscription")]


def customer(site: Site) -> Customer:
    found: Customer = site.rows(Customer, customer_id=site.customer_id)[0]
    return found


def printed(site: Site, payment_id: str) -> dict[str, Any]:
    """Return the buyer on the payment's invoice."""
    with site.database.open(system(site.business_id)) as db:
        mine = select(Invoice).join(Payment, Payment.invoice_id == Invoice.id).where(Payment.id == payment_id)
        buyer: dict[str, Any] = db.scalars(mine.options(undefer(Invoice.snapshot))).one().snapshot["buyer"]
        return buyer


@pytest.mark.parametrize("act", BUY)
def test_a_paid_purchase_replaces_the_whole_address(site: Site, act: Any) -> None:
    first = act(site, RENO)
    assert customer(site).billing == RENO
    second = act(site, LONDON)
    assert customer(site).billing == LONDON, "no state and no postal code of Reno"
    assert "NV" not in str(printed(site, second)) and "89501" not in str(printed(site, second)) and printed(site, second)["country"] == "GB"
    assert "Reno" in str(printed(site, first)), "a document keeps its own address"
    assert {row.id: row.billing.get("city") for row in site.rows(Payment, status="succeeded")} == {first: "Reno", second: "London"}


@pytest.mark.parametrize("act", BUY)
def test_an_unpaid_payment_link_changes_no_address(site: Site, act: Any) -> None:
    act(site, RENO, card=None, **MARLOW | {"tax_id": "123456789"})
    assert customer(site).billing == {} and customer(site).tax_id is None
    with pytest.raises(Invalid):
        act(site, BERLIN, card=None, business_name="Marlow GmbH", tax_id="DE1")
    act(site, RENO, card=DECLINED)
    assert customer(site).billing == {}, "a declined card pays for nothing"
    act(site, LONDON)
    assert customer(site).billing == LONDON
    act(site, RENO, card=None)
    assert customer(site).billing == LONDON


def test_a_purchase_without_an_address_uses_the_last_one(site: Site) -> None:
    buys(site, RENO)
    buys(site, LONDON)
    assert printed(site, buys(site, None))["lines"] == printed(site, buys(site, LONDON))["lines"]
    assert customer(site).billing == LONDON


def test_a_trial_without_a_first_payment_keeps_its_address_too(site: Site) -> None:
    subscribes(site, BERLIN, trial_days=14, **MARLOW)
    assert (customer(site).billing, customer(site).business_name) == (BERLIN, "Marlow GmbH")


@pytest.mark.parametrize("act", BUY)
def test_company_and_tax_number_are_filled_from_the_first_purchase(site: Site, act: Any) -> None:
    act(site, BERLIN, **MARLOW)
    assert (customer(site).business_name, customer(site).tax_id) == ("Marlow GmbH", "DE136695976")
    with site.database.open(system(site.business_id)) as db:
        assert "gmbh" in set(db.scalars(select(CustomerWord.word).where(CustomerWord.customer_id == site.customer_id)))
    act(site, BERLIN, business_name="Other AG", tax_id="DE811569869")
    assert customer(site).tax_id == "DE136695976", "only what the row lacks is filled in"
    assert printed(site, act(site, BERLIN))["tax_id"] == "DE136695976"
    abroad = printed(site, act(site, LONDON))
    assert (abroad["business_name"], abroad["tax_id"]) == ("Marlow GmbH", None), "a tax number belongs to the country that gave it"


def test_company_details_are_replaced_together(site: Site) -> None:
    """A tax number sent without a company does not get the company name of the customer's row."""
    buys(site, BERLIN, **MARLOW)
    made_out = printed(site, buys(site, BERLIN, tax_id="DE811569869"))
    assert (made_out["business_name"], made_out["tax_id"]) == (None, "DE811569869")


def test_the_company_that_a_customer_takes_off_a_subscription_stays_off(site: Site) -> None:
    subscribes(site, BERLIN, **MARLOW)
    with site.database.open(system(site.business_id), write=True) as db:
        edit_billing(db, site.subscription_id, name="Ada Marlow", street=None, city="Berlin", state=None, zipcode=None, country="DE")
    site.pass_period()
    renewal = next(row for row in site.rows(Payment, charge_type="renewal"))
    made_out = printed(site, renewal.id)
    assert (made_out["business_name"], made_out["tax_id"], made_out["lines"]) == (None, None, ["Berlin"])


def test_an_external_tax_rate_is_kept_for_its_country(site: Site) -> None:
    subscribes(site, BERLIN)
    with site.database.open(everything("a rate as an import leaves it"), write=True) as db:
        row = db.merge(site.subscription())
        row.billing = {**row.billing, "tax_bps": 1900}
    for country, kept in (("DE", True), ("GB", False)):
        with site.database.open(system(site.business_id), write=True) as db:
            edit_billing(db, site.subscription_id, name=f"Ada {country}", street="1", city=None, state=None, zipcode=None, country=country)
        assert ("tax_bps" in site.subscription().billing) is kept, country
        assert site.subscription().billing["country"] == country


def test_a_company_needs_its_number_and_clearing_the_number_clears_it(site: Site) -> None:
    def change(**given: Any) -> Customer:
        with site.database.open(system(site.business_id), write=True) as db:
            row = db.scalars(select(Customer).where(Customer.customer_id == site.customer_id)).one()
            update_customer(db, row, **given)
        return customer(site)

    with pytest.raises(Invalid) as refused:
        change(business_name="Marlow GmbH")
    assert set(refused.value.fields) == {"tax_id"}
    buys(site, BERLIN)
    with pytest.raises(Invalid):
        change(business_name="Marlow GmbH", tax_id="DE1")
    row = change(business_name=" Marlow  GmbH ", tax_id="DE 136 695 976")
    assert (row.business_name, row.tax_id) == ("Marlow GmbH", "DE136695976")
    with site.database.open(system(site.business_id), write=True) as db:
        edit_profile(db, [site.customer_id], name="Ada", phone=None, locale=None)
    assert customer(site).tax_id == "DE136695976"
    row = change(tax_id=None)
    assert (row.business_name, row.tax_id) == (None, None)


@pytest.mark.parametrize("act", BUY)
def test_a_country_alone_does_not_take_the_street_away(site: Site, act: Any) -> None:
    act(site, BERLIN)
    again = act(site, {"country": "DE"})
    assert customer(site).billing == BERLIN and "Torstraße 1" in str(printed(site, again))
    moved = act(site, {"country": "GB"})
    assert customer(site).billing == {"country": "GB"} and "Berlin" not in str(printed(site, moved))


def test_a_company_is_renamed_without_sending_its_number_again(site: Site) -> None:
    """The number is not checked against a later country. A name without any number is refused for that reason."""
    with site.database.open(system(site.business_id), write=True) as db:
        row = db.scalars(select(Customer).where(Customer.customer_id == site.customer_id)).one()
        update_customer(db, row, business_name="Marlow GmbH", tax_id="DE136695976")
        row.billing = {"country": "FR", "city": "Lyon"}
        update_customer(db, row, business_name="Marlow & Co GmbH")
        assert (row.business_name, row.tax_id) == ("Marlow & Co GmbH", "DE136695976")
        update_customer(db, row, tax_id=None)
        with pytest.raises(Invalid) as refused:
            update_customer(db, row, business_name="Marlow GmbH")
    assert (refused.value.code, set(refused.value.fields)) == ("INVALID_REQUEST_BODY", {"tax_id"})
