"""Addresses and companies are values: each is replaced whole, when a purchase is paid, and each document keeps its own."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import undefer

from billing.commands.billing_details import edit_billing
from billing.commands.buying import buy, subscribe
from billing.commands.customers import update_customer
from billing.commands.profile import edit_profile
from billing.finding import CustomerWord
from billing.invoices import Invoice
from billing.parties import Customer
from billing.payments import Payment
from core.errors import Invalid
from core.scope import everything, system
from tests.stories.shop import VISA, Shop

RENO = {"street": "1 Virginia Street", "city": "Reno", "state": "NV", "zipcode": "89501", "country": "US"}
LONDON = {"street": "14 Tanner Street", "city": "London", "country": "GB"}
BERLIN = {"street": "Torstraße 1", "city": "Berlin", "zipcode": "10119", "country": "DE"}
DECLINED = "4000000000000002"
ONCE = {"type": "one_time_price", "currency": "EUR", "price": 2900}
MARLOW = {"business_name": "Marlow GmbH", "tax_id": "DE136695976"}


@pytest.fixture
def shop(till_house: Any) -> Shop:
    return Shop.open(till_house)


def buys(shop: Shop, billing: dict[str, Any] | None, *, card: str | None = VISA, **more: Any) -> str:
    """A one-time purchase. Returns its payment's id. Without a card only the payment link is made."""
    return buy(shop.till, system(shop.business_id), customer_id=shop.customer_id, cart=[(shop.product(ONCE), 1)], billing=billing,
               payment_method_id=shop.card(number=card) if card else None, **more).payment_id


def subscribes(shop: Shop, billing: dict[str, Any] | None, *, card: str | None = VISA, **more: Any) -> str:
    began = subscribe(shop.till, system(shop.business_id), customer_id=shop.customer_id, product_id=shop.product(shop.monthly(2900)),
                      billing=billing, payment_method_id=shop.card(number=card) if card else None, **more)
    shop.subscription_id = began.subscription_id or ""
    return began.payment_id


BUY = [pytest.param(buys, id="purchase"), pytest.param(subscribes, id="subscription")]


def customer(shop: Shop) -> Customer:
    found: Customer = shop.rows(Customer, customer_id=shop.customer_id)[0]
    return found


def printed(shop: Shop, payment_id: str) -> dict[str, Any]:
    """The buyer on the payment's invoice."""
    with shop.database.open(system(shop.business_id)) as db:
        mine = select(Invoice).join(Payment, Payment.invoice_id == Invoice.id).where(Payment.id == payment_id)
        buyer: dict[str, Any] = db.scalars(mine.options(undefer(Invoice.snapshot))).one().snapshot["buyer"]
        return buyer


@pytest.mark.parametrize("act", BUY)
def test_an_address_is_replaced_whole_when_paid(shop: Shop, act: Any) -> None:
    first = act(shop, RENO)
    assert customer(shop).billing == RENO
    second = act(shop, LONDON)
    assert customer(shop).billing == LONDON, "no state and no postal code of Reno"
    assert "NV" not in str(printed(shop, second)) and "89501" not in str(printed(shop, second)) and printed(shop, second)["country"] == "GB"
    assert "Reno" in str(printed(shop, first)), "a document keeps its own address"
    assert {one.id: one.billing.get("city") for one in shop.rows(Payment, status="succeeded")} == {first: "Reno", second: "London"}


@pytest.mark.parametrize("act", BUY)
def test_a_payment_link_that_nobody_pays_fixes_no_address(shop: Shop, act: Any) -> None:
    act(shop, RENO, card=None, **MARLOW | {"tax_id": "123456789"})
    assert customer(shop).billing == {} and customer(shop).tax_id is None
    with pytest.raises(Invalid):
        act(shop, BERLIN, card=None, business_name="Marlow GmbH", tax_id="DE1")
    act(shop, RENO, card=DECLINED)
    assert customer(shop).billing == {}, "a declined card pays for nothing"
    act(shop, LONDON)
    assert customer(shop).billing == LONDON
    act(shop, RENO, card=None)
    assert customer(shop).billing == LONDON


def test_without_an_address_of_its_own_a_purchase_takes_the_last_one_whole(shop: Shop) -> None:
    buys(shop, RENO)
    buys(shop, LONDON)
    assert printed(shop, buys(shop, None))["lines"] == printed(shop, buys(shop, LONDON))["lines"]
    assert customer(shop).billing == LONDON


def test_a_trial_without_a_first_payment_keeps_its_address_too(shop: Shop) -> None:
    subscribes(shop, BERLIN, trial_days=14, **MARLOW)
    assert (customer(shop).billing, customer(shop).business_name) == (BERLIN, "Marlow GmbH")


@pytest.mark.parametrize("act", BUY)
def test_company_and_tax_number_are_filled_from_the_first_purchase(shop: Shop, act: Any) -> None:
    act(shop, BERLIN, **MARLOW)
    assert (customer(shop).business_name, customer(shop).tax_id) == ("Marlow GmbH", "DE136695976")
    with shop.database.open(system(shop.business_id)) as db:
        assert "gmbh" in set(db.scalars(select(CustomerWord.word).where(CustomerWord.customer_id == shop.customer_id)))
    act(shop, BERLIN, business_name="Other AG", tax_id="DE811569869")
    assert customer(shop).tax_id == "DE136695976", "only what the row lacks is filled in"
    assert printed(shop, act(shop, BERLIN))["tax_id"] == "DE136695976"
    abroad = printed(shop, act(shop, LONDON))
    assert (abroad["business_name"], abroad["tax_id"]) == (None, None), "a tax number belongs to the country that gave it"


def test_a_company_is_taken_whole(shop: Shop) -> None:
    """A tax number that is sent alone does not get the name of the company that the customer's row has."""
    buys(shop, BERLIN, **MARLOW)
    made_out = printed(shop, buys(shop, BERLIN, tax_id="DE811569869"))
    assert (made_out["business_name"], made_out["tax_id"]) == (None, "DE811569869")


def test_the_company_that_a_customer_takes_off_a_subscription_stays_off(shop: Shop) -> None:
    subscribes(shop, BERLIN, **MARLOW)
    with shop.database.open(system(shop.business_id), write=True) as db:
        edit_billing(db, shop.subscription_id, name="Ada Marlow", street=None, city="Berlin", state=None, zipcode=None, country="DE")
    shop.pass_period()
    renewal = next(one for one in shop.rows(Payment, charge_type="renewal"))
    made_out = printed(shop, renewal.id)
    assert (made_out["business_name"], made_out["tax_id"], made_out["lines"]) == (None, None, ["Berlin"])


def test_a_rate_that_another_system_took_stays_with_its_country(shop: Shop) -> None:
    subscribes(shop, BERLIN)
    with shop.database.open(everything("a rate as an import leaves it"), write=True) as db:
        row = db.merge(shop.subscription())
        row.billing = {**row.billing, "tax_bps": 1900}
    for country, kept in (("DE", True), ("GB", False)):
        with shop.database.open(system(shop.business_id), write=True) as db:
            edit_billing(db, shop.subscription_id, name=f"Ada {country}", street="1", city=None, state=None, zipcode=None, country=country)
        assert ("tax_bps" in shop.subscription().billing) is kept, country
        assert shop.subscription().billing["country"] == country


def test_a_company_needs_its_number_and_clearing_the_number_clears_it(shop: Shop) -> None:
    def change(**given: Any) -> Customer:
        with shop.database.open(system(shop.business_id), write=True) as db:
            row = db.scalars(select(Customer).where(Customer.customer_id == shop.customer_id)).one()
            update_customer(db, row, **given)
        return customer(shop)

    with pytest.raises(Invalid) as refused:
        change(business_name="Marlow GmbH")
    assert set(refused.value.fields) == {"tax_id"}
    buys(shop, BERLIN)
    with pytest.raises(Invalid):
        change(business_name="Marlow GmbH", tax_id="DE1")
    row = change(business_name=" Marlow  GmbH ", tax_id="DE 136 695 976")
    assert (row.business_name, row.tax_id) == ("Marlow GmbH", "DE136695976")
    with shop.database.open(system(shop.business_id), write=True) as db:
        edit_profile(db, [shop.customer_id], name="Ada", phone=None, locale=None)
    assert customer(shop).tax_id == "DE136695976"
    row = change(tax_id=None)
    assert (row.business_name, row.tax_id) == (None, None)


@pytest.mark.parametrize("act", BUY)
def test_a_country_alone_does_not_take_the_street_away(shop: Shop, act: Any) -> None:
    act(shop, BERLIN)
    again = act(shop, {"country": "DE"})
    assert customer(shop).billing == BERLIN and "Torstraße 1" in str(printed(shop, again))
    moved = act(shop, {"country": "GB"})
    assert customer(shop).billing == {"country": "GB"} and "Berlin" not in str(printed(shop, moved))
