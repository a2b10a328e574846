"""Serves the stand-in on a loopback port, in a thread."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

from werkzeug.serving import make_server

from tests.harness.stripe_standin import checkout, money, specification
from tests.harness.stripe_standin.application import make_app
from tests.harness.stripe_standin.world import Account, Object, Problem


class StandIn:
    """`calls`: every call that was handled, as (method, path, status). `mistakes`: what is not in Stripe's document."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.accounts: dict[str, Account] = {}
        self.calls: list[tuple[str, str, int]] = []
        self.mistakes: list[str] = []
        self.retry_after = "0.1"
        self.base_url = ""
        self._knobs: list[tuple[str, str, str]] = []

    def account(self, key: str, **more: object) -> Account:
        """Return the account of a key; made when it is asked for first."""
        with self.lock:
            if key not in self.accounts:
                self.accounts[key] = Account(key, f"whsec_{key}", self.base_url, **more)  # type: ignore[arg-type]
            return self.accounts[key]

    def authenticate(self, header: str) -> Account:
        account = self.accounts.get(header.removeprefix("Bearer "))
        if account is None:
            raise Problem(401, "Invalid API Key provided.")
        return account

    def account_of(self, identifier: str) -> Account:
        return next(account for account in self.accounts.values() if identifier in account.objects)

    def invoice_of(self, path: str) -> tuple[Account, Object]:
        """Return the invoice with this hosted page, and its account."""
        return next(
            (account, item)
            for account in self.accounts.values()
            for item in account.every("invoice")
            if item["hosted_invoice_url"].endswith(path)
        )

    def on_next(self, method: str, ending: str, what: str, times: int = 1) -> None:
        """Set what happens to the next calls whose path ends so.

        `drop before`: it never arrives. `drop`: its answer is lost. `500`: nothing is done, the answer is stored. `500 after`: it is done,
        and an error 500 is stored. `429`: too many requests. `slow 0.5`: seconds.
        """
        with self.lock:
            self._knobs += [(method, ending, what)] * times

    def take(self, method: str, path: str) -> str:
        with self.lock:
            for n, (wanted, ending, what) in enumerate(self._knobs):
                if wanted == method and path.endswith(ending):
                    del self._knobs[n]
                    return what
        return ""

    def forget_troubles(self) -> int:
        """Drop what `on_next` planned and did not happen. Returns how many."""
        with self.lock:
            left, self._knobs = len(self._knobs), []
            return left

    def submit_page(self, session: str, **form: str) -> Object:
        account = self.account_of(session)
        with self.lock:
            return deepcopy(checkout.submit(account, session, form))

    def answer_bank(self, reference: str, approved: bool) -> None:
        with self.lock:
            checkout.answer_bank(self.account_of(reference), reference, approved)

    def finish_debit(self, intent: str, *, failed: bool = False) -> None:
        with self.lock:
            money.finish_debit(self.account_of(intent), intent, failed=failed)

    def finish_refund(self, refund: str, *, failed: bool) -> None:
        with self.lock:
            money.finish_refund(self.account_of(refund), refund, failed=failed)

    def refund(self, intent: str, amount: int) -> str:
        """Refund in the dashboard of the account."""
        with self.lock:
            return str(money.create_refund(self.account_of(intent), {"payment_intent": intent, "amount": amount})["id"])

    def open_dispute(self, intent: str, *, inquiry: bool = False) -> str:
        with self.lock:
            return str(money.open_dispute(self.account_of(intent), intent, inquiry=inquiry)["id"])

    def escalate(self, dispute: str) -> None:
        with self.lock:
            money.escalate(self.account_of(dispute), dispute)

    def return_debit(self, intent: str) -> None:
        with self.lock:
            money.return_debit(self.account_of(intent), intent)

    def close_dispute(self, dispute: str, *, won: bool) -> None:
        with self.lock:
            money.close_dispute(self.account_of(dispute), dispute, won=won)

    def take_events(self, key: str) -> list[tuple[dict[str, str], bytes]]:
        """Return the events of an account since the last call, signed as webhooks: (headers, body)."""
        account = self.account(key)
        with self.lock:
            events, account.events = account.events, []
        return [sign(account, json.dumps({**event, "api_version": specification.version()}).encode()) for event in events]


def sign(account: Account, body: bytes) -> tuple[dict[str, str], bytes]:
    """Return a webhook as Stripe signs it: (headers, body)."""
    stamp = int(time.time())
    signature = hmac.new(account.webhook_secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={stamp},v1={signature}", "Content-Type": "application/json"}, body


@contextmanager
def running() -> Iterator[StandIn]:
    stand_in = StandIn()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, make_app(stand_in), threaded=True)
    stand_in.base_url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
