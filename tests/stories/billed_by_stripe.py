"""Ada's subscription at Cedar Mail, which an account at the stand-in for Stripe bills, and its unpaid invoice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from billing.model.delegated_actions import DelegatedAction
from billing.model.invoices import Invoice
from core import clock
from core.outgoing import Outgoing
from core.scope import system
from tenants.external import pull as pulling
from tenants.memberships import invite
from tests.cast import Cast
from tests.harness.stripe_standin import StandIn, running
from tests.harness.stripe_standin.billing import Merchant
from tests.stories.stripe_mirror import KEY, make_events_due, mirrored, our_id, reader_of, work
from tests.visitor import Visitor


@dataclass
class Story:
    """`late`: Ada's unpaid subscription at Stripe; `open`: its invoice."""

    ada: Visitor
    stand_in: StandIn
    merchant: Merchant
    cedar: str
    buyer: dict[str, Any]
    late: dict[str, Any]
    open: dict[str, Any]

    @property
    def services(self) -> Any:
        return self.ada.services

    @property
    def url(self) -> str:
        return f"/subscriptions/{our_id(self.services, self.cedar, self.late['id'])}"

    def behave(self, behavior: str) -> None:
        self.merchant.account.private[self.buyer["invoice_settings"]["default_payment_method"]]["behavior"] = behavior

    def go_to_pay(self, expect: int = 200) -> Any:
        self.ada.get(f"{self.url}/invoice-payment")
        return self.ada.post(f"{self.url}/invoice-payment", follow=False, expect=expect)

    def look_again(self, **changes: Any) -> None:
        """Make the open action due, and let the worker look."""
        with self.services.database.open(system(self.cedar), write=True) as db:
            for row in db.scalars(select(DelegatedAction).where(DelegatedAction.status.in_(("pending", "opened")))):
                row.check_at = clock.wall()
                for name, value in changes.items():
                    setattr(row, name, value)
        work(self.services)

    def follow_events(self) -> None:
        make_events_due(self.services, self.cedar)
        work(self.services)

    def invoices(self) -> list[tuple[str, str, int, int]]:
        with self.services.database.open(system(self.cedar)) as db:
            query = select(Invoice.number, Invoice.status, Invoice.due_minor, Invoice.paid_minor).order_by(Invoice.number)
            return [tuple(row) for row in db.execute(query)]

    def number(self, invoice: dict[str, Any]) -> tuple[str, str, int, int]:
        return next(row for row in self.invoices() if row[0] == invoice["number"])

    def invoice_here(self, invoice: dict[str, Any]) -> str:
        with self.services.database.open(system(self.cedar)) as db:
            return db.scalars(select(Invoice.id).where(Invoice.number == invoice["number"])).one()

    def pull(self) -> None:
        pulling.pull(reader_of(self.services, self.stand_in, self.cedar))

    def owner(self, app: Any, email: str) -> Visitor:
        """Return an owner of Cedar Mail in the console."""
        with self.services.database.open(system(self.cedar), write=True) as db:
            invite(db, self.cedar, email, "owner")
        self.services.worker.drain()
        visitor = Visitor(app)
        visitor.sign_in(email)
        visitor.get("/console")
        visitor.submit("acceptance", follow=False, expect=303)
        return visitor


@contextmanager
def billed_by_stripe(cast: Cast, app: Any) -> Iterator[Story]:
    services = cast.services
    services.outgoing, before = Outgoing(replace(services.settings, outgoing_loopback=True)), services.outgoing
    services.forwarder.systems["stripe"].page_calls._silent.clear()  # tests share an application
    with running() as stand_in:
        merchant = Merchant(stand_in.account(KEY))
        buyer = merchant.customer(cast.ADA, "Ada Marlow")
        late = merchant.subscribe(buyer, (merchant.price("Cedar Archive", 1500), 1))
        merchant.account.private[buyer["invoice_settings"]["default_payment_method"]]["behavior"] = "insufficient_funds"
        unpaid = merchant.renew(late)
        cedar = mirrored(services, stand_in, name="Cedar Mail")
        pulling.pull(reader_of(services, stand_in, cedar))
        work(services)
        ada = Visitor(app)
        ada.sign_in(cast.ADA)
        yield Story(ada, stand_in, merchant, cedar, buyer, late, unpaid)
        assert stand_in.mistakes == []
    services.outgoing = before
