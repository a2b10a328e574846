"""Helpers of the tests about unpaid renewals: a subscription whose card fails, and reading what became of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from billing import renewals
from billing.payments import Payment
from billing.subscriptions import Subscription
from core import clock
from core.outbox import Event
from core.scope import customer_of, system
from gateways.sandbox.cards import Typed
from tests.cast import Buyer, Cast

FAILS_LATER, POOR, BANK_ASKS, LOST, SLOW = (
    "4000000000000341", "4000000000009995", "4000002500003155", "4000000000006975", "4000000000000259")
MONTH = timedelta(days=32)


def hold(cast: Cast, buyer: Buyer, card: str = FAILS_LATER) -> str:
    """The buyer's card of the next renewal is one that fails; a month later it does. Returns that card's id."""
    failing = cast.card(buyer, card)
    with cast.house.database.open(system(buyer.business_id), write=True) as db:
        one = db.scalar(select(Subscription).where(Subscription.id == buyer.subscription_id))
        assert one is not None
        one.payment_method_id = failing
    clock.turn(clock.offset() + MONTH)
    renewals.run_due(cast.house.till)
    return failing


def scope_of(buyer: Buyer) -> Any:
    return customer_of(buyer.business_id, buyer.customer_id)


def subscription(cast: Cast, buyer: Buyer) -> Subscription:
    with cast.house.database.open(system(buyer.business_id)) as db:
        found = db.scalar(select(Subscription).where(Subscription.id == buyer.subscription_id))
        assert found is not None
        return found


def payments(cast: Cast, buyer: Buyer) -> list[Payment]:
    """Of the renewal that is due, the first attempt first."""
    with cast.house.database.open(system(buyer.business_id)) as db:
        mine = select(Payment).where(Payment.subscription_id == buyer.subscription_id, Payment.charge_type == "renewal")
        return list(db.scalars(mine.order_by(Payment.created_at, Payment.attempt)))


def events(cast: Cast, buyer: Buyer, *types: str) -> list[Event]:
    with cast.house.database.open(system(buyer.business_id)) as db:
        mine = select(Event).where(Event.customer_id == buyer.customer_id, Event.type.in_(types))
        return list(db.scalars(mine.order_by(Event.at, Event.id)))


def taken(cast: Cast, buyer: Buyer) -> list[int]:
    """What the gateway took for this subscription's renewals."""
    return [amount.minor for _, key, amount in cast.house.gateway.movements() if f"/renewal:{buyer.subscription_id}:" in key]


def settle(cast: Cast) -> None:
    """Everything the gateway has to tell, told; and what is still open, asked about."""
    cast.house.gateway.deliver_due()
    cast.house.worker.drain()


def fill_in(cast: Cast, link: str, number: str = "4242424242424242") -> Any:
    """Type a card into the hosted page."""
    typed = Typed(number, f"06/{clock.now().year + 4}", "123", "Ada Marlow", "GB", "SE1")
    return cast.house.gateway.submit_page(link.rsplit("/", 1)[1], typed)


def confirm(cast: Cast, link: str, approved: bool = True) -> Any:
    """Answer the bank's question."""
    return cast.house.gateway.answer_challenge(link.rsplit("/", 1)[1], approved)
