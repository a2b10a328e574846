"""The Stripe adapter in the contract tests: on the stand-in, on a fake that somebody else wrote, and on Stripe's test mode."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import stripe
import time_machine

from billing.charging.ports import AccountAccess, CustomerRequest, Trace
from core.clock import wall
from core.money import Money
from core.outgoing import Outgoing
from core.settings import Settings
from gateways.stripe import StripeKind
from gateways.stripe.amounts import from_stripe
from gateways.stripe.declines import code_of
from tests.harness.stripe_standin import StandIn

ROOT = Path(__file__).resolve().parents[2]
TOKENS = {
    "good": "tok_visa",
    "poor": "tok_visa_chargeDeclinedInsufficientFunds",
    "old": "tok_chargeDeclinedExpiredCard",
    "plain": "tok_visa_chargeDeclined",
    "renewals fail": "tok_chargeCustomerFail",
    "challenge": "tok_threeDSecure2Required",
}
NUMBERS = {"good": "4242424242424242", "lost": "4242424242424242", "poor": "4000000000009995", "challenge": "4000002760003184"}
IBAN = "AT611904300234573201"
DECLINE_AT_ATTACH = ("poor", "old", "plain", "challenge")
NOT_OURS = "how notifications are delivered is up to Stripe; the adapter only reads them"


@dataclass
class PageState:
    state: str
    error_code: str | None = None
    challenge: str | None = None


class LosingOutgoing(Outgoing):
    """Keeps the requests, and loses the answer of the next call whose path ends with `lost`."""

    lost = ""

    @cached_property
    def requests(self) -> list[httpx.Request]:
        return []

    def client(self, **more: Any) -> httpx.Client:  # type: ignore[override]
        client = super().client(**more)
        client.event_hooks = {"request": [self.requests.append], "response": [self._lose]}
        return client

    def _lose(self, response: httpx.Response) -> None:
        if self.lost and response.request.url.path.endswith(self.lost) and response.request.method == "POST":
            self.lost = ""
            response.read()
            raise httpx.ReadError("the answer was lost")


@dataclass
class ApiRig:
    """Everything that the API itself can do: the same for the stand-in, the fake and the real service."""

    key: str
    api_base: str | None
    webhook_secret: str = "whsec_test"
    customers: dict[str, str] = field(default_factory=dict)

    name = "stripe"
    window = timedelta(hours=23)
    cannot: dict[str, str] = field(default_factory=dict)  # noqa: RUF008 - replaced by each rig

    @property
    def access(self) -> AccountAccess:
        return AccountAccess("pac_acorn", "bus_acorn", False, self.key, self.webhook_secret)

    @cached_property
    def gateway(self) -> Any:
        return StripeKind(self.outgoing, self.api_base).open(self.access)

    @cached_property
    def outgoing(self) -> LosingOutgoing:
        return LosingOutgoing(Settings(outgoing_loopback=True))

    @cached_property
    def sdk(self) -> Any:
        addresses: Any = {"api": self.api_base} if self.api_base else {}
        return stripe.StripeClient(self.key, base_addresses=addresses, stripe_version="2026-08-26.dahlia").v1

    @cached_property
    def run_id(self) -> str:
        """The real service remembers keys for a day: each run has its own."""
        return uuid.uuid4().hex[:8]

    def operation(self, name: str) -> str:
        return f"{self.run_id}/{name}"

    def customer(self, customer_id: str = "cus_ada") -> str:
        if customer_id not in self.customers:
            request = CustomerRequest(self.operation(f"customer/{customer_id}"), "bus_acorn", customer_id, f"{customer_id}@acorn.example")
            self.customers[customer_id] = self.gateway.register(request)
        return self.customers[customer_id]

    def method(self, kind: str = "good", customer_id: str = "cus_ada") -> str:
        customer, made = self.customer(customer_id), self.card(kind)
        if kind not in DECLINE_AT_ATTACH:  # Stripe tries a card when it is saved
            self.sdk.payment_methods.attach(made, {"customer": customer})
        return made

    def card(self, kind: str) -> str:
        return str(self.sdk.payment_methods.create({"type": "card", "card": {"token": TOKENS[kind]}}).id)

    def dashboard_refund(self, charge: str, minor: int) -> str:
        return str(self.sdk.refunds.create({"payment_intent": charge, "amount": minor}).id)

    def lose_answer(self, verb: str) -> None:
        """The answer to the next such call is lost on its way."""
        self.outgoing.lost = {"charge": "/confirm", "refund": "/refunds"}[verb]

    def killed(self, verb: str, request: object, when: str) -> int:
        """Send the request in another process, which is killed at the decisive call: `before` it is sent, or `after` it was done."""
        script = [sys.executable, "-m", "tests.harness.stripe_killed_call", self.api_base or "", when, verb]
        done = subprocess.run(script, input=pickle.dumps((self.access, request)), cwd=ROOT, capture_output=True, timeout=60)
        assert done.returncode < 0, done.stderr
        return done.returncode

    def trace(self, key: str, kind: Any = "charge", charge: Trace | None = None) -> Trace:
        return Trace(self.operation(key), kind, customer_reference=self.customer(), charge=charge)

    def movements(self) -> list[tuple[str, str, Money]]:
        """Return (kind, key, amount) of what moved for Ada, oldest first, as the account's lists show it."""
        found = []
        for intent in self.sdk.payment_intents.list({"customer": self.customer(), "limit": 100}).data:
            key, currency = intent.metadata["portal_key"].split("/", 1)[1], intent.currency
            if intent.status == "succeeded":
                found.append((intent.created, "charge", key, from_stripe(intent.amount_received, currency)))
            for refund in self.sdk.refunds.list({"payment_intent": intent.id, "limit": 100}).data:
                key = refund.metadata["portal_key"].split("/", 1)[1]
                if refund.status == "succeeded":
                    found.append((refund.created, "refund", key, from_stripe(refund.amount, currency)))
        return [(kind, key, amount) for _, kind, key, amount in sorted(found, key=lambda item: item[0])]


NO_NUMBERS = "card numbers are entered at Stripe's page and never reach the adapter"
PAGES = (
    "test_a_hosted_page_can_ask_for_a_confirmation",
    "test_a_hosted_page_can_wait_for_the_bank",
    "test_a_hosted_page_charges_once_and_saves_the_method",
    "test_a_hosted_page_with_a_lost_answer_is_settled_by_look_up",
    "test_a_hosted_page_without_an_amount_saves_the_method",
    "test_cancel_closes_a_page",
)
CHALLENGES = ("test_a_saved_method_can_ask_for_a_confirmation", "test_a_challenge_that_was_cancelled_cannot_be_answered")
DELIVERIES = ("test_an_unaccepted_notification_is_sent_again", "test_late_repeated_and_unordered_notifications_have_one_effect")
REPORTS = (
    "test_a_refund_made_in_the_dashboard_is_reported",
    "test_a_refund_can_fail_after_it_succeeded",
    "test_a_dispute_is_reported_until_it_is_decided",
)
TIME = ("test_a_slow_charge_is_processing_and_then_settles", "test_an_expired_card_is_declined")


class StandInRig(ApiRig):
    cannot = dict.fromkeys(DELIVERIES, NOT_OURS) | {"test_no_card_number_is_ever_written": NO_NUMBERS}

    def __init__(self, folder: Path, stand_in: StandIn):
        self.stand_in = stand_in
        key = f"rk_test_{uuid.uuid4().hex[:12]}"
        self.account = stand_in.account(key)
        super().__init__(key, stand_in.base_url, self.account.webhook_secret)
        self.heard: list[tuple[dict[str, str], bytes]] = []

    def method(self, kind: str = "good", customer_id: str = "cus_ada", expires: tuple[int, int] = (6, 2032)) -> str:
        if kind == "slow":
            return self._saved(iban=IBAN)
        if expires != (6, 2032):
            return self._saved(number=NUMBERS[kind], expiry=f"{expires[0]}/{expires[1]}")
        return super().method(kind, customer_id)

    def _saved(self, **form: str) -> str:
        session = self.sdk.checkout.sessions.create(
            {"mode": "setup", "currency": "gbp", "customer": self.customer(), "success_url": "https://acorn.example/"}
        )
        self.stand_in.submit_page(session.id, name="Ada Marlow", **form)
        return str(self.account.objects[self.account.objects[session.id]["setup_intent"]]["payment_method"])

    def fill_in(self, reference: str, kind: str = "good") -> PageState:
        form = {"iban": IBAN} if kind == "slow" else {"number": NUMBERS[kind], "expiry": "06/32", "cvc": "123"}
        session = self.stand_in.submit_page(reference, name="Ada Marlow", country="GB", **form)
        intent = self.account.objects.get(session["payment_intent"] or session["setup_intent"] or "", {})
        error = intent.get("last_payment_error") or intent.get("last_setup_error") or {}
        state = {"open": "requires_action", "expired": "cancelled"}.get(session["status"], intent.get("status", ""))
        code = code_of(error.get("decline_code"), error.get("code")) if error else None
        return PageState(state, code, intent["id"] if intent.get("status") == "requires_action" else None)

    def answer_bank(self, reference: str, approved: bool) -> None:
        self.stand_in.answer_bank(reference, approved)

    @contextmanager
    def after_settling(self) -> Iterator[None]:
        """The bank has confirmed the direct debits."""
        for intent in [item for item in self.account.every("payment_intent") if item["status"] == "processing"]:
            self.stand_in.finish_debit(intent["id"])
        yield

    @contextmanager
    def later(self, delta: timedelta) -> Iterator[None]:
        with time_machine.travel(wall() + delta):
            yield

    def fail_refund(self, reference: str) -> None:
        self.stand_in.finish_refund(reference, failed=True)

    def dispute(self, charge: str) -> str:
        return self.stand_in.open_dispute(charge)

    def decide(self, dispute: str, won: bool) -> None:
        self.stand_in.close_dispute(dispute, won=won)

    def deliver(self) -> int:
        events = self.stand_in.take_events(self.key)
        self.heard += events
        return len(events)

    def movements(self) -> list[tuple[str, str, Money]]:
        return [(kind, key.split("/", 1)[1], from_stripe(amount, currency)) for kind, key, amount, currency in self.account.movements]


class ThirdPartyRig(ApiRig):
    """The fake of `make test-processors`, at STRIPE_FAKE. Each test has its own account there."""

    cannot = (
        dict.fromkeys(PAGES, "this fake has no Checkout Sessions")
        | dict.fromkeys(CHALLENGES, "this fake does not redirect to a bank, so a challenge cannot be answered")
        | dict.fromkeys(TIME, "this fake has no delayed methods, and its clock cannot be turned")
        | dict.fromkeys(REPORTS, "this fake was not tried with its own refunds and disputes")
        | dict.fromkeys((*DELIVERIES, "test_notifications_are_signed_hints"), "this fake delivers no webhooks")
        | {"test_a_forgotten_method_cannot_be_charged": "this fake charges detached methods; Stripe's documentation says that it does not"}
        | {"test_no_card_number_is_ever_written": NO_NUMBERS}
    )

    def __init__(self, folder: Path):
        super().__init__(f"sk_test_{uuid.uuid4().hex[:12]}", f"{os.environ['STRIPE_FAKE']}/worlds/{uuid.uuid4().hex[:12]}")

    def card(self, kind: str) -> str:
        if kind != "renewals fail":
            return super().card(kind)
        card = {"number": "4000000000000341", "exp_month": 6, "exp_year": 2032}  # this fake has no token for it
        return str(self.sdk.payment_methods.create({"type": "card", "card": card}).id)


class TestModeRig(ApiRig):
    """Stripe itself, in test mode, with the key of STRIPE_TEST_KEY. Nothing in this repository was ever run against it."""

    __test__ = False
    cannot = (
        dict.fromkeys(PAGES, "a person has to fill in Stripe's page")
        | dict.fromkeys(CHALLENGES, "a person has to answer the page of the bank")
        | dict.fromkeys(TIME, "its clock cannot be turned")
        | dict.fromkeys(REPORTS[1:], "Stripe lets refunds fail, and opens and decides disputes, in its own time")
        | dict.fromkeys((*DELIVERIES, "test_notifications_are_signed_hints"), "webhooks need a public address")
        | {"test_no_card_number_is_ever_written": NO_NUMBERS}
    )

    def __init__(self, folder: Path):
        super().__init__(os.environ["STRIPE_TEST_KEY"], None)
