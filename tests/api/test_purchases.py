"""Every field of a purchase request is either applied or refused by name, and none is ignored."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import undefer

from billing.model.invoices import Invoice
from billing.model.payments import Payment
from core.scope import system
from tests.api.conftest import BILLING, MONTHLY, ONCE, Site

BERLIN = {**BILLING, "country": "DE", "city": "Berlin", "zipcode": "10115"}


@pytest.fixture(scope="module")
def sold(api_site: Site) -> dict[str, dict[str, Any]]:
    """Map paths to a request body that buys there."""
    acorn = api_site.sdk()
    ada = acorn.customers.create(email="ada@marlow.example", name="Ada Marlow").customer_id
    once = acorn.products.create(name="Acorn for desktop", price=ONCE, tax_category="saas").product_id
    plan = acorn.products.create(name="Acorn Team", price=MONTHLY, tax_category="saas").product_id
    common = {"billing": BERLIN, "customer": {"customer_id": ada}}
    cart = [{"product_id": once, "quantity": 1, "amount": 1}]
    return {"/payments": {**common, "product_cart": cart}, "/subscriptions": {**common, "product_id": plan, "quantity": 1}}


def test_a_purchase_carries_the_company_of_the_customer(api_site: Site, sold: dict[str, dict[str, Any]]) -> None:
    body = {**sold["/payments"], "billing_currency": "EUR", "tax_id": "DE 136 695 976", "customer_business_name": "Marlow Ltd"}
    begun = api_site.raw("POST", "/payments", api_site.key, json=body).json()
    assert begun["total_amount"] == 4900, "what the product costs, not the amount of somebody who may choose"
    api_site.pay(begun["payment_link"])
    api_site.settle()
    with api_site.services.database.open(system(api_site.acorn)) as db:
        mine = select(Invoice).join(Payment, Payment.invoice_id == Invoice.id).where(Payment.id == begun["payment_id"])
        buyer = db.scalars(mine.options(undefer(Invoice.snapshot))).one().snapshot["buyer"]
    assert (buyer["business_name"], buyer["tax_id"], buyer["name"]) == ("Marlow Ltd", "DE136695976", "Ada Marlow")
    assert set(api_site.raw("GET", f"/payments/{begun['payment_id']}", api_site.key).json()["billing"]) == set(BILLING)


def test_the_api_sets_and_clears_a_customers_company(api_site: Site) -> None:
    company = {"business_name": "Weiss GmbH", "tax_id": "DE136695976"}
    made = api_site.raw("POST", "/customers", api_site.key, json={"email": "dora@weiss.example", "name": "Dora Weiss", **company}).json()
    assert {name: made[name] for name in company} == company
    path = f"/customers/{made['customer_id']}"
    refused = api_site.raw("PATCH", path, api_site.key, json={"tax_id": "?"})
    assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_TAX_ID")
    kept = api_site.raw("PATCH", path, api_site.key, json={"name": "Dora W."}).json()
    assert {name: kept[name] for name in company} == company
    assert api_site.raw("PATCH", path, api_site.key, json={"tax_id": None}).json()["business_name"] is None
    assert (
        api_site.raw("POST", "/customers", api_site.key, json={"email": "x@y.example", "name": "X", "business_name": "X"}).status_code
        == 422
    )


@pytest.mark.parametrize("path", ["/payments", "/subscriptions"])
@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"tax_id": "DE1"}, "INVALID_TAX_ID"),
        ({"tax_id": "tax_id", "customer_business_name": "Marlow Ltd"}, "INVALID_TAX_ID"),
        ({"customer_business_name": "Marlow Ltd"}, "INVALID_REQUEST_BODY"),
        ({"billing_currency": "AED"}, "UNSUPPORTED_CURRENCY"),
    ],
)
def test_unsupported_purchase_fields_are_refused(
    api_site: Site, sold: dict[str, dict[str, Any]], path: str, more: dict[str, Any], code: str
) -> None:
    answer = api_site.raw("POST", path, api_site.key, json={**sold[path], **more})
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


@pytest.mark.parametrize("more", [{"discount": 10}, {"discount_bps": 1}, {"pay_what_you_want": True}])
def test_a_price_that_contradicts_itself_is_refused(api_site: Site, more: dict[str, Any]) -> None:
    product = {"name": "Acorn", "tax_category": "saas", "price": {**ONCE, **more}}
    answer = api_site.raw("POST", "/products", api_site.key, json=product)
    assert (answer.status_code, answer.json()["code"]) == (422, "UNSUPPORTED_ACTION"), answer.text
    none = {**product, "price": {**ONCE, "discount": 10, "discount_bps": 0, "pay_what_you_want": False}}
    assert api_site.raw("POST", "/products", api_site.key, json=none).status_code == 200, "the newer field is the one that counts"
