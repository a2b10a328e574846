"""Every call of the API that moves money, by the official SDK, over a line that cuts the answer after the work was done (safety 8).

The SDK then calls again by itself. One effect, and the same ids, as if the first answer had come; also where both answers of
two calls are lost, and where what is lost was a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dodopayments import APIStatusError
from sqlalchemy import func, select

from billing.payments import Payment, Refund
from billing.subscriptions import Subscription
from core.outbox import Event
from core.scope import system
from tests.api.conftest import BILLING, ONCE, Shop
from tests.api.test_acts import FAILS_LATER, Ada, settled, wait
from tests.api.wire import Wire, wire

CALLS = Path(__file__).resolve().parents[2] / "tenants" / "api"


class Line:
    """Ada's business behind the breaking line."""

    def __init__(self, ada: Ada, line: Wire) -> None:
        self.ada, self.wire, self.done = ada, line, []
        self.sdk = ada.shop.sdk(max_retries=2).with_options(base_url=f"{line.url}/api", timeout=30)

    def counted(self) -> dict[str, int]:
        """How much there is of everything that a call could make twice."""
        with self.ada.shop.house.database.open(system(self.ada.shop.acorn)) as db:
            rows = {kind.__tablename__: db.scalar(select(func.count()).select_from(kind)) or 0 for kind in (Payment, Refund, Subscription)}
            cancelled = db.scalar(select(func.count()).where(Event.type.in_(("subscription.cancelled", "subscription.plan_changed")))) or 0
        return {**rows, "acts": cancelled, "moved": len(self.ada.shop.house.gateway.movements())}

    def cut(self, route: str, call: Callable[[], Any], cuts: int = 1, **made: int) -> Any:
        """The call's answer, after `cuts` answers of it were lost; everything that was made was made once."""
        before, so_far = self.counted(), self.wire.cuts
        self.wire.cut(cuts)
        answer = call()
        assert self.wire.cuts == so_far + cuts, route
        assert {name: many - before[name] for name, many in self.counted().items() if many != before[name]} == made, route
        self.done.append(route)
        return answer


@pytest.fixture
def line(shop: Shop) -> Iterator[Line]:
    with wire(shop.url) as one:
        yield Line(settled(shop), one)


def of(call: Callable[[], Any]) -> tuple[int, str]:
    with pytest.raises(APIStatusError) as refused:
        call()
    return refused.value.status_code, refused.value.response.json()["code"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_one_effect_and_the_same_ids(line: Line) -> None:
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
    assert ada.shop.pay(link.payment_link).status_code == 303
    ada.shop.settle()

    refunded = line.cut("/refunds", lambda: sdk.refunds.create(payment_id=paid.payment_id), refunds=1, moved=1)
    assert [one.refund_id for one in ada.sdk.refunds.list().items] == [refunded.refund_id]
    lost = line.cut("/refunds", lambda: of(lambda: sdk.refunds.create(payment_id=paid.payment_id, reason="Once more")))
    assert lost == (409, "PAYMENT_ALREADY_REFUNDED")  # a refusal that got lost is the same refusal
    on_demand = "/subscriptions/<subscription_id>/charge"
    demand = line.cut(on_demand, lambda: of(lambda: sdk.subscriptions.charge(ada.subscription, product_price=500)))
    assert demand == (422, "SUBSCRIPTION_NOT_ON_DEMAND")

    pays_route = "/subscriptions/<subscription_id>/update-payment-method"
    pay_with = sdk.subscriptions.update_payment_method
    new = line.cut(pays_route, lambda: pay_with(ada.subscription, payment_method={"type": "new"}), payments=1)
    assert new.payment_id and ada.shop.pay(new.payment_link or "", FAILS_LATER).status_code == 303
    ada.shop.settle()
    wait(days=32)
    ada.renew()
    assert ada.now.status == "on_hold"
    failed = next(one for one in ada.payments() if one.status == "failed").payment_id
    sent = line.cut("/payments/<payment_id>/retry", lambda: sdk.payments.retry(failed), payments=1)
    assert sent.status == "failed" and ada.payments()[0].payment_id == sent.payment_id
    chosen: Any = {"type": "existing", "payment_method_id": ada.card}
    dues = line.cut(pays_route, lambda: pay_with(ada.subscription, payment_method=chosen), 2, payments=1, moved=1)
    assert ada.sdk.payments.retrieve(dues.payment_id or "").status == "succeeded" and ada.now.status == "active"

    ended = line.cut("/subscriptions/<subscription_id>", lambda: sdk.subscriptions.update(ada.subscription, status="cancelled"), acts=1)
    assert ended.status == "cancelled"
    money = re.compile(r'@bp\.(?:post|patch)\("([^"]+)"[^\n]*\n@once')
    assert set(line.done) == {route for path in CALLS.glob("*.py") for route in money.findall(path.read_text())}


