"""What a program says about a purchase is done or refused by name, never left out in silence: money, and whose bill it is."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import undefer

from billing.invoices import Invoice
from billing.payments import Payment
from core.scope import system
from tests.api.conftest import BILLING, MONTHLY, ONCE, Shop

BERLIN = {**BILLING, "country": "DE", "city": "Berlin", "zipcode": "10115"}


@pytest.fixture(scope="module")
def sold(desk: Shop) -> dict[str, dict[str, Any]]:
    """Path → a body that buys there."""
    acorn = desk.sdk()
    ada = acorn.customers.create(email="ada@marlow.example", name="Ada Marlow").customer_id
    once = acorn.products.create(name="Acorn for desktop", price=ONCE, tax_category="saas").product_id
    plan = acorn.products.create(name="Acorn Team", price=MONTHLY, tax_category="saas").product_id
    common = {"billing": BERLIN, "customer": {"customer_id": ada}}
    cart = [{"product_id": once, "quantity": 1, "amount": 1}]
    return {"/payments": {**common, "product_cart": cart}, "/subscriptions": {**common, "product_id": plan, "quantity": 1}}


def test_a_purchase_is_made_out_to_the_company(desk: Shop, sold: dict[str, dict[str, Any]]) -> None:
    body = {**sold["/payments"], "billing_currency": "EUR", "tax_id": "DE 136 695 976", "customer_business_name": "Marlow Ltd"}
    begun = desk.raw("POST", "/payments", desk.key, json=body).json()
    assert begun["total_amount"] == 4900, "what the product costs, not the amount of somebody who may choose"
    desk.pay(begun["payment_link"])
    desk.settle()
    with desk.house.database.open(system(desk.acorn)) as db:
        mine = select(Invoice).join(Payment, Payment.invoice_id == Invoice.id).where(Payment.id == begun["payment_id"])
        buyer = db.scalars(mine.options(undefer(Invoice.snapshot))).one().snapshot["buyer"]
    assert (buyer["business_name"], buyer["tax_id"], buyer["name"]) == ("Marlow Ltd", "DE136695976", "Ada Marlow")
    assert set(desk.raw("GET", f"/payments/{begun['payment_id']}", desk.key).json()["billing"]) == set(BILLING)


def test_a_program_writes_and_clears_a_customers_company(desk: Shop) -> None:
    company = {"business_name": "Weiss GmbH", "tax_id": "DE136695976"}
    made = desk.raw("POST", "/customers", desk.key, json={"email": "dora@weiss.example", "name": "Dora Weiss", **company}).json()
    assert {name: made[name] for name in company} == company
    path = f"/customers/{made['customer_id']}"
    refused = desk.raw("PATCH", path, desk.key, json={"tax_id": "?"})
    assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_TAX_ID")
    kept = desk.raw("PATCH", path, desk.key, json={"name": "Dora W."}).json()
    assert {name: kept[name] for name in company} == company
    assert desk.raw("PATCH", path, desk.key, json={"tax_id": None}).json()["business_name"] is None
    assert desk.raw("POST", "/customers", desk.key, json={"email": "x@y.example", "name": "X", "business_name": "X"}).status_code == 422


@pytest.mark.parametrize("path", ["/payments", "/subscriptions"])
@pytest.mark.parametrize(("more", "code"), [
    ({"tax_id": "DE1"}, "INVALID_TAX_ID"), ({"tax_id": "tax_id", "customer_business_name": "Marlow Ltd"}, "INVALID_TAX_ID"),
    ({"customer_business_name": "Marlow Ltd"}, "INVALID_REQUEST_BODY"), ({"billing_currency": "AED"}, "UNSUPPORTED_CURRENCY"),
])
def test_what_cannot_be_done_is_refused(desk: Shop, sold: dict[str, dict[str, Any]], path: str, more: dict[str, Any], code: str) -> None:
    answer = desk.raw("POST", path, desk.key, json={**sold[path], **more})
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


@pytest.mark.parametrize("more", [{"discount": 10}, {"discount_bps": 1}, {"pay_what_you_want": True}])
def test_a_price_that_is_not_what_it_says(desk: Shop, more: dict[str, Any]) -> None:
    product = {"name": "Acorn", "tax_category": "saas", "price": {**ONCE, **more}}
    answer = desk.raw("POST", "/products", desk.key, json=product)
    assert (answer.status_code, answer.json()["code"]) == (422, "UNSUPPORTED_ACTION"), answer.text
    none = {**product, "price": {**ONCE, "discount": 10, "discount_bps": 0, "pay_what_you_want": False}}
    assert desk.raw("POST", "/products", desk.key, json=none).status_code == 200, "the newer field is the one that counts"
