"""Access and input checks of the API: keys, modes, ids of other businesses, invalid bodies and queries."""

from __future__ import annotations

from typing import Any

import dodopayments
import httpx
import pytest

from core.ids import keyed_hash
from tests.api.conftest import BILLING, MONTHLY, Site

READS = ["/customers", "/products", "/subscriptions", "/payments", "/refunds", "/license_keys", "/license_key_instances", "/brands"]
WRITES = ["/customers", "/products", "/subscriptions", "/payments", "/refunds", "/customers/cus_x/customer-portal/session"]


def said(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert set(body) >= {"code", "message"} and body["code"] == body["code"].upper() and body["message"]
    assert code in (None, body["code"]), body
    return body


@pytest.mark.parametrize("path", READS)
def test_a_missing_wrong_or_other_modes_key_is_refused(api_site: Site, path: str) -> None:
    live = api_site.key.replace("dodo_test_", "dodo_live_")
    for key in (None, "dodo_test_nobody", live, "My Bearer Token", "x" * 5000):
        assert said(api_site.raw("GET", path, key), 401, "UNAUTHORIZED")
        assert said(api_site.raw("POST", path, key, json={}), 405 if path in READS[6:] else 401)
    assert api_site.raw("GET", path, headers={"Authorization": f"Basic {api_site.key}"}).status_code == 401
    assert api_site.raw("GET", path, headers={"Cookie": f"portal-test={api_site.key}"}).status_code == 401
    assert api_site.raw("GET", path, api_site.key).status_code == 200
    assert api_site.raw("GET", path, api_site.read_key).status_code == 200


@pytest.mark.parametrize("path", WRITES)
def test_a_read_only_key_writes_nothing(api_site: Site, path: str) -> None:
    said(api_site.raw("POST", path, api_site.read_key, json={}), 403)


def test_revoked_keys_and_closed_businesses_are_refused(api_site: Site) -> None:
    from sqlalchemy import select

    from billing.customers.businesses import create_business
    from billing.model.parties import Business
    from core import clock
    from core.scope import everything
    from tenants.api_keys import ApiKey, new_key, revoke_key

    settings = api_site.services.settings
    with api_site.services.database.open(everything("two more keys"), write=True) as db:
        closed = create_business(db, name="Cedar", currency="EUR")
        closed.archived_at = clock.now()
        row, gone = new_key(db, api_site.acorn, "Gone", settings=settings)
        revoke_key(db, row)
        _, of_closed = new_key(db, closed.business_id, "Closed", settings=settings)
    said(api_site.raw("GET", "/customers", gone), 401)
    said(api_site.raw("GET", "/customers", of_closed), 403, "BUSINESS_ARCHIVED")
    with api_site.services.database.open(everything("what is kept")) as db:
        rows = list(db.scalars(select(ApiKey)))
        assert not any(api_site.key in str(vars(entry)) or api_site.key[20:] in str(vars(entry)) for entry in rows)
        assert keyed_hash(settings.secret_keys, "api key, live mode", api_site.key) not in {entry.secret_hash for entry in rows}
        assert db.scalar(select(Business.archived_at).where(Business.business_id == closed.business_id))


def test_ids_of_another_business_do_not_exist(api_site: Site) -> None:
    acorn, birch = api_site.sdk(), api_site.sdk(api_site.other_key)
    ada = acorn.customers.create(email="ada@marlow.example", name="Ada")
    plan = acorn.products.create(name="Acorn Team", price=MONTHLY, tax_category="saas")
    mine = birch.customers.create(email="ada@marlow.example", name="Ada")
    own_plan = birch.products.create(name="Birch Team", price=MONTHLY, tax_category="saas")
    began = acorn.subscriptions.create(
        billing=BILLING, customer={"customer_id": ada.customer_id}, product_id=plan.product_id, quantity=1, payment_link=True
    )
    before = (api_site.raw("GET", "/subscriptions", api_site.key).json(), api_site.raw("GET", "/customers", api_site.key).json())
    body: dict[str, Any] = {"billing": BILLING, "quantity": 1}
    tries = [
        ("GET", f"/customers/{ada.customer_id}", None),
        ("PATCH", f"/customers/{ada.customer_id}", {"name": "Mallory"}),
        ("GET", f"/customers/{ada.customer_id}/payment-methods", None),
        ("POST", f"/customers/{ada.customer_id}/customer-portal/session", None),
        ("GET", f"/products/{plan.product_id}", None),
        ("GET", f"/subscriptions/{began.subscription_id}", None),
        ("PATCH", f"/subscriptions/{began.subscription_id}", {"cancel_at_next_billing_date": True}),
        ("POST", "/subscriptions", {**body, "customer": {"customer_id": ada.customer_id}, "product_id": own_plan.product_id}),
        ("POST", "/subscriptions", {**body, "customer": {"customer_id": mine.customer_id}, "product_id": plan.product_id}),
        ("GET", f"/payments/{began.payment_id}", None),
        ("GET", f"/payments/{began.payment_id}/line-items", None),
        ("POST", "/refunds", {"payment_id": began.payment_id}),
        ("GET", f"/invoices/payments/{began.payment_id}", None),
        ("GET", "/refunds/ref_nobody", None),
        ("GET", "/license_keys/lic_nobody", None),
        ("GET", f"/brands/{api_site.acorn}", None),
    ]
    for method, path, sent in tries:
        said(api_site.raw(method, path, api_site.other_key, json=sent), 404)
    for path in (f"/subscriptions?customer_id={ada.customer_id}", f"/payments?subscription_id={began.subscription_id}"):
        assert api_site.raw("GET", path, api_site.other_key).json() == {"items": []}
    assert before == (api_site.raw("GET", "/subscriptions", api_site.key).json(), api_site.raw("GET", "/customers", api_site.key).json())


GOOD: dict[str, Any] = {"email": "a@b.example", "name": "A"}
PRODUCT: dict[str, Any] = {"name": "P", "price": MONTHLY, "tax_category": "saas"}
SUBSCRIPTION: dict[str, Any] = {"billing": BILLING, "customer": GOOD, "product_id": "pdt_x", "quantity": 1}


@pytest.mark.parametrize(
    ("path", "sent", "field"),
    [
        ("/customers", {**GOOD, "email": 7}, "email"),
        ("/customers", {**GOOD, "email": "nobody"}, "email"),
        ("/customers", {**GOOD, "email": "a@b.example\r\nBcc: x@y.example"}, "email"),
        ("/customers", {**GOOD, "name": ["A"]}, "name"),
        ("/customers", {**GOOD, "name": "  "}, "name"),
        ("/customers", {**GOOD, "metadata": {"a": {"b": 1}}}, "metadata"),
        ("/customers", {**GOOD, "metadata": {str(n): 1 for n in range(51)}}, "metadata"),
        ("/customers", {**GOOD, "preferred_locale": "xx"}, "preferred_locale"),
        ("/customers", {"name": "A"}, "email"),
        ("/products", {**PRODUCT, "price": 12}, "price"),
        ("/products", {**PRODUCT, "price": {**MONTHLY, "price": "2417"}}, "price"),
        ("/products", {**PRODUCT, "price": {**MONTHLY, "price": -1}}, "price"),
        ("/products", {**PRODUCT, "price": {**MONTHLY, "price": 1e30}}, "price"),
        ("/products", {**PRODUCT, "price": {**MONTHLY, "payment_frequency_interval": "month"}}, "payment_frequency_interval"),
        ("/products", {**PRODUCT, "price": {**MONTHLY, "currency": "XXQ"}}, "currency"),
        ("/products", {**PRODUCT, "tax_category": "none"}, "tax_category"),
        ("/products", {**PRODUCT, "brand_id": "bus_other"}, "brand_id"),
        ("/subscriptions", {**SUBSCRIPTION, "quantity": 0}, "quantity"),
        ("/subscriptions", {**SUBSCRIPTION, "quantity": True}, "quantity"),
        ("/subscriptions", {**SUBSCRIPTION, "quantity": 10**30}, "quantity"),
        ("/subscriptions", {**SUBSCRIPTION, "billing": {"country": "England"}}, "billing.country"),
        ("/subscriptions", {**SUBSCRIPTION, "customer": {}}, "customer"),
        ("/subscriptions", {**SUBSCRIPTION, "trial_period_days": -1}, "trial_period_days"),
        ("/subscriptions", {**SUBSCRIPTION, "return_url": "javascript:alert(1)"}, "return_url"),
        ("/subscriptions", {**SUBSCRIPTION, "return_url": "http://[::1"}, "return_url"),
        ("/payments", {"billing": BILLING, "customer": GOOD, "product_cart": []}, "product_cart"),
        ("/refunds", {"payment_id": 1}, "payment_id"),
    ],
)
def test_an_invalid_body_names_its_field(api_site: Site, path: str, sent: Any, field: str) -> None:
    body = said(api_site.raw("POST", path, api_site.key, json=sent), 422)
    assert any(field in name for name in body["fields"]), body


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"NaN",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"email":"a\\u0000@b.example","name":"A"}',
        b'{"email":"a@b.example","name":"\\ud800"}',
    ],
)
def test_a_body_that_is_not_an_object_is_refused(api_site: Site, raw: bytes) -> None:
    answer = api_site.raw("POST", "/customers", api_site.key, content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422) and answer.json()["code"] == "INVALID_REQUEST_BODY"


def test_a_body_that_is_too_large_is_refused(api_site: Site) -> None:
    said(api_site.raw("POST", "/customers", api_site.key, json={**GOOD, "name": "A" * 2_000_000}), 413)


@pytest.mark.parametrize(
    "asked",
    [
        "page_number=-1",
        "page_number=x",
        "page_size=-1",
        "page_size=101",
        "page_number=99999999999",
        "created_at_gte=yesterday",
        "created_at_gte=2026-01-01T00:00:00",
    ],
)
@pytest.mark.parametrize("path", ["/customers", "/payments", "/license_key_instances"])
def test_an_invalid_query_is_refused(api_site: Site, path: str, asked: str) -> None:
    said(api_site.raw("GET", f"{path}?{asked}", api_site.key), 422, "INVALID_QUERY_PARAMS")


@pytest.mark.parametrize("path", ["/customers", "/discounts?product_id=pdt_any&", "/license_key_instances"])
def test_a_page_size_of_zero_is_refused(api_site: Site, path: str) -> None:
    answer = api_site.raw("GET", f"{path}{'' if '?' in path else '?'}page_size=0", api_site.key)
    assert (answer.status_code, answer.json()) == (200, {"items": []})


def test_list_parameters_are_read_in_both_forms(api_site: Site) -> None:
    for asked in ("status=active,on_hold", "status=active&status=on_hold", "status[]=active"):
        assert api_site.raw("GET", f"/subscriptions?{asked}", api_site.key).status_code == 200
    said(api_site.raw("GET", "/subscriptions?status=happy", api_site.key), 422)


def test_unknown_paths_and_methods_are_refused(api_site: Site) -> None:
    said(api_site.raw("GET", "/nothing", api_site.key), 404)
    said(api_site.raw("GET", "/customers/a/b/c", api_site.key), 404)
    said(api_site.raw("DELETE", "/payments", api_site.key), 405)


def test_portal_return_urls_are_checked(api_site: Site) -> None:
    acorn = api_site.sdk()
    ada = acorn.customers.create(email="ada@marlow.example", name="Ada")
    for bad in ("http://shop.example/", "//shop.example", "javascript:alert(1)", "https://a@b.example/", "https://shop.example\\x", "shop"):
        with pytest.raises(dodopayments.UnprocessableEntityError):
            acorn.customers.customer_portal.create(ada.customer_id, return_url=bad)
    assert acorn.customers.customer_portal.create(ada.customer_id, return_url="http://127.0.0.1:3000/account").link


def test_answers_are_not_cached(api_site: Site) -> None:
    answer = api_site.raw("GET", "/customers", api_site.key)
    assert answer.headers["Cache-Control"] == "no-store" and "Set-Cookie" not in answer.headers
    assert "Access-Control-Allow-Origin" not in answer.headers
    public = api_site.raw("GET", "/checkout/supported_countries")
    assert "public" in public.headers["Cache-Control"] and {"GB", "DE", "IN"} <= set(public.json()) and "EU" not in public.json()


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400, "9" * 5000, str(2**63)])
@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", "/customers"),
        ("PATCH", "/customers/{customer}"),
        ("POST", "/products"),
        ("POST", "/discounts"),
        ("POST", "/payments"),
        ("POST", "/subscriptions"),
        ("POST", "/refunds"),
        ("POST", "/webhooks"),
    ],
)
def test_numbers_that_cannot_be_stored_are_refused_by_name(api_site: Site, method: str, path: str, number: str) -> None:
    ada = api_site.raw("POST", "/customers", api_site.key, json=GOOD).json()["customer_id"]
    content = '{"email": "a@b.example", "name": "A", "metadata": {"count": ' + number + "}}"
    answer = api_site.raw(method, path.format(customer=ada), api_site.key, content=content, headers={"Content-Type": "application/json"})
    assert "metadata.count" in said(answer, 422, "INVALID_REQUEST_BODY")["fields"]
    assert api_site.raw("GET", "/customers?page_size=100", api_site.key).status_code == 200
