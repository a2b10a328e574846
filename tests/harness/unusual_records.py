"""Unusual but permitted records, such as other systems export, as lines of an import file."""

from __future__ import annotations

from typing import Any

ARABIC = "أدا مارلو"
HEBREW = "עדה \u202bמרלו\u202c"
LONG = "Donaudampfschifffahrtsgesellschaft" * 20
WHEN = "2026-01-31T10:00:00Z"


def lines(email: str) -> list[dict[str, Any]]:
    """Return one customer with every field, and others with almost none."""
    return [*_catalogue(), *_customers(email), *_subscriptions(), *_payments(), *_keys()]


def _catalogue() -> list[dict[str, Any]]:
    monthly = {
        "type": "recurring_price",
        "currency": "EUR",
        "price": 2417,
        "payment_frequency_count": 1,
        "payment_frequency_interval": "Month",
    }
    return [
        _line("addon", id="adn_1", name=LONG[:250], price=0, currency="EUR"),
        _line("product", product_id="pdt_1", name=LONG[:250], price=monthly, addons=["adn_1"]),
        _line("product", product_id="pdt_free", name=ARABIC, price=monthly | {"price": 0}),
        _line("product", product_id="pdt_yen", name="円", price=monthly | {"currency": "JPY", "price": 105}),
        _line("product", product_id="pdt_once", name="Once", price={"type": "one_time_price", "currency": "KWD", "price": 12_500}),
        _line(
            "collection",
            id="col_1",
            name=HEBREW,
            groups=[{"group_name": LONG[:200], "products": [{"product_id": "pdt_1"}, {"product_id": "pdt_free"}]}],
        ),
    ]


def _customers(email: str) -> list[dict[str, Any]]:
    return [
        _line("customer", customer_id="cus_1", email=email, name=ARABIC, created_at=WHEN),
        _line(
            "customer", customer_id="cus_2", email="long@people.example", name=LONG[:200], business_name=LONG[:250], tax_id="DE136695976"
        ),
        _line("customer", customer_id="cus_3", email="x@y.example", name="x", phone_number="+441632960000", preferred_locale="ar"),
        _line("payment_method", payment_method_id="pm_1", customer_id="cus_1"),
        _line("payment_method", payment_method_id="pm_2", customer_id="cus_1", payment_method="sepa", card={"card_network": LONG[:300]}),
    ]


def _subscriptions() -> list[dict[str, Any]]:
    states = ("active", "on_hold", "cancelled", "expired", "failed", "pending", "paused", "past_due")
    out = [
        _line(
            "subscription",
            subscription_id=f"sub_{n}",
            product_id=("pdt_1", "pdt_free", "pdt_yen")[n % 3],
            status=state,
            customer={"customer_id": "cus_1"},
        )
        for n, state in enumerate(states)
    ]
    full = {
        "subscription_id": "sub_full",
        "product_id": "pdt_1",
        "status": "active",
        "customer": {"customer_id": "cus_1"},
        "quantity": 100_000,
        "recurring_pre_tax_amount": 0,
        "addons": [{"addon_id": "adn_1", "quantity": 3}],
        "next_billing_date": "2027-02-28T10:00:00Z",
        "created_at": WHEN,
        "trial_period_days": 14,
        "cancel_at_next_billing_date": True,
        "billing": {"country": "EG", "city": ARABIC},
        "tax_id": "?",
        "customer_business_name": HEBREW,
        "metadata": {"": "", "long": LONG},
    }
    return [
        *out,
        _line("subscription", **full),
        _line(
            "subscription",
            **{
                **full,
                "subscription_id": "sub_plan",
                "cancel_at_next_billing_date": False,
                "recurring_pre_tax_amount": None,
                "scheduled_change": {"id": "sch_1", "product_id": "pdt_free", "effective_at": "2027-02-28T10:00:00Z"},
            },
        ),
    ]


def _payments() -> list[dict[str, Any]]:
    item = {"customer": {"customer_id": "cus_1"}, "total_amount": 2876, "currency": "EUR"}
    states = ("succeeded", "failed", "cancelled", "processing", "requires_customer_action", "requires_payment_method")
    out = [_line("payment", payment_id=f"pay_{n}", status=state, **item) for n, state in enumerate(states)]  # no address, tax or lines
    out += [
        _line("payment", payment_id="pay_zero", **{**item, "total_amount": 0}, tax=0, subscription_id="sub_1", created_at=WHEN),
        _line("payment", payment_id="pay_tax", **{**item, "total_amount": 1}, tax=1, invoice_id="RE-2025/0001"),
        _line("payment", payment_id="pay_yen", **{**item, "currency": "JPY"}, subscription_id="sub_2", charge_type="renewal"),
        _line("payment", payment_id="pay_country", **item, billing={"country": "GB"}, invoice_id=LONG[:100], card_last_four="0000"),
        _line("payment", payment_id="pay_street", **item, billing={"street": LONG[:300], "city": HEBREW}, payment_method=ARABIC),
        _line("payment", payment_id="pay_cart", **{**item, "currency": "KWD"}, product_cart=[{"product_id": "pdt_once", "quantity": 3}]),
        _line("payment", payment_id="pay_empty", **item, product_cart=[], service_periods=[], billing={}, metadata=None),
        _line("payment", payment_id="pay_error", **item | {"status": "failed"}, error_code=ARABIC, error_message=LONG),
    ]
    return [
        *out,
        _line("refund", refund_id="ref_1", payment_id="pay_0", amount=1, reason=HEBREW),
        _line("refund", refund_id="ref_2", payment_id="pay_zero"),
        _line("refund", refund_id="ref_3", payment_id="pay_tax"),
        _line("refund", refund_id="ref_4", payment_id="pay_yen", status="failed", amount=5),
    ]


def _keys() -> list[dict[str, Any]]:
    item = {"customer_id": "cus_1", "product_id": "pdt_once"}
    return [
        _line("license_key", id="lic_1", key="K", **item),
        _line("license_key", id="lic_2", key=LONG[:200], **item, status="disabled"),
        _line("license_key", id="lic_3", key="K-3", **item, status="expired", activations_limit=0, payment_id="pay_cart"),
        _line("license_key_instance", id="lki_1", license_key_id="lic_1", name=ARABIC),
    ]


def _line(kind: str, **data: Any) -> dict[str, Any]:
    return {"type": kind, "data": data}
