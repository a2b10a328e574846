"""A repeated money call has one effect, a refusal by rule is not retried, and documents need a key or a token."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from dodopayments import APIConnectionError, ConflictError

from billing.documents.links import document_token
from tests.api.conftest import BILLING, MONTHLY, ONCE, VISA, Site


@pytest.fixture
def bought(site: Site) -> dict[str, Any]:
    """Ada with a saved card and one paid purchase with a licence key."""
    acorn = site.sdk()
    ada = acorn.customers.create(email="ada@marlow.example", name="Ada Marlow")
    tool = acorn.products.create(
        name="Acorn for desktop", price=ONCE, tax_category="saas", license_key_enabled=True, license_key_activations_limit=2
    )
    items = [{"product_id": tool.product_id, "quantity": 1}]
    cart = {"billing": BILLING, "customer": {"customer_id": ada.customer_id}, "product_cart": items}
    first = site.raw("POST", "/payments", site.key, json=cart).json()
    assert site.pay(first["payment_link"], VISA).status_code == 303
    site.settle()
    method = acorn.customers.retrieve_payment_methods(ada.customer_id).items[0].payment_method_id
    return {"customer": ada.customer_id, "payment": first["payment_id"], "cart": {**cart, "payment_method_id": method}, "method": method}


def test_the_sdk_retries_a_cut_answer_once(site: Site, bought: dict[str, Any]) -> None:
    class CutsFirstAnswer(httpx.BaseTransport):
        """A transport that passes the call on and drops the first answer."""

        def __init__(self) -> None:
            self.inner, self.calls = httpx.HTTPTransport(), 0

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = self.inner.handle_request(request)
            answer.read()
            self.calls += 1
            if self.calls == 1:
                raise httpx.ReadError("cut", request=request)
            return answer

    line = CutsFirstAnswer()
    acorn = site.sdk(max_retries=2, http_client=httpx.Client(transport=line))
    with pytest.warns(DeprecationWarning):
        paid = acorn.payments.create(**bought["cart"])
    assert line.calls == 2
    assert [item.payment_id for item in site.sdk().payments.list().items] == [paid.payment_id, bought["payment"]]

    line.calls = 0
    back = acorn.refunds.create(payment_id=bought["payment"], reason="Gone")
    assert line.calls == 2 and [item.refund_id for item in site.sdk().refunds.list().items] == [back.refund_id]

    line.calls = 0
    plan = site.sdk().products.create(name="Acorn Team", price=MONTHLY, tax_category="saas")
    began = acorn.subscriptions.create(
        billing=BILLING, customer={"customer_id": bought["customer"]}, product_id=plan.product_id, quantity=1,
        payment_method_id=bought["method"],
    )  # fmt: skip
    assert [item.subscription_id for item in site.sdk().subscriptions.list().items] == [began.subscription_id]
    with pytest.raises(APIConnectionError):
        line.calls = 0
        site.sdk(http_client=httpx.Client(transport=line)).refunds.create(payment_id=paid.payment_id)


def test_an_idempotency_key_means_one_effect_even_at_once(site: Site, bought: dict[str, Any]) -> None:
    def call(_n: int) -> httpx.Response:
        return site.raw("POST", "/payments", site.key, json=bought["cart"], headers={"Idempotency-Key": "order-17"}, timeout=30)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(call, range(4)))
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert len({answer.json()["payment_id"] for answer in answers}) == 1
    assert len(site.sdk().payments.list().items) == 2
    other = {**bought["cart"], "metadata": {"order": "18"}}
    answer = site.raw("POST", "/payments", site.key, json=other, headers={"Idempotency-Key": "order-17"})
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST_PARAMETERS")
    # without a key, a new call of the SDK with the same body is another purchase
    assert site.raw("POST", "/payments", site.key, json=bought["cart"], headers={"x-stainless-retry-count": "0"}).status_code == 200
    assert len(site.sdk().payments.list().items) == 3


def test_a_refusal_by_rule_is_not_tried_again(site: Site, bought: dict[str, Any]) -> None:
    acorn = site.sdk(max_retries=2)
    acorn.refunds.create(payment_id=bought["payment"])
    site.settle()
    with pytest.raises(ConflictError) as refused:
        acorn.refunds.create(payment_id=bought["payment"], reason="Once more")
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert refused.value.body == {"code": "PAYMENT_ALREADY_REFUNDED", "message": "This payment has already been refunded in full."}


def test_documents_need_a_key_or_a_token(site: Site, bought: dict[str, Any]) -> None:
    from sqlalchemy import select

    from billing.model.parties import Business
    from core.scope import everything

    path, settings = f"/invoices/payments/{bought['payment']}", site.services.settings
    token = document_token(settings, "payments", site.acorn, bought["payment"])
    other = document_token(settings, "payments", site.acorn, "pay_other")
    for answer in (
        site.raw("GET", path),
        site.raw("GET", path, site.other_key),
        site.raw("GET", f"{path}?token=x"),
        site.raw("GET", f"{path}?token={other}"),
        site.raw("GET", f"/invoices/refunds/{bought['payment']}?token={token}"),
    ):
        assert answer.status_code == 404 and answer.json()["code"] == "NOT_FOUND"
    for answer in (site.raw("GET", path, site.key), site.raw("GET", path, site.read_key), site.raw("GET", f"{path}?token={token}")):
        assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/pdf" and answer.content.startswith(b"%PDF")
    with site.services.database.open(everything("open the links"), write=True) as db:
        business = db.scalar(select(Business).where(Business.business_id == site.acorn))
        assert business is not None
        business.settings = {**business.settings, "invoice_links": "open"}
    assert site.raw("GET", path).content.startswith(b"%PDF")


def test_license_keys_are_activated_checked_and_deactivated(site: Site, bought: dict[str, Any]) -> None:
    acorn, nobody = site.sdk(), site.sdk("no key at all")
    with pytest.warns(DeprecationWarning):
        key = acorn.license_keys.list(customer_id=bought["customer"]).items[0]
    assert key.payment_id == bought["payment"] and key.status == "active" and key.activations_limit == 2

    stranger = nobody.licenses.activate(license_key=key.key, name="<b>Ada's desk</b>")
    assert "Marlow" not in stranger.customer.name and not stranger.customer.email.startswith("ada") and not stranger.customer.phone_number
    own = acorn.licenses.activate(license_key=key.key, name="Laptop")
    assert own.customer.name == "Ada Marlow" and own.product.name == "Acorn for desktop"
    third = site.raw("POST", "/licenses/activate", json={"license_key": key.key, "name": "Third"})
    assert (third.status_code, third.json()["code"]) == (422, "LICENSE_KEY_LIMIT_REACHED")
    assert {item.id for item in acorn.license_key_instances.list(license_key_id=key.id).items} == {stranger.id, own.id}
    assert nobody.licenses.validate(license_key=key.key, license_key_instance_id=own.id).valid
    assert not nobody.licenses.validate(license_key=key.key, license_key_instance_id="lki_other").valid

    nobody.licenses.deactivate(license_key=key.key, license_key_instance_id=stranger.id)
    with pytest.warns(DeprecationWarning):
        assert acorn.license_keys.retrieve(key.id).instances_count == 1
    again = site.raw("POST", "/licenses/deactivate", json={"license_key": key.key, "license_key_instance_id": stranger.id})
    assert again.status_code == 404

    guesses = [site.raw("POST", "/licenses/validate", json={"license_key": f"guess-{n}"}) for n in range(25)]
    assert [guesse.status_code for guesse in guesses[:20]] == [200] * 20 and guesses[0].json() == {"valid": False}
    assert guesses[-1].status_code == 429 and guesses[-1].json()["code"] == "TOO_MANY_REQUESTS"
