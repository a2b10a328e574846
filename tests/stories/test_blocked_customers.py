"""A blocked customer takes on nothing new, on every way to buy; what runs already goes on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing import renewals
from billing.commands.blocking import block, unblock
from billing.commands.buying import buy, subscribe
from billing.commands.cancelling import cancel_at_period_end
from billing.commands.plan_change import confirm
from billing.commands.plan_quote import quote
from billing.payments import Payment, Refund
from billing.subscriptions import Subscription
from core import clock
from core.errors import Conflict
from core.scope import customer_of, system
from tests.cast import Cast
from tests.unpaid import fill_in, settle


def blocked(cast: Cast) -> None:
    with cast.house.database.open(system(cast.acorn), write=True) as db:
        block(db, cast.ada_at_acorn.customer_id)


def row(cast: Cast, kind: Any, *where: Any) -> Any:
    with cast.house.database.open(system(cast.acorn)) as db:
        return db.scalar(select(kind).where(*where))


def test_a_blocked_customer_cannot_buy_or_subscribe(cast: Cast) -> None:
    ada, scope = cast.ada_at_acorn, system(cast.acorn)
    blocked(cast)
    for method in (None, ada.method_id):
        with pytest.raises(Conflict) as refused:
            buy(cast.house.till, scope, customer_id=ada.customer_id, cart=[(cast.products["acorn.once"], 1)], payment_method_id=method)
        assert refused.value.code == "CUSTOMER_BLOCKED"
        with pytest.raises(Conflict) as refused:
            subscribe(cast.house.till, scope, customer_id=ada.customer_id, product_id=cast.products["acorn.plan"], payment_method_id=method)
        assert refused.value.code == "CUSTOMER_BLOCKED"
    with cast.house.database.open(scope, write=True) as db:
        unblock(db, ada.customer_id)
    assert buy(cast.house.till, scope, customer_id=ada.customer_id, cart=[(cast.products["acorn.once"], 1)],
               payment_method_id=ada.method_id).status == "succeeded"


def test_a_blocked_customer_cannot_change_the_plan_but_staff_can(cast: Cast) -> None:
    ada = cast.ada_at_acorn
    mine = customer_of(cast.acorn, ada.customer_id)
    with cast.house.database.open(mine, write=True) as db:
        before = quote(db, ada.subscription_id, cast.products["acorn.more"]).id
    blocked(cast)
    with pytest.raises(Conflict) as refused, cast.house.database.open(mine, write=True) as db:
        quote(db, ada.subscription_id, cast.products["acorn.more"])
    assert refused.value.code == "CUSTOMER_BLOCKED"
    with pytest.raises(Conflict) as refused:  # a quote from before the block
        confirm(cast.house.till, mine, before)
    assert refused.value.code == "CUSTOMER_BLOCKED"
    with cast.house.database.open(system(cast.acorn), write=True) as db:
        assert quote(db, ada.subscription_id, cast.products["acorn.more"]).due_minor > 0


@pytest.mark.parametrize("kind", ["once", "plan"])
def test_a_payment_page_opened_before_the_block_delivers_nothing(cast: Cast, kind: str) -> None:
    ada, scope = cast.ada_at_acorn, system(cast.acorn)
    if kind == "once":
        began = buy(cast.house.till, scope, customer_id=ada.customer_id, cart=[(cast.products["acorn.once"], 1)])
    else:
        began = subscribe(cast.house.till, scope, customer_id=ada.customer_id, product_id=cast.products["acorn.plan"])
    assert began.link
    blocked(cast)
    fill_in(cast, began.link)
    settle(cast)
    cast.house.till.reconcile()
    paid, back = row(cast, Payment, Payment.id == began.payment_id), row(cast, Refund, Refund.payment_id == began.payment_id)
    assert paid.status == "succeeded" and paid.invoice_id is None
    assert back.amount_minor == paid.amount_minor == paid.refunded_minor and back.status == "succeeded"
    if began.subscription_id:
        assert row(cast, Subscription, Subscription.id == began.subscription_id).status == "failed"


def test_what_a_blocked_customer_has_still_renews_and_can_be_cancelled(cast: Cast) -> None:
    ada = cast.ada_at_acorn
    blocked(cast)
    clock.turn(timedelta(days=32))
    renewals.run_due(cast.house.till)
    assert row(cast, Payment, Payment.subscription_id == ada.subscription_id, Payment.charge_type == "renewal").status == "succeeded"
    with cast.house.database.open(customer_of(cast.acorn, ada.customer_id), write=True) as db:
        assert cancel_at_period_end(db, ada.subscription_id).cancel_at_period_end
