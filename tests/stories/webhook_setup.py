"""A business whose events are sent to a real receiver, for tests about webhooks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from dodopayments import DodoPayments
from sqlalchemy import select, update

from billing.subscriptions.cancel import cancel_at_period_end, keep
from core.mailbox import MailboxEmail
from core.scope import everything, system
from core.services import Services
from tenants.webhooks import endpoints, secrets
from tenants.webhooks.models import Attempt, Delivery, Endpoint
from tests.cast import Buyer, Cast
from tests.hostile_server import ReceivedRequest, Receiver


@dataclass
class Hooks:
    """A wired application with the `cast`. Due times are moved, so that nothing waits."""

    app: Any
    cast: Cast

    @property
    def services(self) -> Services:
        return self.cast.services

    @property
    def sender(self) -> Any:
        return self.app.extensions["webhooks"]

    def listen(self, url: str, **more: Any) -> str:
        """Create an endpoint of Acorn at `url`. Returns its id."""
        with self.services.database.open(system(self.cast.acorn), write=True) as db:
            return endpoints.create(db, self.services.outgoing, self.cast.acorn, url, **more).id

    def secret(self, endpoint_id: str) -> str:
        with self.services.database.open(system(self.cast.acorn)) as db:
            return secrets.secret_of(self.services.settings, endpoints.find(db, endpoint_id))

    def settle(self) -> None:
        """Run everything due now: create and send deliveries."""
        with self.app.app_context():
            self.services.gateway.deliver_due()
            self.services.worker.drain()
        self.sender.drain()

    def hurry(self, seconds: float = 1e6) -> None:
        """Make deliveries due that wait for at most `seconds`."""
        with self.services.database.open(everything("a test lets time pass"), write=True) as db:
            for kind, state in ((Delivery, Delivery.state == "pending"), (Endpoint, Endpoint.disabled.is_(False))):
                for row in db.scalars(select(kind).where(state, kind.due_at.is_not(None))):
                    row.due_at -= timedelta(seconds=seconds)
        self.sender.drain()

    def rows(self, kind: Any, **where: Any) -> list[Any]:
        with self.services.database.open(everything("what a test looks at")) as db:
            return list(db.scalars(select(kind).filter_by(**where).order_by(kind.business_id, kind.id)))

    def mail(self) -> list[MailboxEmail]:
        with self.services.database.open(everything("what came by mail")) as db:
            return list(db.scalars(select(MailboxEmail).order_by(MailboxEmail.created_at)))

    def change(self, kind: Any, id: str, **values: Any) -> None:
        with self.services.database.open(everything("a test arranges things"), write=True) as db:
            db.execute(update(kind).where(kind.id == id).values(**values))

    def attempts(self) -> list[Attempt]:
        return sorted(self.rows(Attempt), key=lambda row: (row.at, row.number))

    def schedule(self, buyer: Buyer, ends: bool = True) -> None:
        """Cancel at the period's end, or undo that: one event, `subscription.updated`."""
        with self.services.database.open(system(buyer.business_id), write=True) as db:
            (cancel_at_period_end if ends else keep)(db, buyer.subscription_id)

    def do(self, act: Any, *args: Any, **more: Any) -> Any:
        """Run a function of history or endpoints in a session of Acorn."""
        with self.services.database.open(system(self.cast.acorn), write=True) as db:
            return act(db, *args, **more)


def unwrap(heard: ReceivedRequest, secret: str) -> Any:
    """Verify and parse with the official SDK, as a receiver does. Raises if the signature is wrong."""
    return DodoPayments(bearer_token="x", webhook_key=secret).webhooks.unwrap(heard.body.decode(), headers=heard.headers)


def types(receiver: Receiver) -> list[str]:
    return [json.loads(item.body)["type"] for item in receiver.heard]
