"""Calls that move money, whose answers are lost after the work was done (safety 8).

The SDK retries. There is one effect, and the ids are those of the first call, also if two answers or a refusal are lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dodopayments import APIStatusError
from sqlalchemy import func, select

from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from core.outbox import Event
from core.scope import system
from tests.api.conftest import BILLING, ONCE, Site
from tests.api.cutting_proxy import Wire, wire
from tests.api.test_subscription_changes import FAILS_LATER, Ada, settled, wait

CALLS = Path(__file__).resolve().parents[2] / "tenants" / "api"


class Line:
    """Ada's business behind the proxy that drops answers."""

    def __init__(self, ada: Ada, line: Wire) -> None:
        self.ada, self.wire, self.done = ada, line, []
        self.sdk = ada.site.sdk(max_retries=2).with_options(base_url=f"{line.url}/api", timeout=30)

    def counted(self) -> dict[str, int]:
        """Return the number of rows of each kind that a repeated call could duplicate."""
        with self.ada.site.services.database.open(system(self.ada.site.acorn)) as db:
            rows = {kind.__tablename__: db.scalar(select(func.count()).select_from(kind)) or 0 for kind in (Payment, Refund, Subscription)}
            cancelled = db.scalar(select(func.count()).where(Event.type.in_(("subscription.cancelled", "subscription.plan_changed")))) or 0
        return {**rows, "acts": cancelled, "moved": len(self.ada.site.services.gateway.movements())}

    def cut(self, route: str, call: Callable[[], Any], cuts: int = 1, **made: int) -> Any:
        """Return the call's answer after `cuts` answers were dropped. Asserts that nothing was created twice."""
        before, so_far = self.counted(), self.wire.cuts
        self.wire.cut(cuts)
        answer = call()
        assert self.wire.cuts == so_far + cuts, route
        assert {name: many - before[name] for name, many in self.counted().items() if many != before[name]} == made, route
        self.done.append(route)
        return answer


@pytest.fixture
def line(site: Site) -> Iterator[Line]:
    with wire(site.url) as item:
        yield Line(settled(site), item)


def of(call: Callable[[], Any]) -> tuple[int, str]:
    with pytest.raises(APIStatusError) as refused:
        call()
    return refused.value.status_code, refused.value.response.json()["code"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_retried_call_has_one_effect_and_the_same_ids(line: Line) -> None:
    ada, sdk, buyer = line.ada, line.sdk, {"customer_id": line.ada.customer}
    tool = ada.sdk.products.create(name="Acorn for desktop", price=ONCE, tax_category="saas").product_id
    cart: dict[str, Any] = {"billing": BILLING, "customer": buyer, "product_cart": [{"product_id": tool, "quantity": 1}]}

    paid = line.cut("/payments", lambda: sdk.payments.create(**cart, payment_method_id=ada.card), payments=1, moved=1)
    assert ada.sdk.payments.list().items[0].payment_id == paid.payment_id
    cart["metadata"] = {"order": "2"}
    again = line.cut("/payments", lambda: sdk.payments.create(**cart, payment_method_id=ada.card), 2, payments=1, moved=1)
    assert ada.sdk.payments.list().items[0].payment_id == again.payment_id != paid.payment_id
    page = line.cut("/payments", lambda: sdk.payments.create(**cart, payment_link=True), payments=1)
    assert page.payment_link and ada.sdk.payments.list().items[0].payment_id == page.payment_id

    plan: dict[str, Any] = {"billing": BILLING, "customer": buyer, "product_id": ada.team, "quantity": 1}
    plan["payment_method_id"] = ada.card
    began = line.cut("/subscriptions", lambda: sdk.subscriptions.create(**plan), payments=1, subscriptions=1, moved=1)
    assert ada.sdk.subscriptions.list().items[0].subscription_id == began.subscription_id
    change: dict[str, Any] = {"product_id": ada.more, "quantity": 1, "proration_billing_mode": "full_immediately"}
    change_route = "/subscriptions/<subscription_id>/change-plan"
    line.cut(change_route, lambda: sdk.subscriptions.change_plan(ada.subscription, **change), payments=1, moved=1, acts=1)
    by_link = {**change, "product_id": ada.less, "collect_via_payment_link": True, "proration_billing_mode": "full_immediately"}
    link = line.cut(change_route, lambda: sdk.subscriptions.change_plan(ada.subscription, **by_link), 2, payments=1)
    assert link.payment_id == ada.sdk.payments.list().items[0].payment_id and link.payment_link
    assert ada.site.pay(link.payment_link).status_code == 303
    ada.site.settle()

    refunded = line.cut("/refunds", lambda: sdk.refunds.create(payment_id=paid.payment_id), refunds=1, moved=1)
    assert [item.refund_id for item in ada.sdk.refunds.list().items] == [refunded.refund_id]
    lost = line.cut("/refunds", lambda: of(lambda: sdk.refunds.create(payment_id=paid.payment_id, reason="Once more")))
    assert lost == (409, "PAYMENT_ALREADY_REFUNDED")  # a repeated call after a lost refusal gets the same refusal
    on_demand = "/subscriptions/<subscription_id>/charge"
    demand = line.cut(on_demand, lambda: of(lambda: sdk.subscriptions.charge(ada.subscription, product_price=500)))
    assert demand == (422, "SUBSCRIPTION_NOT_ON_DEMAND")

    pays_route = "/subscriptions/<subscription_id>/update-payment-method"
    pay_with = sdk.subscriptions.update_payment_method
    new = line.cut(pays_route, lambda: pay_with(ada.subscription, payment_method={"type": "new"}), payments=1)
    assert new.payment_id and ada.site.pay(new.payment_link or "", FAILS_LATER).status_code == 303
    ada.site.settle()
    wait(days=32)
    ada.renew()
    assert ada.now.status == "on_hold"
    failed = next(payment for payment in ada.payments() if payment.status == "failed").payment_id
    sent = line.cut("/payments/<payment_id>/retry", lambda: sdk.payments.retry(failed), payments=1)
    assert sent.status == "failed" and ada.payments()[0].payment_id == sent.payment_id
    chosen: Any = {"type": "existing", "payment_method_id": ada.card}
    dues = line.cut(pays_route, lambda: pay_with(ada.subscription, payment_method=chosen), 2, payments=1, moved=1)
    assert ada.sdk.payments.retrieve(dues.payment_id or "").status == "succeeded" and ada.now.status == "active"

    ended = line.cut("/subscriptions/<subscription_id>", lambda: sdk.subscriptions.update(ada.subscription, status="cancelled"), acts=1)
    assert ended.status == "cancelled"
    money = re.compile(r'@bp\.(?:post|patch)\("([^"]+)"[^\n]*\n@idempotent')
    assert set(line.done) == {route for path in CALLS.glob("*.py") for route in money.findall(path.read_text())}
