"""Helpers for unpaid renewals: a subscription whose card fails, and its state afterwards."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from billing.model.parties import Business
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from billing.renewals import renew
from billing.renewals.due_subscriptions import are_due
from core import clock
from core.outbox import Event
from core.scope import customer_of, everything, system
from core.services import Services
from gateways.sandbox.cards import CardForm
from tests.cast import Buyer, Cast

FAILS_LATER, POOR, BANK_ASKS, LOST, SLOW = (
    "4000000000000341",
    "4000000000009995",
    "4000002500003155",
    "4000000000006975",
    "4000000000000077",
)
MONTH = timedelta(days=32)


def renew_due(services: Services, seconds: float = 30) -> None:
    """Renew all that is due, and wait for the renewals that a running worker took at the same moment."""
    until = time.monotonic() + seconds
    while True:
        renew.run_due(services.processor)
        due = select(Subscription.id).join(Business, Business.business_id == Subscription.business_id).where(*are_due()).limit(1)
        unanswered = Payment.is_open & ~Payment.unknown & Payment.gateway_reference.is_(None) & (Payment.charge_type == "renewal")
        with services.database.open(everything("what is being renewed")) as db:
            if db.scalar(due) is None and db.scalar(select(Payment.id).where(unanswered).limit(1)) is None:
                return
        assert time.monotonic() < until, "renewals did not end"
        time.sleep(0.05)


def hold(cast: Cast, buyer: Buyer, card: str = FAILS_LATER) -> str:
    """Give the buyer's subscription a card that fails at the next renewal, and advance a month. Returns that card's id."""
    failing = cast.card(buyer, card)
    with cast.services.database.open(system(buyer.business_id), write=True) as db:
        subscription = db.scalar(select(Subscription).where(Subscription.id == buyer.subscription_id))
        assert subscription is not None
        subscription.payment_method_id = failing
    clock.turn(clock.offset() + MONTH)
    renew_due(cast.services)
    return failing


def scope_of(buyer: Buyer) -> Any:
    return customer_of(buyer.business_id, buyer.customer_id)


def subscription(cast: Cast, buyer: Buyer) -> Subscription:
    with cast.services.database.open(system(buyer.business_id)) as db:
        found = db.scalar(select(Subscription).where(Subscription.id == buyer.subscription_id))
        assert found is not None
        return found


def payments(cast: Cast, buyer: Buyer) -> list[Payment]:
    """Return the payments of the due renewal, first attempt first."""
    with cast.services.database.open(system(buyer.business_id)) as db:
        mine = select(Payment).where(Payment.subscription_id == buyer.subscription_id, Payment.charge_type == "renewal")
        return list(db.scalars(mine.order_by(Payment.created_at, Payment.attempt)))


def events(cast: Cast, buyer: Buyer, *types: str) -> list[Event]:
    with cast.services.database.open(system(buyer.business_id)) as db:
        mine = select(Event).where(Event.customer_id == buyer.customer_id, Event.type.in_(types))
        return list(db.scalars(mine.order_by(Event.at, Event.id)))


def taken(cast: Cast, buyer: Buyer) -> list[int]:
    """Return the gateway's charges for this subscription's renewals."""
    return [amount.minor for _, key, amount in cast.services.gateway.movements() if f"/renewal:{buyer.subscription_id}:" in key]


def settle(cast: Cast) -> None:
    """Deliver all notifications of the gateway, and look up what is still open."""
    cast.services.gateway.deliver_due()
    cast.services.worker.drain()


def fill_in(cast: Cast, link: str, number: str = "4242424242424242") -> Any:
    """Type a card into the hosted page."""
    typed = CardForm(number, f"06/{clock.now().year + 4}", "123", "Ada Marlow", "GB", "SE1")
    return cast.services.gateway.submit_page(link.rsplit("/", 1)[1], typed)


def confirm(cast: Cast, link: str, approved: bool = True) -> Any:
    """Answer the bank's question, with yes by default."""
    return cast.services.gateway.answer_challenge(link.rsplit("/", 1)[1], approved)
