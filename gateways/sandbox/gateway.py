"""SandboxGateway: the six verbs of the port, and what only a pretend provider has (pages, journal, knobs)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from billing.ports import Charge, Collect, HostedPage, MethodDetails, Notification, Outcome, Refund
from core.errors import Invalid
from core.money import Money
from gateways.sandbox import cards, hosted, journal, knobs, methods, notifications, operations, transfers
from gateways.sandbox.store import Store

log = logging.getLogger(__name__)
Notify = Callable[[dict[str, str], bytes], None]


class SandboxGateway:
    """A whole payment provider that moves no money. Safe to share between threads; processes share its file."""

    name = "dodo"
    resend_window = timedelta(hours=24)

    def __init__(self, database_path: Path, base_url: str, signing_secret: str, notify: Notify | None = None):
        """`base_url`: where the portal is reached, without a slash at the end. `notify(headers, body)` may be set later."""
        self.store = Store(database_path)
        self.base_url = base_url.rstrip("/")
        self.notify = notify
        self._secret = signing_secret

    # --- the port ---

    def collect(self, request: Collect) -> HostedPage:
        if request.amount is not None and request.amount.minor < 0:
            raise Invalid(fields={"amount": "An amount cannot be negative."})
        if urlsplit(request.return_url).scheme not in ("http", "https"):
            raise Invalid(fields={"return_url": "This has to be an http or https address."})
        with self.store.write() as c:
            reference = hosted.open_page(c, request if request.amount else replace(request, amount=None))
        return HostedPage(f"{self.base_url}/sandbox/pages/{reference}", reference)

    def charge(self, request: Charge) -> Outcome:
        _positive(request.amount)
        with self.store.write() as c:
            operations.settle_due(c)
            row, lost, knob = transfers.charge(c, request)
            outcome = operations.outcome(c, row, self.base_url)
        return _after(outcome, lost, knob)

    def refund(self, request: Refund) -> Outcome:
        _positive(request.amount)
        with self.store.write() as c:
            operations.settle_due(c)
            row, lost, knob = transfers.refund(c, request)
            outcome = operations.outcome(c, row, self.base_url)
        return _after(outcome, lost, knob)

    def look_up(self, key: str) -> Outcome:
        self.settle()
        with self.store.read() as c:
            row = operations.find(c, key)
            return operations.outcome(c, row, self.base_url) if row else Outcome("not_found", key)

    def cancel(self, key: str) -> Outcome:
        with self.store.write() as c:
            operations.settle_due(c)
            return operations.outcome(c, operations.cancel(c, key), self.base_url)

    def read_notification(self, headers: Mapping[str, str], body: bytes) -> Notification:
        return notifications.read(self._secret, headers, body)

    # --- what happens by itself ---

    def settle(self) -> None:
        """Let slow charges whose time has come succeed. Costs one read when there is nothing to do."""
        with self.store.read() as c:
            if not operations.has_due(c):
                return
        with self.store.write() as c:
            operations.settle_due(c)

    def deliver_due(self) -> int:
        """Deliver every notification that is due; how many got through. One that fails is tried again later."""
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
                log.exception("sandbox notification %s was not taken", delivery.headers["sandbox-id"])
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

    def _note(self, delivery: notifications.Delivery, result: str) -> None:
        with self.store.write() as c:
            journal.write(c, "notify", operations.need(c, delivery.key), result)

    # --- the hosted pages ---

    def page(self, reference: str) -> hosted.Page:
        """Raises NotFound, as all of these do."""
        self.settle()
        with self.store.read() as c:
            return hosted.read(c, page=reference)

    def submit_page(self, reference: str, typed: cards.Typed) -> hosted.Page:
        """Try a card. The page is still open after a decline (`error_code`) or for a challenge (`challenged`).

        Raises Invalid with `fields` when the card cannot be one; nothing was tried then.
        """
        card = cards.check(typed)
        with self.store.write() as c:
            operations.settle_due(c)
            page, knob = hosted.submit(c, reference, card)
        if knob == "crash_after":
            knobs.crash()
        return page

    def leave_page(self, reference: str) -> hosted.Page:
        with self.store.write() as c:
            return hosted.leave(c, reference)

    def challenge(self, reference: str) -> hosted.Page:
        self.settle()
        with self.store.read() as c:
            return hosted.read(c, challenge=reference)

    def answer_challenge(self, reference: str, approved: bool) -> hosted.Page:
        with self.store.write() as c:
            return hosted.answer(c, reference, approved)

    # --- for the demo and the tests ---

    def save_method(
        self, customer_id: str, card_number: str, exp_month: int, exp_year: int, holder: str, country: str | None = None
    ) -> MethodDetails:
        """Save a card without a page or a charge; a card that declines is saved, and declines when charged."""
        typed = cards.Typed(card_number, f"{exp_month:02}/{exp_year}", None, holder, country or "")
        card = cards.check(typed)
        with self.store.write() as c:
            saved = methods.details(c, methods.keep(c, customer_id, card, saved=True))
        assert saved is not None  # noqa: S101  written one line above
        return saved

    def turn_knob(self, name: str, value: object) -> None:
        """Misbehave: names and values in `knobs`. None puts a knob back."""
        with self.store.write() as c:
            knobs.turn(c, name, value)

    def journal(self, before: int | None = None) -> tuple[list[journal.Line], int | None]:
        """What was asked and done, newest first, and what to pass as `before` for the next page."""
        with self.store.read() as c:
            return journal.read(c, before)

    def movements(self) -> list[tuple[str, str, Money]]:
        """(kind, key, amount) of all money that moved, oldest first: what a ledger has to agree with."""
        self.settle()
        with self.store.read() as c:
            rows = c.execute(
                "SELECT kind, key, amount, currency FROM operations WHERE state = 'succeeded' AND amount IS NOT NULL ORDER BY settled_at"
            ).fetchall()
        return [(row["kind"], row["key"], Money(row["amount"], row["currency"])) for row in rows]


def _positive(amount: Money) -> None:
    if amount.minor <= 0:
        raise Invalid(fields={"amount": "An amount has to be more than nothing."})


def _after(outcome: Outcome, lost: bool, knob: str) -> Outcome:
    """What the caller gets of an effect that is committed: nothing, no answer, or the answer."""
    if knob == "crash_after":
        knobs.crash()
    return Outcome("unknown", outcome.key) if lost else outcome
