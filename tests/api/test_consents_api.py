"""Consents in the API: with a purchase (SDK-compatible calls), afterwards, and never about contracts of another business."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import BILLING, MONTHLY, ONCE, Site

START = {"type": "immediate_start", "text": "Begin now. I pay for what I use.", "language": "en", "ip_address": "203.0.113.7"}


@pytest.fixture(scope="module")
def bought(api_site: Site) -> dict[str, Any]:
    """A subscription made by the SDK with a consent in its extra body, and a payment without one."""
    acorn = api_site.sdk()
    ada = acorn.customers.create(email="ada@marlow.example", name="Ada Marlow").customer_id
    plan = acorn.products.create(name="Acorn Team", price=MONTHLY, tax_category="saas").product_id
    once = acorn.products.create(name="Acorn for desktop", price=ONCE, tax_category="saas").product_id
    began = acorn.subscriptions.create(
        billing=BILLING, customer={"customer_id": ada}, product_id=plan, quantity=1, payment_link=True, extra_body={"consents": [START]}
    )  # type: ignore[call-overload]
    paid = acorn.payments.create(
        billing=BILLING, customer={"customer_id": ada}, product_cart=[{"product_id": once, "quantity": 1}], payment_link=True
    )  # type: ignore[call-overload]
    return {"customer": ada, "subscription": began.subscription_id, "payment": paid.payment_id}


def listed(api_site: Site, **query: str) -> list[dict[str, Any]]:
    answer = api_site.raw("GET", "/consents", api_site.key, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]  # type: ignore[no-any-return]


def test_a_consent_comes_with_a_subscription(api_site: Site, bought: dict[str, Any]) -> None:
    [found] = listed(api_site, subscription_id=bought["subscription"])
    assert {name: found[name] for name in START} == START
    assert (found["customer_id"], found["recorded_by"]) == (bought["customer"], "api_key")
    assert found["agreed_at"] and found["recorded_at"]


def test_one_is_added_to_a_payment_and_stays(api_site: Site, bought: dict[str, Any]) -> None:
    body = {"payment_id": bought["payment"], "consents": [{"type": "terms", "text": "Terms of 1 December", "language": "de"}]}
    made = api_site.raw("POST", "/consents", api_site.key, json=body)
    assert made.status_code == 200, made.text
    [found] = listed(api_site, payment_id=bought["payment"])
    assert found["text"] == "Terms of 1 December"
    for method in ("PATCH", "DELETE", "PUT"):
        assert api_site.raw(method, f"/consents/{found['consent_id']}", api_site.key, json={"text": "x"}).status_code in (404, 405)


@pytest.mark.parametrize("wrong", [
    {"consents": []}, {"consents": [START], "subscription_id": "s", "payment_id": "p"}, {"consents": [START]},
    {"consents": [{**START, "ip_address": "<b>"}]}, {"consents": [{**START, "type": "everything"}]}, {"consents": [{**START, "text": ""}]},
    {"consents": [{**START, "agreed_at": "2099-01-01T00:00:00Z"}]}, {"consents": [{**START, "recorded_at": "2020-01-01T00:00:00Z"}]},
])  # fmt: skip
def test_a_consent_without_text_or_with_wrong_values_is_refused(api_site: Site, bought: dict[str, Any], wrong: dict[str, Any]) -> None:
    about = {} if len(wrong) > 1 or wrong["consents"] == [START] else {"payment_id": bought["payment"]}
    assert api_site.raw("POST", "/consents", api_site.key, json={**about, **wrong}).status_code == 422


def test_another_business_and_a_reading_key_add_none(api_site: Site, bought: dict[str, Any]) -> None:
    body = {"subscription_id": bought["subscription"], "consents": [START]}
    assert api_site.raw("POST", "/consents", api_site.other_key, json=body).status_code == 404
    assert api_site.raw("POST", "/consents", api_site.read_key, json=body).status_code == 403
    answer = api_site.raw("GET", "/consents", api_site.other_key, params={"subscription_id": bought["subscription"]})
    assert answer.json()["items"] == []
    assert len(listed(api_site, subscription_id=bought["subscription"])) == 1
