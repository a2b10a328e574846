"""A business whose payment account is at the stand-in for Stripe, with the payment processor and the worker, but without pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

import core.settings
from billing.charging import notifications, tax_reports
from billing.charging.payment_processor import PaymentProcessor
from billing.charging.payment_processors import PaymentProcessors, purpose
from billing.charging.ports import AccountAccess, Gateway
from billing.model.payment_accounts import PaymentAccount, PaymentAccountDetails, ProcessorCustomer, sandbox_account_id
from billing.model.payments import PaymentMethod
from billing.renewals import renew, tax_estimates
from billing.subscriptions import dispute_policy
from core import clock, encryption
from core.db import Database
from core.handlers import Handlers
from core.ids import new_id
from core.money import Money
from core.outgoing import Outgoing
from core.scope import everything, system
from core.services import Services
from core.settings import Settings
from core.worker import Tick, Worker
from gateways.stripe import StripeKind
from gateways.stripe.amounts import from_stripe
from tests.harness.stripe_standin import Account, StandIn
from tests.harness.stripe_standin.cards import BY_NUMBER
from tests.harness.stripe_standin.methods import from_card, keep
from tests.stories.business_and_buyer import VISA, Site

KEY = "rk_test_acorn"
FAILS_LATER = "4000000000000341"
"""The sandbox's card that is declined at every renewal. Stripe's card with this number is never charged at all."""


class Bank:
    """The stand-in as the tests of payments see a processor. `charge` and the others are points around the calls of a gateway."""

    def __init__(self, stand_in: StandIn):
        self.stand_in = stand_in
        self.account: Account = stand_in.account(KEY)

    def movements(self) -> list[tuple[str, str, Money]]:
        return [(kind, key, from_stripe(amount, currency)) for kind, key, amount, currency in self.account.movements]

    def collect(self, call: Any, *values: Any) -> Any:
        return call(*values)

    charge = refund = look_up = cancel = collect


class _Seen:
    """A gateway whose calls go through the points of the bank."""

    def __init__(self, gateway: Gateway, bank: Bank):
        self._gateway, self._bank = gateway, bank

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._gateway, name)
        if name not in ("collect", "charge", "refund", "look_up", "cancel"):
            return call
        return lambda *values: getattr(self._bank, name)(call, *values)


class SeenKind(StripeKind):
    bank: Bank

    def open(self, access: AccountAccess) -> Any:
        return _Seen(super().open(access), self.bank)


def start(settings: Settings, stand_in: StandIn) -> Services:
    """Create what works on the database, as after a restart."""
    if "stripe" not in core.settings.PROCESSORS:
        core.settings.PROCESSORS = (*core.settings.PROCESSORS, "stripe")
    database, handlers, bank = Database(settings), Handlers(), Bank(stand_in)
    kind = SeenKind(Outgoing(settings), stand_in.base_url)
    kind.bank = bank
    processor = PaymentProcessor(database, PaymentProcessors(database, settings, {"stripe": kind}), settings)
    notifications.register(handlers, processor)
    tax_reports.register(handlers, processor)
    dispute_policy.register(handlers, processor)
    ticks = [Tick("renewals", timedelta(0), lambda: renew.run_due(processor)), Tick("reconcile", timedelta(0), processor.reconcile)]
    ticks += [
        Tick("tax estimates", timedelta(0), lambda: tax_estimates.run_due(processor)),
        Tick("tax reports", timedelta(0), lambda: tax_reports.run_due(processor)),
    ]
    worker = Worker(database, handlers, ticks)
    return Services(settings, database, gateway=bank, worker=worker, processor=processor, handlers=handlers)


class StripeSite(Site):
    """Acorn with a Stripe account in the place of the sandbox."""

    def connect(self) -> StripeSite:
        account_id, settings = sandbox_account_id(self.business_id), self.database.settings
        with self.database.open(everything("connect Stripe"), write=True) as db:
            account = db.scalar(select(PaymentAccount).where(PaymentAccount.id == account_id))
            if account is None:
                account = PaymentAccount(
                    business_id=self.business_id, id=account_id, currencies=[], state="open", is_default=True, created_at=clock.wall()
                )
                db.add(account)
            account.kind = "stripe"
            db.flush()
            details = db.scalar(select(PaymentAccountDetails).where(PaymentAccountDetails.id == account_id))
            if details is None:
                details = PaymentAccountDetails(business_id=self.business_id, id=account_id, label="Stripe")
                db.add(details)
            details.sealed_key = encryption.seal(settings.secret_keys, purpose(account_id, "key"), KEY)
            secret = self.gateway.account.webhook_secret
            details.sealed_webhook_secret = encryption.seal(settings.secret_keys, purpose(account_id, "webhook"), secret)
        return self

    def card(self, customer_id: str = "", number: str = VISA) -> str:
        """Save a card at the stand-in and here. Returns the payment method's id."""
        owner, bank = customer_id or self.customer_id, self.gateway
        reference = self._registered(owner)
        with bank.stand_in.lock:
            kept = keep(bank.account, from_card(bank.account, BY_NUMBER[number], name="Ada Marlow"), reference)
            if number == FAILS_LATER:
                bank.account.private[kept["id"]]["behavior"] = "absent_fails"
        with self.database.open(system(self.business_id), write=True) as db:
            method = PaymentMethod(
                business_id=self.business_id,
                customer_id=owner,
                id=new_id("pm"),
                payment_account_id=sandbox_account_id(self.business_id),
                reference=kept["id"],
                kind="card",
                brand=kept["card"]["brand"],
                last4=kept["card"]["last4"],
                recurring=True,
                created_at=clock.now(),
                expiry_month=kept["card"]["exp_month"],
                expiry_year=kept["card"]["exp_year"],
            )
            db.add(method)
            return method.id

    def _registered(self, customer_id: str) -> str:
        with self.database.open(system(self.business_id), write=True) as db:
            known = db.scalar(select(ProcessorCustomer.reference).where(ProcessorCustomer.customer_id == customer_id))
            if known is not None:
                return known
            with self.gateway.stand_in.lock:
                made = self.gateway.account.make("customer", email=None, name=None, description=None, metadata={})
            row = ProcessorCustomer(
                business_id=self.business_id,
                id=new_id("pcu"),
                customer_id=customer_id,
                payment_account_id=sandbox_account_id(self.business_id),
                reference=made["id"],
            )
            db.add(row)
            return str(made["id"])

    def deliver(self) -> int:
        """Post the events of the account to the portal, as Stripe does. Returns how many."""
        events = self.gateway.stand_in.take_events(KEY)
        for headers, body in events:
            notifications.receive(self.processor, "stripe", sandbox_account_id(self.business_id), headers, body)
        return len(events)
