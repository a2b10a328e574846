"""Objects of Stripe become records of the import, with its limits."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import Invalid
from tenants.external.stripe import catalogue, customers, discounts, payments, subscriptions
from tenants.external.stripe.webhooks import hint_of

AT = 1_790_000_000
PRODUCT = {"id": "prod_1", "name": "Acorn Team", "active": True, "updated": AT, "metadata": {"tier": "2"}, "description": None}
PRICE: dict[str, Any] = {
    "id": "price_1", "object": "price", "active": True, "billing_scheme": "per_unit", "currency": "eur", "created": AT, "product": PRODUCT,
    "recurring": {"interval": "month", "interval_count": 3, "usage_type": "licensed"}, "unit_amount": 2400, "tax_behavior": "inclusive",
}  # fmt: skip
CARD = {"id": "pm_1", "type": "card", "customer": "cus_1", "created": AT, "billing_details": {"name": "Ada"},
        "card": {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2034, "country": "GB"}}  # fmt: skip
CUSTOMER: dict[str, Any] = {
    "id": "cus_1", "email": "ada@marlow.example", "name": None, "created": AT, "preferred_locales": ["de-DE"], "phone": None,
    "metadata": {}, "invoice_settings": {"default_payment_method": CARD},
    "address": {"country": "GB", "line1": "1 Road", "line2": "Flat 2", "city": "London", "postal_code": "E1", "state": None},
}  # fmt: skip


def item(price: dict[str, Any], quantity: int | None = 1, created: int = AT) -> dict[str, Any]:
    found = {"price": price, "created": created, "current_period_start": AT, "current_period_end": AT + 100}
    return found | ({"quantity": quantity} if quantity is not None else {})


def bought(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "sub_1", "customer": CUSTOMER, "items": {"data": list(items)}, "currency": "eur", "status": "active", "start_date": AT,
        "created": AT, "default_payment_method": None, "metadata": {}, "cancel_at": None, "cancel_at_period_end": False, **more,
    }  # fmt: skip


def test_objects_of_stripe_become_records() -> None:
    found = catalogue.product(PRICE)
    assert (found.kind, found.id, found.values["name"], found.values["price_minor"]) == ("product", "price_1", "Acorn Team", 2400)
    assert (found.values["interval"], found.values["interval_count"], found.values["tax_inclusive"]) == ("Month", 3, True)
    method, buyer = customers.customer(CUSTOMER)
    assert (method.id, method.customer_id, method.values["last4"], method.more["reference"]) == ("pm_1", "cus_1", "4242", None)
    assert (buyer.values["name"], buyer.values["email"], buyer.values["locale"]) == ("ada@marlow.example", "ada@marlow.example", "de-DE")
    extra, metered = PRICE | {"id": "price_2"}, PRICE | {"id": "price_3", "recurring": {**PRICE["recurring"], "usage_type": "metered"}}
    _, plan = subscriptions.subscription(bought(item(metered, None, AT - 9), item(PRICE, 2), item(extra, 3, AT + 5)))
    assert (plan.values["product_id"], plan.values["quantity"], plan.values["payment_method_id"]) == ("price_1", 2, "pm_1")
    assert plan.more["addons"] == [{"addon_id": "price_2", "quantity": 3}, {"addon_id": "price_3", "quantity": 1}]
    assert plan.values["billing"]["street"] == "1 Road, Flat 2" and plan.values["next_billing_at"].timestamp() == AT + 100


@pytest.mark.parametrize(("facts", "status", "ends"), [
    ({}, "active", False), ({"status": "trialing"}, "active", False), ({"status": "past_due"}, "on_hold", False),
    ({"status": "unpaid"}, "on_hold", False), ({"status": "incomplete"}, "pending", False), ({"status": "paused"}, "paused", False),
    ({"status": "incomplete_expired"}, "failed", False), ({"status": "canceled", "canceled_at": AT}, "cancelled", False),
    ({"pause_collection": {"behavior": "void"}}, "paused", False), ({"cancel_at_period_end": True}, "active", True),
    ({"cancel_at": AT + 100}, "active", True), ({"cancel_at": AT + 101}, "active", False),
])  # fmt: skip
def test_states_of_subscriptions(facts: dict[str, Any], status: str, ends: bool) -> None:
    *_, found = subscriptions.subscription(bought(item(PRICE), **facts))
    assert (found.values["status"], found.values["cancel_at_period_end"]) == (status, ends)


@pytest.mark.parametrize(("changes", "kind", "minor"), [
    ({"unit_amount": None, "unit_amount_decimal": "12.5"}, "recurring_price", 12),
    ({"unit_amount": None, "unit_amount_decimal": "0.4"}, "recurring_price", 0),
    ({"billing_scheme": "tiered", "unit_amount": None}, "usage_based_price", 0),
    ({"recurring": {"interval": "day", "interval_count": 1, "usage_type": "metered"}}, "usage_based_price", 0),
    ({"recurring": None, "unit_amount": None, "custom_unit_amount": {}}, "one_time_price", 0),
    ({"currency": "jpy", "unit_amount": 500}, "recurring_price", 500), ({"currency": "kwd", "unit_amount": 5000}, "recurring_price", 5000),
    ({"currency": "isk", "unit_amount": 50_000}, "recurring_price", 500),
])  # fmt: skip
def test_prices_by_usage_and_in_fractions_are_read(changes: dict[str, Any], kind: str, minor: int) -> None:
    found = catalogue.product(PRICE | changes)
    assert (found.values["price_type"], found.values["price_minor"]) == (kind, minor)


def paid(status: str, intent: dict[str, Any], **invoice: Any) -> Any:
    lines = [{"amount": 2400, "quantity": 1, "period": {"start": AT, "end": AT + 9}, "pricing": {"price_details": {"price": "price_1"}}}]
    whole = {
        "customer": "cus_1", "number": "A-1", "total": 2880, "total_taxes": [{"amount": 480}], "billing_reason": "subscription_cycle",
        "lines": {"data": lines}, "parent": {"subscription_details": {"subscription": "sub_1"}}, **invoice,
    }  # fmt: skip
    return payments.invoice_payment({
        "currency": "eur", "status": status, "amount_paid": 1440, "amount_requested": 2880, "created": AT, "invoice": whole,
        "payment": {"type": "payment_intent", "payment_intent": {"id": "pi_1", **intent}},
    })  # fmt: skip


def test_a_payment_has_its_part_of_the_invoices_tax() -> None:
    (found,) = paid("paid", {"status": "succeeded", "latest_charge": {"id": "ch_1"}})
    assert (found.id, found.values["amount_minor"], found.values["tax_minor"], found.values["status"]) == ("pi_1", 1440, 240, "succeeded")
    assert found.more["cart"] == [{"product_id": "price_1", "quantity": 1}] and found.more["invoice_id"] == "A-1"
    assert found.values["charge_type"] == "renewal" and found.values["subscription_id"] == "sub_1"


@pytest.mark.parametrize(("status", "intent", "expected"), [
    ("open", {"status": "requires_payment_method", "latest_charge": None}, None),
    ("open", {"status": "requires_payment_method", "latest_charge": {"id": "ch_1", "failure_code": "card_declined"}}, "failed"),
    ("open", {"status": "requires_action", "latest_charge": None}, "requires_customer_action"),
    ("open", {"status": "processing", "latest_charge": {"id": "ch_1"}}, "processing"),
    ("canceled", {"status": "canceled", "latest_charge": None}, None), ("canceled", {"latest_charge": {"id": "ch_1"}}, "cancelled"),
])  # fmt: skip
def test_states_of_payments(status: str, intent: dict[str, Any], expected: str | None) -> None:
    found = paid(status, intent)
    assert [record.values["status"] for record in found] == ([expected] if expected else [])


@pytest.mark.parametrize("spoil", [
    {"unit_amount": 10**16}, {"unit_amount": -5}, {"unit_amount": True}, {"unit_amount": "5"}, {"currency": "xxx"}, {"currency": 7},
    {"id": "../x"}, {"created": 10**18}, {"created": "now"}, {"recurring": {"interval": "eon"}}, {"product": {"name": "a\0b"}},
    {"unit_amount": None, "unit_amount_decimal": "NaN"}, {"unit_amount": None, "unit_amount_decimal": "1e400"},
])  # fmt: skip
def test_a_hostile_price_is_refused(spoil: dict[str, Any]) -> None:
    with pytest.raises((Invalid, ValueError, KeyError, OverflowError)):
        catalogue.product(PRICE | spoil)


def test_a_customer_without_an_email_address_is_refused() -> None:
    for changes in ({"email": None}, {"deleted": True}):
        with pytest.raises(Invalid):
            customers.customer(CUSTOMER | changes)


@pytest.mark.parametrize(("kind", "about", "expected"), [
    ("customer.updated", {"id": "cus_1"}, ("customer", "cus_1")), ("price.created", {"id": "price_1"}, ("product", "price_1")),
    ("customer.subscription.trial_will_end", {"id": "sub_1"}, ("subscription", "sub_1")),
    ("customer.tax_id.created", {"id": "txi_1", "customer": "cus_1"}, ("customer", "cus_1")),
    ("product.updated", {"id": "prod_1"}, ("sold_product", "prod_1")), ("invoice.paid", {"id": "in_1"}, ("invoice", "in_1")),
    ("invoice_payment.paid", {"id": "inpay_1", "invoice": "in_1"}, ("invoice", "in_1")),
    ("charge.refunded", {"id": "ch_1"}, ("payment", "ch_1")), ("charge.refund.updated", {"id": "re_1"}, ("refund", "re_1")),
    ("charge.dispute.created", {"id": "du_1", "charge": "ch_1"}, ("payment", "ch_1")),
    ("payment_method.detached", {"id": "pm_1"}, ("payment_method", "pm_1")), ("balance.available", {}, ("", "")),
])  # fmt: skip
def test_an_event_says_what_to_read(kind: str, about: dict[str, Any], expected: tuple[str, str]) -> None:
    found = hint_of({"id": "evt_1", "type": kind, "data": {"object": about}})
    assert (found.kind, found.noun) == expected


@pytest.mark.parametrize("percent", [True, -1, 100.5, float("nan"), 1e300, "10", {}])
def test_a_hostile_percentage_is_refused(percent: Any) -> None:
    with pytest.raises(ValueError, match="percentage"):
        discounts._amount({"percent_off": percent}, "EUR")
