"""SandboxGateway: the operations of the gateway port, plus hosted pages, a journal and test controls."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from billing.charging.account_ports import TestPayment
from billing.charging.ports import (
    ChargeOutcome,
    ChargeRequest,
    CollectRequest,
    CustomerRequest,
    HostedPage,
    MethodDetails,
    RefundRequest,
    Trace,
)
from billing.charging.processor_reports import DisputeReport, Notification, RefundReport
from core.errors import Invalid
from core.money import Money
from gateways.sandbox import (
    account_test,
    cards,
    hosted,
    journal,
    methods,
    notifications,
    operations,
    ownership,
    returns,
    test_controls,
    transfers,
)
from gateways.sandbox.hosted_pages import HostedPages
from gateways.sandbox.store import Store

log = logging.getLogger(__name__)
Found = TypeVar("Found")
Notify = Callable[[dict[str, str], bytes], None]


class SandboxGateway(HostedPages):
    """A payment provider that moves no money. Threads can share an instance; processes share its database file.

    `at` returns the gateway of one payment account. Without an account, it has the operations of every account.
    """

    name = "dodo"
    resend_window = timedelta(hours=24)

    def __init__(self, database_path: Path, base_url: str, signing_secret: str, notify: Notify | None = None):
        """`base_url`: the address of the portal without a trailing slash. `notify(headers, body)` can be set later."""
        self.store = Store(database_path)
        self.base_url = base_url.rstrip("/")
        self.notify = notify
        self._secret = signing_secret
        self.account = ""

    def at(self, account: str) -> SandboxGateway:
        """Return the gateway of a payment account: it neither finds nor charges anything of another one."""
        bound = copy.copy(self)
        bound.account = account
        return bound

    # --- the port ---

    def register(self, request: CustomerRequest) -> str:
        """Return the id of the customer. The sandbox keeps no data about customers."""
        return request.customer_id

    def collect(self, request: CollectRequest) -> HostedPage:
        if request.amount is not None and request.amount.minor < 0:
            raise Invalid(fields={"amount": "An amount cannot be negative."})
        if urlsplit(request.return_url).scheme not in ("http", "https"):
            raise Invalid(fields={"return_url": "Enter an http or https address."})
        with self.store.write() as c:
            reference = hosted.open_page(c, request if request.amount else replace(request, amount=None), self.account)
        return HostedPage(f"{self.base_url}/sandbox/pages/{reference}", reference)

    def charge(self, request: ChargeRequest) -> ChargeOutcome:
        _positive(request.amount)
        with self.store.write() as c:
            operations.settle_due(c)
            row, lost, knob = transfers.charge(c, request, self.account)
            outcome = operations.outcome(c, row, self.base_url)
        return _after(outcome, lost, knob)

    def refund(self, request: RefundRequest) -> ChargeOutcome:
        _positive(request.amount)
        with self.store.write() as c:
            operations.settle_due(c)
            row, lost, knob = transfers.refund(c, request, self.account)
            outcome = operations.outcome(c, row, self.base_url)
        return _after(outcome, lost, knob)

    def look_up(self, trace: Trace) -> ChargeOutcome:
        self.settle()
        with self.store.read() as c:
            row = operations.find(c, trace.key) or operations.find_reference(c, trace.reference)
            known = row is not None and ownership.has(self.account, row)
            return operations.outcome(c, row, self.base_url) if row is not None and known else ChargeOutcome("not_found", trace.key)

    def look_up_refund(self, reference: str) -> RefundReport | None:
        with self.store.read() as c:
            return returns.report_refund(c, reference, self.account)

    def look_up_dispute(self, reference: str) -> DisputeReport | None:
        with self.store.read() as c:
            return returns.report_dispute(c, reference, self.account, self.base_url)

    def cancel(self, trace: Trace) -> ChargeOutcome:
        with self.store.write() as c:
            operations.settle_due(c)
            return operations.outcome(c, operations.cancel(c, trace.key, self.account), self.base_url)

    def forget(self, method_reference: str) -> None:
        with self.store.write() as c:
            methods.forget(c, method_reference, self.account)

    def describe(self, method_reference: str) -> MethodDetails | None:
        with self.store.read() as c:
            return methods.describe(c, method_reference, self.account)

    def test_payment(self, key: str, currency: str) -> TestPayment:
        with self.store.write() as c:
            return account_test.run(c, key, currency, self.account)

    def read_notification(self, headers: Mapping[str, str], body: bytes) -> Notification:
        named = next((value for name, value in headers.items() if name.lower() == notifications.ACCOUNT), "")
        return notifications.read(ownership.signing_secret(self._secret, self.account or named), headers, body)

    # --- background work ---

    def settle(self) -> None:
        """Settle slow charges that are due as succeeded. Costs one read when none is due."""
        with self.store.read() as c:
            if not operations.has_due(c):
                return
        with self.store.write() as c:
            operations.settle_due(c)

    def deliver_due(self) -> int:
        """Deliver every due notification and return how many were delivered. Failed ones are tried again later."""
        self.settle()
        through = 0
        while self.notify is not None and self._anything_due():
            with self.store.write() as c:
                delivery = notifications.claim(c, self._secret)
            if delivery is None:
                break
            try:
                self.notify(delivery.headers, delivery.body)
            except Exception:
                log.exception("sandbox notification %s could not be delivered", delivery.headers["sandbox-id"])
                self._note(delivery, "failed")
                continue
            with self.store.write() as c:
                notifications.delivered(c, delivery.number)
                journal.write(c, "notify", operations.need(c, delivery.key), "delivered")
            through += 1
        return through

    def _anything_due(self) -> bool:
        with self.store.read() as c:
            return notifications.any_due(c)

    def _note(self, delivery: notifications.NotificationDelivery, result: str) -> None:
        with self.store.write() as c:
            journal.write(c, "notify", operations.need(c, delivery.key), result)

    # --- its own page of a payment: what a processor's dashboard, or the customer's bank, does ---

    def on_page(self, step: Callable[..., Found], *values: Any) -> Found:
        """Run a function of `returns.py`. Raises NotFound, Invalid, Conflict."""
        self.settle()
        with self.store.write() as c:
            return step(c, *values)

    # --- for the demo and the tests ---

    def save_method(
        self, customer_id: str, card_number: str, exp_month: int, exp_year: int, holder: str, country: str | None = None
    ) -> MethodDetails:
        """Save a card without a page or a charge. A declining card is saved too, and declines when charged."""
        typed = cards.CardForm(card_number, f"{exp_month:02}/{exp_year}", None, holder, country or "")
        card = cards.check(typed)
        with self.store.write() as c:
            saved = methods.details(c, methods.keep(c, customer_id, card, saved=True))
        assert saved is not None  # noqa: S101  written one line above
        return saved

    def turn_knob(self, name: str, value: object) -> None:
        """Set a test control (see `test_controls`). None restores its default."""
        with self.store.write() as c:
            test_controls.turn(c, name, value)

    def journal(self, before: int | None = None) -> tuple[list[journal.JournalLine], int | None]:
        """Return a page of journal lines, newest first, and the `before` argument of the next page."""
        with self.store.read() as c:
            return journal.read(c, before)

    def movements(self) -> list[tuple[str, str, Money]]:
        """Return (kind, key, amount) of every movement of money, oldest first, for comparison with a ledger."""
        self.settle()
        with self.store.read() as c:
            rows = c.execute(
                "SELECT kind, key, amount, currency FROM operations WHERE state = 'succeeded' AND amount IS NOT NULL ORDER BY settled_at"
            ).fetchall()
            rows += returns.lost_disputes(c)
        return [(row["kind"], row["key"], Money(row["amount"], row["currency"])) for row in rows]


def _positive(amount: Money) -> None:
    if amount.minor <= 0:
        raise Invalid(fields={"amount": "The amount must be more than 0."})


def _after(outcome: ChargeOutcome, lost: bool, knob: str) -> ChargeOutcome:
    """Return the answer to a committed operation. Crash or lose the answer when a test control says so."""
    if knob == "crash_after":
        test_controls.crash()
    return ChargeOutcome("unknown", outcome.key) if lost else outcome
