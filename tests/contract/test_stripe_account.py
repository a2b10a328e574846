"""Tests of the Stripe adapter beside charging: checking a key, amounts, declines, kinds of methods, webhooks, bank debits and disputes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine

from billing.charging.ports import AccountAccess
from core.clock import wall
from core.errors import Invalid, Unauthorized, Unavailable
from core.money import Money
from core.outgoing import Outgoing
from core.settings import Settings
from gateways.stripe import StripeKind, methods
from gateways.stripe.amounts import MINIMUM, from_stripe, is_too_small, to_stripe
from gateways.stripe.api import Refusal
from gateways.stripe.declines import CODES, code_of, sentence_of
from tests.contract.stripe_rigs import ROOT, StandInRig
from tests.contract.test_gateway import charge_of, page_of, refund_of, refund_trace
from tests.harness.stripe_standin import running
from tests.harness.stripe_standin.cards import CARDS
from tests.harness.stripe_standin.server import sign

# the codes of the API that programs know (`payment.error_code`)
OURS = set(
    "INSUFFICIENT_FUNDS GENERIC_DECLINE CARD_DECLINED EXPIRED_CARD DO_NOT_HONOR INCORRECT_CVC AUTHENTICATION_REQUIRED STOLEN_CARD LOST_CARD"
    " PROCESSING_ERROR NETWORK_ERROR NETWORK_TIMEOUT TRY_AGAIN_LATER CARD_VELOCITY_EXCEEDED MANDATE_INVALID UNKNOWN_ERROR".split()
)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[StandInRig]:
    with running() as stand_in:
        yield StandInRig(tmp_path, stand_in)
        assert stand_in.mistakes == []


# --- the key


def check(rig: StandInRig, key: str = "", live: bool = False) -> object:
    access = replace(rig.access, secret_key=key or rig.key, live=live)
    return StripeKind(rig.outgoing, rig.api_base).check(access)


def test_a_key_with_every_permission_is_reported_with_its_account(rig: StandInRig) -> None:
    report = check(rig)
    assert (report.external_id, report.live, list(report.missing)) == (rig.account.id, False, [])
    assert "GBP" in report.currencies and "EUR" in report.currencies and report.api_version == "2026-08-26.dahlia"


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ("POST /v1/payment_intents/{intent}/cancel", "PaymentIntents: Write"),
        ("GET /v1/payment_intents", "PaymentIntents: Read"),
        ("POST /v1/customers/{customer}", "Customers: Write"),
        ("POST /v1/payment_methods/{payment_method}/detach", "PaymentMethods: Write"),
        ("POST /v1/checkout/sessions/{session}/expire", "Checkout Sessions: Write"),
        ("POST /v1/refunds/{refund}", "Charges and Refunds: Write"),
        ("GET /v1/disputes", "Disputes: Read"),
        ("GET /v1/events", "Events: Read"),
    ],
)
def test_a_missing_permission_is_named_and_nothing_is_changed(rig: StandInRig, operation: str, words: str) -> None:
    rig.account.refused.add(operation)
    assert list(check(rig).missing) == [words]
    assert rig.account.objects == {}


@pytest.mark.parametrize(
    ("key", "live", "words"),
    [
        ("rk_test_acorn", True, "test mode"),
        ("rk_live_acorn", False, "live mode"),
        ("sk_live_acorn", False, "live mode"),
        ("sk_test_acorn", False, "restricted key"),
        ("sk_live_acorn", True, "restricted key"),
        ("pk_test_acorn", False, "restricted key"),
        ("hello", False, "restricted key"),
        ("rk_test_unknown", False, "does not accept"),
    ],
)
def test_a_wrong_key_is_refused_in_words(rig: StandInRig, key: str, live: bool, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        check(rig, key, live)
    assert words in refused.value.fields["secret_key"]
    assert key in ("rk_test_unknown",) or not rig.stand_in.calls  # a key of the other mode is never sent


def test_a_check_without_an_answer_says_so(rig: StandInRig) -> None:
    rig.stand_in.on_next("GET", "/account", "drop")
    with pytest.raises(Unavailable):
        check(rig)
    rig.stand_in.on_next("GET", "/refunds", "drop")
    with pytest.raises(Unavailable):
        check(rig)


def test_the_sdk_is_imported_when_an_account_is_opened() -> None:
    script = (
        "import sys, wsgi, gateways.stripe; from core.outgoing import Outgoing; from core.settings import Settings\n"
        "from billing.charging.ports import AccountAccess\n"
        "kind = gateways.stripe.StripeKind(Outgoing(Settings()))\n"
        "assert 'stripe' not in sys.modules\n"
        "kind.open(AccountAccess('pac_1', 'bus_1', False, 'rk_test_1')); assert 'stripe' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)


def test_secrets_are_not_shown() -> None:
    access = AccountAccess("pac_1", "bus_1", False, "rk_test_secret", "whsec_secret")
    gateway = StripeKind(Outgoing(Settings())).open(access)
    assert "secret" not in repr(access) and "secret" not in repr(gateway)


def test_no_request_tells_stripe_about_this_machine(rig: StandInRig) -> None:
    rig.customer()
    sent = [request.headers for request in rig.outgoing.requests]
    assert len(sent) == 2 and {headers["stripe-version"] for headers in sent} == {"2026-08-26.dahlia"}
    assert not any("x-stripe-client-user-agent" in headers or "x-stripe-client-telemetry" in headers for headers in sent)


# --- amounts and declines


@pytest.mark.parametrize(
    ("minor", "currency", "theirs"),
    [(5400, "GBP", 5400), (500, "JPY", 500), (1500, "ISK", 150000), (1500, "UGX", 150000), (1230, "KWD", 1230), (17500, "HUF", 17500),
     (9, "TND", None), (1235, "BHD", None)],
)  # fmt: skip
def test_amounts_are_converted_to_stripes_units_and_back(minor: int, currency: str, theirs: int | None) -> None:
    if theirs is None:
        with pytest.raises(Invalid):
            to_stripe(Money(minor, currency))
        return
    assert to_stripe(Money(minor, currency)) == theirs and from_stripe(theirs, currency.lower()) == Money(minor, currency)


def test_a_part_of_a_krona_is_no_amount() -> None:
    with pytest.raises(ValueError, match="no whole amount"):
        from_stripe(150050, "isk")


def test_an_amount_below_the_minimum_is_declined_without_a_call(rig: StandInRig) -> None:
    request = charge_of(rig, minor=29)
    before = len(rig.stand_in.calls)
    assert rig.gateway.charge(request).error_code == "PROCESSING_ERROR" and len(rig.stand_in.calls) == before
    with pytest.raises(Invalid):
        page_of(rig, minor=29)
    assert is_too_small(Money(29, "GBP")) and not is_too_small(Money(30, "GBP")) and not is_too_small(Money(1, "ZMW"))
    assert all(code == code.upper() and number > 0 for code, number in MINIMUM.items())


def test_every_decline_code_is_one_of_the_api_and_has_a_sentence() -> None:
    assert set(CODES.values()) <= OURS and code_of("never heard of", None) == "GENERIC_DECLINE"
    assert all(re.fullmatch(r"[A-Z].*\.", sentence_of(code)) for code in OURS)
    assert sentence_of("STOLEN_CARD") == sentence_of("GENERIC_DECLINE")  # a thief learns nothing


@pytest.mark.parametrize("card", [card for card in CARDS if "hargeDeclined" in card.token], ids=lambda card: card.token)
def test_each_published_declining_card_gets_its_code(rig: StandInRig, card: object) -> None:
    made = rig.sdk.payment_methods.create({"type": "card", "card": {"token": card.token}}).id
    answer = rig.gateway.charge(charge_of(rig, method_reference=made))
    assert answer.state == "declined" and answer.error_code == CODES[card.behavior] and rig.movements() == []


# --- methods, bank debits, refunds and disputes


def test_methods_beyond_cards_are_described() -> None:
    debit = {"id": "pm_1", "type": "sepa_debit", "billing_details": {"name": "Ada"}, "sepa_debit": {"last4": "3201", "country": "AT",
             "fingerprint": "f1"}}  # fmt: skip
    found = methods.details_of(debit, "mandate_1")
    assert (found.kind, found.last4, found.country, found.mandate, found.fingerprint, found.recurring) == (
        "sepa_debit", "3201", "AT", "mandate_1", "f1", True)  # fmt: skip
    link = methods.details_of({"id": "pm_2", "type": "link", "link": {"email": "ada@marlow.example"}})
    assert (link.display, link.last4, link.recurring) == ("ada@marlow.example", None, True)
    wallet = methods.details_of({"id": "pm_3", "type": "card", "card": {"brand": "visa", "last4": "4242", "wallet": {"type": "apple_pay"}}})
    assert (wallet.brand, wallet.wallet) == ("visa", "apple_pay")
    bank = methods.details_of({"id": "pm_4", "type": "us_bank_account", "us_bank_account": {"bank_name": "First", "last4": "6789"}})
    assert (bank.brand, bank.last4) == ("First", "6789")
    assert not methods.details_of({"id": "pm_5", "type": "ideal", "ideal": {"bank": "ing"}}).recurring
    paid = {"type": "ideal", "ideal": {"bank": "ing", "generated_sepa_debit": "pm_6", "generated_sepa_debit_mandate": "mandate_6"}}
    assert methods.generated_method(paid) == "pm_6" and methods.mandate_of(paid) == "mandate_6"


def test_a_bank_debit_waits_for_days_and_then_succeeds_or_fails(rig: StandInRig) -> None:
    for key, failed in (("paid", False), ("refused", True)):
        waiting = rig.gateway.charge(charge_of(rig, key, "slow"))
        assert (waiting.state, waiting.working_days) == ("processing", 5)
        assert rig.gateway.cancel(rig.trace(key)).state == "processing"  # the bank has it already
        rig.stand_in.finish_debit(waiting.reference, failed=failed)
    paid, refused = rig.gateway.look_up(rig.trace("paid")), rig.gateway.look_up(rig.trace("refused"))
    assert (paid.state, paid.method.kind, paid.method.mandate is not None) == ("succeeded", "sepa_debit", True)
    assert (refused.state, refused.error_code) == ("declined", "INSUFFICIENT_FUNDS")
    assert [key for _, key, _ in rig.movements()] == ["paid"]


def test_a_refund_that_fails_days_later_is_declined(rig: StandInRig) -> None:
    rig.gateway.charge(charge_of(rig, "paid"))
    made = rig.gateway.refund(refund_of(rig))
    assert made.state == "succeeded"
    rig.stand_in.finish_refund(made.reference, failed=True)
    later = rig.gateway.look_up(refund_trace(rig))
    assert (later.state, later.error_code, later.reference) == ("declined", "PROCESSING_ERROR", made.reference)


def test_a_pending_refund_is_processing(rig: StandInRig) -> None:
    card = rig.sdk.payment_methods.create({"type": "card", "card": {"token": "tok_pendingRefund"}}).id
    rig.gateway.charge(charge_of(rig, "paid", method_reference=card))
    made = rig.gateway.refund(refund_of(rig))
    assert made.state == "processing" == rig.gateway.refund(refund_of(rig)).state
    assert rig.gateway.cancel(refund_trace(rig)).state == "processing"
    rig.stand_in.finish_refund(made.reference, failed=False)
    assert rig.gateway.refund(refund_of(rig)).state == "succeeded"


def test_a_challenge_without_a_page_to_return_to_is_declined(rig: StandInRig) -> None:
    """The customer is there, but could only answer inside Stripe's own script."""
    answer = rig.gateway.charge(charge_of(rig, kind="challenge", off_session=False))
    assert (answer.state, answer.error_code) == ("declined", "AUTHENTICATION_REQUIRED")
    assert rig.gateway.look_up(rig.trace("charge-1")) == answer


def test_a_charge_of_a_changed_page_address_is_the_same_charge(rig: StandInRig) -> None:
    request = charge_of(rig, off_session=False, return_url="https://acorn.example/a")
    rig.lose_answer("charge")
    assert rig.gateway.charge(request).state == "unknown"
    assert rig.gateway.charge(replace(request, return_url="https://acorn.example/b")).state == "succeeded"
    assert len(rig.movements()) == 1


# --- webhooks


def test_each_event_becomes_a_hint_about_the_right_noun(rig: StandInRig) -> None:
    paid = rig.gateway.charge(charge_of(rig, "paid"))
    rig.gateway.refund(refund_of(rig, minor=100))
    made = rig.sdk.refunds.create({"payment_intent": paid.reference, "amount": 200})  # in Stripe's own dashboard
    dispute = rig.stand_in.open_dispute(paid.reference)
    _, reference, _ = page_of(rig)
    rig.fill_in(reference)
    rig.gateway.forget(rig.method())
    rig.deliver()
    heard = [rig.gateway.read_notification(*each) for each in rig.heard]
    hints = [(hint.raw["type"], hint.noun, hint.reference, hint.key) for hint in heard]
    key, page, refund = rig.operation("paid"), rig.operation("page-1"), rig.operation("refund-1")
    for expected in (
        ("payment_intent.succeeded", "charge", paid.reference, key),
        ("charge.refunded", "charge", paid.reference, key),
        ("refund.created", "refund", made.id, None),
        ("charge.dispute.created", "dispute", dispute, None),
        ("checkout.session.completed", "collect", reference, page),
    ):
        assert expected in hints
    assert refund in {key for kind, noun, _, key in hints if noun == "refund"}
    assert {noun for kind, noun, *_ in hints if kind.startswith("payment_method.")} == {"method"}
    assert {noun for kind, noun, *_ in hints if kind.startswith("customer.")} == {"account"}
    assert {noun for kind, noun, _, key in hints if key == page} == {"collect"}
    assert len({hint.id for hint in heard}) == len(heard)


def test_a_notification_is_believed_only_with_the_secret_of_its_account(rig: StandInRig) -> None:
    rig.gateway.charge(charge_of(rig))
    rig.deliver()
    headers, body = rig.heard[-1]
    assert rig.gateway.read_notification(headers, body).noun in ("charge", "account")
    other = StripeKind(rig.outgoing, rig.api_base).open(replace(rig.access, id="pac_birch", webhook_secret="whsec_birch"))
    none = StripeKind(rig.outgoing, rig.api_base).open(replace(rig.access, webhook_secret=""))
    live = StripeKind(rig.outgoing, rig.api_base).open(replace(rig.access, live=True))
    for gateway in (other, none, live):
        with pytest.raises(Unauthorized):
            gateway.read_notification(headers, body)
    with time_machine.travel(wall() + timedelta(seconds=301)), pytest.raises(Unauthorized):
        rig.gateway.read_notification(headers, body)


@pytest.mark.parametrize("event", [{}, {"id": "evt_1"}, {"id": "evt_1", "type": "x", "data": {}, "livemode": False}, [], "text"])
def test_a_signed_notification_of_another_shape_is_refused(rig: StandInRig, event: object) -> None:
    with pytest.raises(Unauthorized):
        rig.gateway.read_notification(*sign(rig.account, json.dumps(event).encode()))


def test_an_unknown_event_is_about_the_account(rig: StandInRig) -> None:
    event = {"id": "evt_1", "type": "balance.available", "livemode": False, "data": {"object": {"object": "balance"}}}
    hint = rig.gateway.read_notification(*sign(rig.account, json.dumps(event).encode()))
    assert (hint.noun, hint.reference, hint.key) == ("account", None, None)


# --- the stand-in itself


def test_a_call_that_the_document_does_not_have_is_an_error(rig: StandInRig) -> None:
    api = rig.gateway._api
    with pytest.raises(Refusal, match="Additional properties"):
        api.call(api.v1.customers.create, {"nickname": "Ada"})
    with pytest.raises(Refusal, match="Unrecognized request URL"):
        api.call(api.v1.payouts.list, {"limit": 1})
    assert len(rig.stand_in.mistakes) == 2
    rig.stand_in.mistakes.clear()


def test_two_accounts_at_stripe_share_nothing(rig: StandInRig, tmp_path: Path) -> None:
    birch = StandInRig(tmp_path, rig.stand_in)
    request = charge_of(rig)
    outcome = rig.gateway.charge(request)
    assert birch.gateway.charge(replace(request, customer_reference=birch.customer())).error_code == "MANDATE_INVALID"
    assert birch.gateway.look_up(replace(rig.trace("charge-1"), reference=outcome.reference)).state == "unknown"
    assert birch.movements() == [] and len(rig.movements()) == 1
