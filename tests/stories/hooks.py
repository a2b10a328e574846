"""A shop whose events go to a real receiver: for the stories about webhooks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from dodopayments import DodoPayments
from sqlalchemy import select, update

from billing.commands.cancelling import cancel_at_period_end, keep
from core.mailbox import MailboxLetter
from core.scope import everything, system
from core.web import House
from tenants.webhooks import endpoints, sealing
from tenants.webhooks.tables import Attempt, Delivery, Endpoint
from tests.cast import Buyer, Cast
from tests.hostile import Heard, Receiver


@dataclass
class Hooks:
    """`house.app` is wired; `cast` plays in it. Times are turned by moving what is due, never by waiting."""

    app: Any
    cast: Cast

    @property
    def house(self) -> House:
        return self.cast.house

    @property
    def sender(self) -> Any:
        return self.app.extensions["webhooks"]

    def listen(self, url: str, **more: Any) -> str:
        """An endpoint of Acorn's at `url`. Returns its id."""
        with self.house.database.open(system(self.cast.acorn), write=True) as db:
            return endpoints.create(db, self.house.outgoing, self.cast.acorn, url, **more).id

    def secret(self, endpoint_id: str) -> str:
        with self.house.database.open(system(self.cast.acorn)) as db:
            return sealing.secret_of(self.house.settings, endpoints.find(db, endpoint_id))

    def settle(self) -> None:
        """Everything that is due now: events become deliveries, deliveries go out."""
        with self.app.app_context():
            self.house.gateway.deliver_due()
            self.house.worker.drain()
        self.sender.drain()

    def hurry(self, seconds: float = 1e6) -> None:
        """Let `seconds` pass for what waits to be sent."""
        with self.house.database.open(everything("a test lets time pass"), write=True) as db:
            for kind, state in ((Delivery, Delivery.state == "pending"), (Endpoint, Endpoint.disabled.is_(False))):
                for row in db.scalars(select(kind).where(state, kind.due_at.is_not(None))):
                    row.due_at -= timedelta(seconds=seconds)
        self.sender.drain()

    def rows(self, kind: Any, **where: Any) -> list[Any]:
        with self.house.database.open(everything("what a test looks at")) as db:
            return list(db.scalars(select(kind).filter_by(**where).order_by(kind.business_id, kind.id)))

    def mail(self) -> list[MailboxLetter]:
        with self.house.database.open(everything("what came by mail")) as db:
            return list(db.scalars(select(MailboxLetter).order_by(MailboxLetter.created_at)))

    def change(self, kind: Any, id: str, **values: Any) -> None:
        with self.house.database.open(everything("a test arranges things"), write=True) as db:
            db.execute(update(kind).where(kind.id == id).values(**values))

    def attempts(self) -> list[Attempt]:
        return sorted(self.rows(Attempt), key=lambda one: (one.at, one.number))

    def schedule(self, buyer: Buyer, ends: bool = True) -> None:
        """Cancel at the period's end, or take that back: one event, `subscription.updated`."""
        with self.house.database.open(system(buyer.business_id), write=True) as db:
            (cancel_at_period_end if ends else keep)(db, buyer.subscription_id)

    def do(self, act: Any, *args: Any, **more: Any) -> Any:
        """One of history's or endpoints' functions, in a session of Acorn's."""
        with self.house.database.open(system(self.cast.acorn), write=True) as db:
            return act(db, *args, **more)


def unwrap(heard: Heard, secret: str) -> Any:
    """As a merchant's program reads it, with the official SDK. Raises when the signature is not right."""
    return DodoPayments(bearer_token="x", webhook_key=secret).webhooks.unwrap(heard.body.decode(), headers=heard.headers)


def types(receiver: Receiver) -> list[str]:
    return [json.loads(one.body)["type"] for one in receiver.heard]
