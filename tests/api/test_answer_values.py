"""Values in API answers about payment pages, retries, deliveries and brands, and pages of lists without repeated rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.model.parties import Business
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from billing.renewals import renew
from core import clock
from core.scope import system
from tests import unpaid_renewals
from tests.api.conftest import BILLING, MONTHLY, ONCE, VISA, Site


def customer(api_site: Site, email: str = "facts@marlow.example") -> str:
    return api_site.raw("POST", "/customers", api_site.key, json={"email": email, "name": "Ada"}).json()["customer_id"]


def product(api_site: Site, **more: Any) -> str:
    sent = {"name": "Acorn for desktop", "price": ONCE, "tax_category": "saas", **more}
    return api_site.raw("POST", "/products", api_site.key, json=sent).json()["product_id"]


def pay(api_site: Site, link: str, number: str = VISA) -> None:
    api_site.pay(link, number)
    api_site.services.gateway.deliver_due()
    api_site.services.worker.drain()


def test_expires_on_says_when_a_payment_page_ends(api_site: Site) -> None:
    ada = {"customer_id": customer(api_site)}
    bought = api_site.raw(
        "POST",
        "/payments",
        api_site.key,
        json={"billing": BILLING, "customer": ada, "product_cart": [{"product_id": product(api_site), "quantity": 1}]},
    ).json()
    began = api_site.raw(
        "POST",
        "/subscriptions",
        api_site.key,
        json={"billing": BILLING, "customer": ada, "quantity": 1, "product_id": product(api_site, price=MONTHLY)},
    ).json()
    for answer in (bought, began):
        assert answer["payment_link"]
        left = datetime.fromisoformat(answer["expires_on"]) - clock.now()
        assert timedelta(hours=23) < left <= timedelta(hours=24)
    pay(api_site, bought["payment_link"])
    method = api_site.raw("GET", f"/customers/{ada['customer_id']}/payment-methods", api_site.key).json()["items"]
    paid = api_site.raw(
        "POST",
        "/payments",
        api_site.key,
        json={
            "billing": BILLING,
            "customer": ada,
            "payment_method_id": method[0]["payment_method_id"],
            "product_cart": [{"product_id": product(api_site), "quantity": 1}],
        },
    ).json()
    assert paid["payment_link"] is None and paid["expires_on"] is None


@pytest.mark.parametrize(("more", "delivered"), [
    ({}, False), ({"license_key_enabled": True}, True), ({"digital_product_delivery": {"external_url": "https://a.example/x"}}, True),
])  # fmt: skip
def test_digital_products_delivered_counts_keys_and_downloads(api_site: Site, more: dict[str, Any], delivered: bool) -> None:
    sent = {
        "billing": BILLING,
        "customer": {"customer_id": customer(api_site)},
        "product_cart": [{"product_id": product(api_site, **more), "quantity": 1}],
    }
    made = api_site.raw("POST", "/payments", api_site.key, json=sent).json()
    url = f"/payments/{made['payment_id']}"
    assert api_site.raw("GET", url, api_site.key).json()["digital_products_delivered"] is False  # not paid yet
    pay(api_site, made["payment_link"])
    assert api_site.raw("GET", url, api_site.key).json()["digital_products_delivered"] is delivered
    listed = api_site.raw("GET", "/payments", api_site.key).json()["items"]
    assert next(item for item in listed if item["payment_id"] == made["payment_id"])["digital_products_delivered"] is delivered


def test_a_brand_has_its_picture_and_address(api_site: Site) -> None:
    plain = api_site.raw("GET", f"/brands/{api_site.birch}", api_site.other_key).json()
    assert (plain["image"], plain["url"]) == (None, None)
    with api_site.services.database.open(system(api_site.birch), write=True) as db:
        row = db.scalars(select(Business)).one()
        row.settings = {**(row.settings or {}), "portal_return_url": "https://birch.example/account"}
        row.brand = {**(row.brand or {}), "logo": f"logo-{'0' * 32}"}
    item = api_site.raw("GET", f"/brands/{api_site.birch}", api_site.other_key).json()
    assert item["url"] == "https://birch.example/account" and item["image"].startswith(
        f"{api_site.services.settings.base_url}/logos/{api_site.birch}/"
    )


def test_automatic_retries_are_counted_in_payments(api_site: Site) -> None:
    ada = customer(api_site, "retries@marlow.example")
    with api_site.services.database.open(system(api_site.acorn), write=True) as db:
        row = db.scalars(select(Business)).one()
        row.settings = {**(row.settings or {}), "retry_schedule_hours": [12, 24]}
    began = api_site.raw(
        "POST",
        "/subscriptions",
        api_site.key,
        json={"billing": BILLING, "customer": {"customer_id": ada}, "product_id": product(api_site, price=MONTHLY), "quantity": 1},
    ).json()
    pay(api_site, began["payment_link"], unpaid_renewals.FAILS_LATER)
    clock.turn(timedelta(days=32))
    with api_site.services.database.open(system(api_site.acorn)) as db:
        due = db.scalars(select(Subscription.id).where(Subscription.id == began["subscription_id"])).one()
    payment_id = renew.prepare(api_site.services.processor, api_site.acorn, due)
    assert payment_id and api_site.services.processor.start(api_site.acorn, payment_id) == "failed"
    state = api_site.raw("GET", f"/payments/{payment_id}/retry", api_site.key).json()
    assert (state["automatic_retry_number"], state["automatic_retry_total"]) == (0, 2)
    with api_site.services.database.open(system(api_site.acorn)) as db:
        failed_at = db.scalars(select(Payment.updated_at).where(Payment.id == payment_id)).one()
    assert datetime.fromisoformat(state["next_automatic_retry_at"]) == failed_at + timedelta(hours=12)


@pytest.mark.parametrize("path", ["/customers", "/products", "/discounts", "/addons"])
def test_paging_with_created_at_lte_repeats_no_row(api_site: Site, path: str) -> None:
    def add(n: int) -> None:
        sent = {
            "/customers": {"email": f"p{n}@paging.example", "name": f"P {n}"},
            "/products": {"name": f"P {n}", "price": ONCE, "tax_category": "saas"},
            "/discounts": {"amount": 500, "type": "percentage"},
            "/addons": {"name": f"A {n}", "currency": "EUR", "price": 100, "tax_category": "saas"},
        }[path]
        answer = api_site.raw("POST", path, api_site.key, json=sent)
        assert answer.status_code in (200, 201), answer.text

    for n in range(7):
        add(n)
    began, seen, page = datetime.now(UTC).isoformat(), [], 0
    while rows := api_site.raw("GET", path, api_site.key, params={"page_number": page, "page_size": 3, "created_at_lte": began}).json()[
        "items"
    ]:
        seen += [next(row[name] for name in ("customer_id", "product_id", "discount_id", "id") if name in row) for row in rows]
        page += 1
        add(100 + page)
    assert len(seen) == len(set(seen)) >= 7
