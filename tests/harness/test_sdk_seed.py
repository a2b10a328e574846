"""The rows that the SDK's own suite uses exist, and our errors are not taken for documented reasons."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.conftest import on_sqlite
from tests.harness import sdk_seed as named
from tests.harness.sdk_reasons import UNEXPECTED, why

READ = (
    f"customers/{named.CUSTOMER}", f"customers/{named.CUSTOMER}/wallets", f"subscriptions/{named.SUBSCRIPTION}",
    f"payments/{named.PAYMENT}", f"refunds/{named.REFUND}", f"disputes/{named.DISPUTE}",
    f"products/{named.PRODUCT}", f"product-collections/{named.COLLECTION}",
    f"addons/{named.ADDON}", f"discounts/{named.DISCOUNT}", "discounts/code/code", f"brands/{named.BRAND}", f"license_keys/{named.KEY}",
    f"license_key_instances/{named.INSTANCE}", f"webhooks/{named.WEBHOOK}", f"webhooks/{named.WEBHOOK}/secret",
    "payments/payment_id/retry",
)  # fmt: skip


@on_sqlite
def test_the_rows_of_the_sdk_suite_exist(app: Flask, services: Any) -> None:
    with app.app_context():
        key = named.seed(services)
        named.unpaid(services)
    asking, bearer = app.test_client(), {"Authorization": f"Bearer {key}"}
    answers = {path: asking.get(f"/api/{path}", headers=bearer) for path in READ}
    assert {path: item.status_code for path, item in answers.items()} == dict.fromkeys(answers, 200)
    found: dict[str, Any] = {path: item.get_json() for path, item in answers.items()}
    assert found[f"subscriptions/{named.SUBSCRIPTION}"]["scheduled_change"]["product_id"] == "product_id"
    assert found["payments/payment_id/retry"]["can_retry"] is True


NOWHERE = "NotFoundError: Error code: 404 - {'message': 'Page not found'}"


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("test_disputes.py::TestDisputes::test_method_list", "InternalServerError: Error code: 500 - {}"),
        ("test_disputes.py::TestDisputes::test_method_list", "AssertionError: assert matches_type(...)"),
        ("test_payments.py::TestPayments::test_method_retrieve", NOWHERE),
        ("test_refunds.py::TestRefunds::test_method_create", "NotFoundError: Error code: 404 - {'message': 'There is no such payment.'}"),
        ("test_payments.py::TestPayments::test_method_create", "Error code: 422 - {'fields': {'billing': 'Field required'}}"),
    ],
)
def test_faults_are_not_taken_for_documented_reasons(case: str, words: str) -> None:
    assert why(case, words) == UNEXPECTED
    assert why("test_short_links.py::TestShortLinks::test_method_list", NOWHERE) == "not offered: short links"
