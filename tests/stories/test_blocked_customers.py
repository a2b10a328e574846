"""A blocked customer cannot start a purchase in any way. Existing subscriptions continue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.customers.blocking import block, unblock
from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from billing.plan_changes.confirm import confirm
from billing.plan_changes.quote import quote
from billing.renewals import renew
from billing.subscriptions.cancel import cancel_at_period_end
from billing.subscriptions.subscribe import buy, subscribe
from core import clock
from core.errors import Conflict
from core.scope import customer_of, system
from tests.cast import Cast
from tests.unpaid_renewals import fill_in, settle


def blocked(cast: Cast) -> None:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        block(db, cast.ada_at_acorn.customer_id)


def row(cast: Cast, kind: Any, *where: Any) -> Any:
    with cast.services.database.open(system(cast.acorn)) as db:
        return db.scalar(select(kind).where(*where))


def test_a_blocked_customer_cannot_buy_or_subscribe(cast: Cast) -> None:
    ada, scope = cast.ada_at_acorn, system(cast.acorn)
    blocked(cast)
    for method in (None, ada.method_id):
        with pytest.raises(Conflict) as refused:
            buy(
                cast.services.processor,
                scope,
                customer_id=ada.customer_id,
                cart=[(cast.products["acorn.once"], 1)],
                payment_method_id=method,
            )
        assert refused.value.code == "CUSTOMER_BLOCKED"
        with pytest.raises(Conflict) as refused:
            subscribe(
                cast.services.processor,
                scope,
                customer_id=ada.customer_id,
                product_id=cast.products["acorn.plan"],
                payment_method_id=method,
            )
        assert refused.value.code == "CUSTOMER_BLOCKED"
    with cast.services.database.open(scope, write=True) as db:
        unblock(db, ada.customer_id)
    assert (
        buy(
            cast.services.processor,
            scope,
            customer_id=ada.customer_id,
            cart=[(cast.products["acorn.once"], 1)],
            payment_method_id=ada.method_id,
        ).status
        == "succeeded"
    )


def test_a_blocked_customer_cannot_change_the_plan_but_staff_can(cast: Cast) -> None:
    ada = cast.ada_at_acorn
    mine = customer_of(cast.acorn, ada.customer_id)
    with cast.services.database.open(mine, write=True) as db:
        before = quote(db, ada.subscription_id, cast.products["acorn.more"]).id
    blocked(cast)
    with pytest.raises(Conflict) as refused, cast.services.database.open(mine, write=True) as db:
        quote(db, ada.subscription_id, cast.products["acorn.more"])
    assert refused.value.code == "CUSTOMER_BLOCKED"
    with pytest.raises(Conflict) as refused:  # a quote from before the block
        confirm(cast.services.processor, mine, before)
    assert refused.value.code == "CUSTOMER_BLOCKED"
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        assert quote(db, ada.subscription_id, cast.products["acorn.more"]).due_minor > 0


@pytest.mark.parametrize("kind", ["once", "plan"])
def test_a_payment_page_opened_before_the_block_delivers_nothing(cast: Cast, kind: str) -> None:
    ada, scope = cast.ada_at_acorn, system(cast.acorn)
    if kind == "once":
        began = buy(cast.services.processor, scope, customer_id=ada.customer_id, cart=[(cast.products["acorn.once"], 1)])
    else:
        began = subscribe(cast.services.processor, scope, customer_id=ada.customer_id, product_id=cast.products["acorn.plan"])
    assert began.link
    blocked(cast)
    fill_in(cast, began.link)
    settle(cast)
    cast.services.processor.reconcile()
    paid, back = row(cast, Payment, Payment.id == began.payment_id), row(cast, Refund, Refund.payment_id == began.payment_id)
    assert paid.status == "succeeded" and paid.invoice_id is None
    assert back.amount_minor == paid.amount_minor == paid.refunded_minor and back.status == "succeeded"
    if began.subscription_id:
        assert row(cast, Subscription, Subscription.id == began.subscription_id).status == "failed"


def test_subscriptions_of_a_blocked_customer_renew_and_can_be_cancelled(cast: Cast) -> None:
    ada = cast.ada_at_acorn
    blocked(cast)
    clock.turn(timedelta(days=32))
    renew.run_due(cast.services.processor)
    assert row(cast, Payment, Payment.subscription_id == ada.subscription_id, Payment.charge_type == "renewal").status == "succeeded"
    with cast.services.database.open(customer_of(cast.acorn, ada.customer_id), write=True) as db:
        assert cancel_at_period_end(db, ada.subscription_id).cancel_at_period_end
