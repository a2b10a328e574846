"""Ada's billing details at Stripe: she changes them here, the merchant there, and neither overwrites the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from billing.model.parties import Customer
from billing.model.subscriptions import Subscription
from core.scope import system
from tenants.api_keys import new_key
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.stories.billed_by_stripe import Story, billed_by_stripe
from tests.stories.stripe_mirror import our_id, work
from tests.visitor import Visitor

pytestmark = on_sqlite
BERLIN = {"name": "Ada Marlow", "street": "Torstr. 1", "city": "Berlin", "zipcode": "10115", "state": "", "country": "DE"}
STUDIO = BERLIN | {"business_name": "Marlow Studio", "tax_id": "136 695 976"}
CONFIRMED = "has confirmed: change the billing details."


@pytest.fixture
def story(cast: Cast, app: Any) -> Iterator[Story]:
    with billed_by_stripe(cast, app) as made:
        yield made


def numbers(story: Story) -> list[tuple[str, str]]:
    return sorted((item["type"], item["value"]) for item in story.buyer["tax_ids"]["data"])


def save(story: Story, expect: int = 200, **fields: str) -> str:
    """Ada sends the form, and the worker sends the request to Stripe. Returns the page afterwards."""
    story.ada.get(f"{story.url}/billing-details")
    page = story.ada.submit("billing-details", expect=expect, **fields)
    work(story.services)
    return story.ada.get(story.url).text if expect == 200 else page.text


def here(story: Story) -> Subscription:
    with story.services.database.open(system(story.cedar)) as db:
        return db.scalars(select(Subscription).where(Subscription.id == our_id(story.services, story.cedar, story.late["id"]))).one()


def test_details_reach_stripe_and_its_next_invoice(story: Story) -> None:
    other = story.merchant.subscribe(story.buyer, (story.merchant.price("Cedar Calendar", 300), 1))
    story.follow_events()
    said = story.ada.get(f"{story.url}/billing-details").text
    assert "also for your other subscriptions there" in said and "12 High Street" in str(story.ada.page.soup)
    assert CONFIRMED in save(story, **STUDIO)
    assert numbers(story) == [("eu_vat", "DE136695976")]
    assert (story.buyer["name"], story.buyer["individual_name"], story.buyer["business_name"]) == (
        "Marlow Studio", "Ada Marlow", "Marlow Studio",
    )  # fmt: skip
    assert story.buyer["address"] == {
        "line1": "Torstr. 1", "line2": None, "city": "Berlin", "state": None, "postal_code": "10115", "country": "DE",
    }  # fmt: skip
    row = here(story)
    assert (row.business_name, row.tax_id, row.billing["city"]) == ("Marlow Studio", "DE136695976", "Berlin")
    with story.services.database.open(system(story.cedar)) as db:
        assert db.scalars(select(Customer.name).where(Customer.customer_id == row.customer_id)).one() == "Ada Marlow"
        second = db.scalars(select(Subscription).where(Subscription.id == our_id(story.services, story.cedar, other["id"]))).one()
    assert second.tax_id == "DE136695976", "the details are those of the customer, so they are read for all subscriptions"
    story.behave("ok")
    invoice = story.merchant.renew(story.late)
    assert invoice["customer_name"] == "Marlow Studio" and invoice["customer_address"]["city"] == "Berlin"
    assert invoice["customer_tax_ids"] == [{"type": "eu_vat", "value": "DE136695976"}]

    assert CONFIRMED in save(story, business_name="", tax_id="")
    assert numbers(story) == [] and story.buyer["name"] == "Ada Marlow" and "business_name" not in story.buyer
    before = len(story.stand_in.calls)
    assert "change the billing details" in save(story), "what was confirmed before is still shown"
    assert len(story.stand_in.calls) == before, "nothing has changed, so nothing is sent"


def test_another_number_replaces_the_one_that_was_shown(story: Story) -> None:
    """A number that the merchant added and the page does not show stays."""
    story.merchant.number(story.buyer, "us_ein", "12-3456789")
    story.merchant.number(story.buyer, "gb_vat", "GB980780684")
    story.follow_events()
    story.ada.get(f"{story.url}/billing-details")
    assert 'value="GB980780684"' in str(story.ada.page.soup)
    assert CONFIRMED in save(story, **STUDIO)
    assert numbers(story) == [("eu_vat", "DE136695976"), ("us_ein", "12-3456789")]
    assert CONFIRMED in save(story, country="CH", business_name="Marlow Studio", tax_id="CHE-107.787.577 IVA", zipcode="8001")
    assert numbers(story) == [("ch_vat", "CHE-107.787.577 IVA"), ("us_ein", "12-3456789")]


def test_what_the_merchant_changes_at_stripe_is_shown(story: Story, app: Any) -> None:
    merchant = story.merchant
    merchant.move(story.buyer, name="Ada Lovell", address={**story.buyer["address"], "line1": "9 Quay", "line2": "Flat 2", "city": "Hull"})
    number = merchant.number(story.buyer, "gb_vat", "GB980780684")
    for headers, body in story.stand_in.take_events(merchant.account.key):
        path = f"/incoming/stripe/billing/{story.cedar}"
        assert app.test_client().post(path, data=body, headers=headers).status_code < 300
    work(story.services)
    row = here(story)
    assert (row.billing["street"], row.billing["city"], row.tax_id) == ("9 Quay, Flat 2", "Hull", "GB980780684")
    assert 'value="Ada Lovell"' in str(story.ada.get(f"{story.url}/billing-details").soup)
    from tests.harness.stripe_standin import tax_ids

    tax_ids.remove(merchant.account, {}, story.buyer["id"], number["id"])
    story.follow_events()
    assert here(story).tax_id is None
    merchant.number(story.buyer, "gb_vat", "GB980780684")
    merchant.account.events.clear()
    story.pull()
    assert here(story).tax_id == "GB980780684", "a pull reads it as well"


def test_a_stale_form_does_not_overwrite_a_change(story: Story) -> None:
    ada, merchant = story.ada, story.merchant
    ada.get(f"{story.url}/billing-details")
    form = {item["name"]: item.get("value", "") for item in ada.page.form("billing-details").select("input[name]")}
    merchant.move(story.buyer, address={**story.buyer["address"], "city": "Hull"})
    story.follow_events()  # known here
    page = ada.post(f"{story.url}/billing-details", data=form | BERLIN, expect=409)
    assert "have changed since you opened them" in page.text and 'value="Hull"' in str(page.soup)
    page = ada.submit("billing-details", **BERLIN)
    work(story.services)
    assert CONFIRMED in ada.get(story.url).text and story.buyer["address"]["city"] == "Berlin"

    merchant.move(story.buyer, address={**story.buyer["address"], "city": "York", "country": "GB"})
    merchant.number(story.buyer, "gb_vat", "GB980780684")
    said = save(story, **STUDIO)  # not known here
    assert "The billing details have changed since you opened them." in said and "Nothing was changed." in said
    assert story.buyer["address"]["city"] == "York" and numbers(story) == [("gb_vat", "GB980780684")]
    row = here(story)
    assert (row.billing["city"], row.tax_id) == ("York", "GB980780684"), "and what Stripe has is shown now"


@pytest.mark.parametrize("refused", ["number", "customer", "too long", "no kind"])
def test_a_refusal_changes_nothing(story: Story, refused: str) -> None:
    fields, expected = dict(STUDIO), "required permissions"
    if refused == "number":
        story.merchant.account.refused = {"POST /v1/customers/{customer}/tax_ids"}
    elif refused == "customer":
        story.merchant.account.refused = {"POST /v1/customers/{customer}"}
    elif refused == "too long":
        fields["business_name"], expected = "Marlow " * 30, "at most 150 characters"
    else:
        fields |= {"country": "GL", "tax_id": "12345678"}
        expected = "no kind of tax number for this country"
    before = dict(story.buyer)
    said = save(story, **fields)
    assert "declined the request: change the billing details" in said and expected in said and "Nothing was changed." in said
    assert story.buyer == before and numbers(story) == []


@pytest.mark.parametrize("lost", ["drop before", "drop", "500 after"])
@pytest.mark.parametrize("step", ["number", "customer", "removal"])
def test_a_lost_answer_ends_with_one_number(story: Story, step: str, lost: str) -> None:
    """Every step may be lost before or after it was carried out. The request is repeated until all of them are done."""
    old = story.merchant.number(story.buyer, "gb_vat", "GB980780684")
    story.follow_events()
    method, ending = {
        "number": ("POST", "/tax_ids"), "customer": ("POST", story.buyer["id"]), "removal": ("DELETE", old["id"]),
    }[step]  # fmt: skip
    story.stand_in.on_next(method, ending, lost)
    said = save(story, **STUDIO)
    for _ in range(3):
        story.look_again()
    said = story.ada.get(story.url).text
    if (step, lost) == ("number", "500 after"):  # Stripe repeats the error; the number is there, so it is not created again
        assert story.stand_in.forget_troubles() == 0
    assert CONFIRMED in said, said
    assert numbers(story) == [("eu_vat", "DE136695976")] and story.buyer["name"] == "Marlow Studio"


def test_the_api_changes_them_and_strangers_do_not(story: Story, cast: Cast, app: Any) -> None:
    with story.services.database.open(system(story.cedar), write=True) as db:
        _row, secret = new_key(db, story.cedar, "test", False, settings=story.services.settings)
    item, client = our_id(story.services, story.cedar, story.late["id"]), app.test_client()
    billing = {"street": "Torstr. 1", "city": "Berlin", "zipcode": "10115", "country": "DE"}
    answer = client.patch(f"/api/subscriptions/{item}", json={"billing": billing, "tax_id": "DE136695976"},
                          headers={"Authorization": f"Bearer {secret}"})  # fmt: skip
    assert answer.status_code == 200, answer.text
    work(story.services)
    assert numbers(story) == [("eu_vat", "DE136695976")] and here(story).billing["city"] == "Berlin"
    ben = Visitor(app)
    ben.sign_in(cast.BEN)
    ben.get(f"{story.url}/billing-details", expect=404)
    ben.post(f"{story.url}/billing-details", data=BERLIN, expect=404)
    assert story.buyer["name"] == "Ada Marlow"
