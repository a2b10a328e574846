"""Sample payloads for test events, in the shapes of the contract, without any customer's data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import inspect

from billing.history import api_lists as read
from billing.model.disputes import Dispute
from billing.model.licenses import LicenseKey
from billing.model.parties import Customer
from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from tenants.api.shapes import Json, stamp
from tenants.api.shapes.disputes import DisputeShape
from tenants.api.shapes.licenses import LicenseKeyShape
from tenants.api.shapes.payments import PaymentShape, RefundShape
from tenants.api.shapes.subscriptions import SubscriptionShape

_IDS = {"customer_id": "cus_test", "subscription_id": "sub_test", "payment_id": "pay_test", "product_id": "pdt_test"}


def example(db: ScopedSession, noun: str) -> Json:
    """Return a sample in the currency of the business. `noun`: payment, refund, dispute, subscription, license_key, dunning."""
    business = read.business(db, db.scope.business or "")
    common = {
        "business_id": business.business_id,
        "brand_id": business.business_id,
        "currency": business.currency,
        "created_at": clock.now(),
        "meta": {"test": "true"},
    }
    return _EXAMPLES[noun](common)


def _customer(common: Json) -> Customer:
    example: Customer = blank(Customer, **common, customer_id="cus_test", email="ada@marlow.example", name="Ada Marlow")
    return example


def _payment(common: Json) -> Json:
    row = blank(
        Payment,
        **common,
        id="pay_test",
        customer_id="cus_test",
        amount_minor=2900,
        tax_minor=483,
        status="succeeded",
        is_open=False,
        charge_type="new",
        key="",
        gateway="",
        updated_at=clock.now(),
        billing={"country": "GB"},
        method={"kind": "card", "brand": "visa", "last4": "4242", "expiry_month": 6, "expiry_year": clock.now().year + 3},
    )
    return PaymentShape.of(read.PaymentWithContext(row, _customer(common), None, None, False)).json()


def _refund(common: Json) -> Json:
    row = blank(
        Refund,
        **common,
        id="ref_test",
        customer_id="cus_test",
        payment_id="pay_test",
        amount_minor=900,
        is_partial=True,
        status="succeeded",
        key="",
    )
    return RefundShape.of(row, _customer(common)).json()


def _dispute(common: Json) -> Json:
    row = blank(
        Dispute,
        **{name: value for name, value in common.items() if name != "meta"},
        id="dp_test",
        customer_id="cus_test",
        payment_id="pay_test",
        payment_account_id="",
        reference="",
        amount_minor=2900,
        status="dispute_opened",
        stage="dispute",
        reason="fraudulent",
    )
    return DisputeShape.of_customer(row, _customer(common)).json()


def _subscription(common: Json) -> Json:
    row = blank(
        Subscription,
        **common,
        id="sub_test",
        customer_id="cus_test",
        product_id="pdt_test",
        status="active",
        unit_minor=2900,
        interval="Month",
        zone="UTC",
        billing={"country": "GB"},
        previous_billing_at=clock.now(),
        next_billing_at=clock.now() + timedelta(days=30),
        expires_at=clock.now() + timedelta(days=3650),
    )
    return {**SubscriptionShape.of(row, _customer(common), "Team plan").json(), "past_due_ends_at": None, "payment_id": None}


def _license_key(common: Json) -> Json:
    row = blank(LicenseKey, **common, **{**_IDS, "subscription_id": None}, id="lic_test", key="TESTT-TESTT-TESTT-TESTT-TESTT")
    return LicenseKeyShape.of(row).json()


def _dunning(common: Json) -> Json:
    return {
        "brand_id": common["brand_id"],
        "created_at": stamp(clock.now()),
        "customer_id": "cus_test",
        "status": "recovering",
        "subscription_id": "sub_test",
        "trigger_state": "on_hold",
        "payment_id": None,
    }


_EXAMPLES: dict[str, Callable[[Json], Json]] = {
    "payment": _payment, "refund": _refund, "dispute": _dispute,
    "subscription": _subscription, "license_key": _license_key, "dunning": _dunning,
}  # fmt: skip


def blank(kind: Any, **values: Any) -> Any:
    """Return an unsaved row with the defaults of its columns and with `values`. Values without a column are ignored."""
    row = {}
    for item in inspect(kind).column_attrs:
        default = item.columns[0].default
        row[item.key] = None if default is None else default.arg(None) if default.is_callable else default.arg
    return kind(**{name: values.get(name, value) for name, value in row.items()})
