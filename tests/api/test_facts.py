"""What the API answers about pages, retries, deliveries and brands are facts; and pages of a list do not repeat rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing import renewals
from billing.parties import Business
from billing.payments import Payment
from billing.subscriptions import Subscription
from core import clock
from core.scope import system
from tests import unpaid
from tests.api.conftest import BILLING, MONTHLY, ONCE, VISA, Shop


def customer(desk: Shop, email: str = "facts@marlow.example") -> str:
    return desk.raw("POST", "/customers", desk.key, json={"email": email, "name": "Ada"}).json()["customer_id"]


def product(desk: Shop, **more: Any) -> str:
    sent = {"name": "Acorn for desktop", "price": ONCE, "tax_category": "saas", **more}
    return desk.raw("POST", "/products", desk.key, json=sent).json()["product_id"]


def pay(desk: Shop, link: str, number: str = VISA) -> None:
    desk.pay(link, number)
    desk.house.gateway.deliver_due()
    desk.house.worker.drain()


def test_expires_on_says_when_a_payment_page_ends(desk: Shop) -> None:
    ada = {"customer_id": customer(desk)}
    bought = desk.raw("POST", "/payments", desk.key, json={"billing": BILLING, "customer": ada, "product_cart": [
        {"product_id": product(desk), "quantity": 1}]}).json()
    began = desk.raw("POST", "/subscriptions", desk.key, json={"billing": BILLING, "customer": ada, "quantity": 1,
                                                               "product_id": product(desk, price=MONTHLY)}).json()
    for answer in (bought, began):
        assert answer["payment_link"]
        left = datetime.fromisoformat(answer["expires_on"]) - clock.now()
        assert timedelta(hours=23) < left <= timedelta(hours=24)
    pay(desk, bought["payment_link"])
    method = desk.raw("GET", f"/customers/{ada['customer_id']}/payment-methods", desk.key).json()["items"]
    paid = desk.raw("POST", "/payments", desk.key, json={"billing": BILLING, "customer": ada, "payment_method_id": method[0][
        "payment_method_id"], "product_cart": [{"product_id": product(desk), "quantity": 1}]}).json()
    assert paid["payment_link"] is None and paid["expires_on"] is None


@pytest.mark.parametrize(("more", "delivered"), [
    ({}, False), ({"license_key_enabled": True}, True), ({"digital_product_delivery": {"external_url": "https://a.example/x"}}, True),
])  # fmt: skip
def test_digital_products_delivered_counts_keys_and_downloads(desk: Shop, more: dict[str, Any], delivered: bool) -> None:
    sent = {"billing": BILLING, "customer": {"customer_id": customer(desk)}, "product_cart": [
        {"product_id": product(desk, **more), "quantity": 1}]}
    made = desk.raw("POST", "/payments", desk.key, json=sent).json()
    url = f"/payments/{made['payment_id']}"
    assert desk.raw("GET", url, desk.key).json()["digital_products_delivered"] is False  # not paid yet
    pay(desk, made["payment_link"])
    assert desk.raw("GET", url, desk.key).json()["digital_products_delivered"] is delivered
    listed = desk.raw("GET", "/payments", desk.key).json()["items"]
    assert next(one for one in listed if one["payment_id"] == made["payment_id"])["digital_products_delivered"] is delivered


def test_a_brand_has_its_picture_and_address(desk: Shop) -> None:
    plain = desk.raw("GET", f"/brands/{desk.birch}", desk.other_key).json()
    assert (plain["image"], plain["url"]) == (None, None)
    with desk.house.database.open(system(desk.birch), write=True) as db:
        row = db.scalars(select(Business)).one()
        row.settings = {**(row.settings or {}), "portal_return_url": "https://birch.example/account"}
        row.brand = {**(row.brand or {}), "logo": f"logo-{'0' * 32}"}
    one = desk.raw("GET", f"/brands/{desk.birch}", desk.other_key).json()
    assert one["url"] == "https://birch.example/account" and one["image"].startswith(f"{desk.house.settings.base_url}/logos/{desk.birch}/")


def test_automatic_retries_are_told(desk: Shop) -> None:
    ada = customer(desk, "retries@marlow.example")
    with desk.house.database.open(system(desk.acorn), write=True) as db:
        row = db.scalars(select(Business)).one()
        row.settings = {**(row.settings or {}), "retry_schedule_hours": [12, 24]}
    began = desk.raw("POST", "/subscriptions", desk.key, json={
        "billing": BILLING, "customer": {"customer_id": ada}, "product_id": product(desk, price=MONTHLY), "quantity": 1}).json()
    pay(desk, began["payment_link"], unpaid.FAILS_LATER)
    clock.turn(timedelta(days=32))
    with desk.house.database.open(system(desk.acorn)) as db:
        due = db.scalars(select(Subscription.id).where(Subscription.id == began["subscription_id"])).one()
    payment_id = renewals.prepare(desk.house.till, desk.acorn, due)
    assert payment_id and desk.house.till.start(desk.acorn, payment_id) == "failed"
    state = desk.raw("GET", f"/payments/{payment_id}/retry", desk.key).json()
    assert (state["automatic_retry_number"], state["automatic_retry_total"]) == (0, 2)
    with desk.house.database.open(system(desk.acorn)) as db:
        failed_at = db.scalars(select(Payment.updated_at).where(Payment.id == payment_id)).one()
    assert datetime.fromisoformat(state["next_automatic_retry_at"]) == failed_at + timedelta(hours=12)


@pytest.mark.parametrize("path", ["/customers", "/products", "/discounts", "/addons"])
def test_rows_that_come_while_paging_repeat_nothing_with_created_at_lte(desk: Shop, path: str) -> None:
    def add(n: int) -> None:
        sent = {"/customers": {"email": f"p{n}@paging.example", "name": f"P {n}"}, "/products": {"name": f"P {n}", "price": ONCE,
                "tax_category": "saas"}, "/discounts": {"amount": 500, "type": "percentage"},
                "/addons": {"name": f"A {n}", "currency": "EUR", "price": 100, "tax_category": "saas"}}[path]
        answer = desk.raw("POST", path, desk.key, json=sent)
        assert answer.status_code in (200, 201), answer.text

    for n in range(7):
        add(n)
    began, seen, page = datetime.now(UTC).isoformat(), [], 0
    while rows := desk.raw("GET", path, desk.key, params={"page_number": page, "page_size": 3, "created_at_lte": began}).json()["items"]:
        seen += [next(row[name] for name in ("customer_id", "product_id", "discount_id", "id") if name in row) for row in rows]
        page += 1
        add(100 + page)
    assert len(seen) == len(set(seen)) >= 7
