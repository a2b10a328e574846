"""Stripe's webhooks reach the payments of their own account: lost answers, bank debits that take days, and secrets of other accounts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging import notifications
from billing.model.payment_accounts import sandbox_account_id
from billing.model.payments import Payment, PaymentMethod
from billing.subscriptions.subscribe import buy
from core.errors import NotFound, Unauthorized
from core.scope import system
from core.settings import Settings
from tests.harness.stripe_site import KEY, StripeSite, start
from tests.harness.stripe_standin import running
from tests.harness.stripe_standin.methods import from_iban, keep


@pytest.fixture
def site(settings: Settings) -> Iterator[StripeSite]:
    with running() as stand_in:
        services = start(replace(settings, outgoing_loopback=True), stand_in)
        yield StripeSite.open(services).connect()
        assert stand_in.mistakes == []
        services.database.dispose()


def purchase(site: StripeSite, method: str) -> Payment:
    product = site.product({"type": "one_time_price", "currency": "EUR", "price": 4900})
    began = buy(site.processor, system(site.business_id), customer_id=site.customer_id, cart=[(product, 1)], payment_method_id=method)
    return payment(site, began.payment_id)


def payment(site: StripeSite, payment_id: str) -> Payment:
    return site.rows(Payment, id=payment_id)[0]  # type: ignore[no-any-return]


def test_a_webhook_settles_a_charge_whose_answer_was_lost(site: StripeSite) -> None:
    card = site.card()
    site.gateway.stand_in.on_next("POST", "/confirm", "drop")
    lost = purchase(site, card)
    assert lost.status == "processing" and lost.unknown
    assert site.deliver() > 0
    site.work()
    assert payment(site, lost.id).status == "succeeded" and site.deliver() == 0
    site.balanced()


def test_events_twice_and_in_any_order_change_nothing_more(site: StripeSite) -> None:
    paid = purchase(site, site.card())
    events = site.gateway.stand_in.take_events(KEY)
    for headers, body in [*reversed(events), *events]:
        notifications.receive(site.processor, "stripe", sandbox_account_id(site.business_id), headers, body)
    site.work()
    assert payment(site, paid.id).status == "succeeded" and len(site.gateway.movements()) == 1
    site.balanced()


def test_a_bank_debit_is_paid_when_the_bank_has_confirmed(site: StripeSite) -> None:
    waiting = purchase(site, debit(site))
    assert waiting.status == "processing" and site.gateway.movements() == []
    site.overdue()
    site.work()
    assert payment(site, waiting.id).status == "processing"
    site.gateway.stand_in.finish_debit(waiting.gateway_reference)
    site.deliver()
    site.work()
    assert payment(site, waiting.id).status == "succeeded"
    site.balanced()


def test_a_bank_debit_that_the_bank_refuses_is_failed(site: StripeSite) -> None:
    waiting = purchase(site, debit(site))
    site.gateway.stand_in.finish_debit(waiting.gateway_reference, failed=True)
    site.deliver()
    site.work()
    failed = payment(site, waiting.id)
    assert (failed.status, failed.error_code) == ("failed", "INSUFFICIENT_FUNDS") and site.gateway.movements() == []


def test_a_secret_of_another_account_is_refused(site: StripeSite) -> None:
    purchase(site, site.card())
    other = StripeSite.open(site.services)
    other.customer_id = other.customer("ben@marlow.example")
    headers, body = site.gateway.stand_in.take_events(KEY)[-1]
    for kind, account in (("stripe", "pac_never"), ("stripe", sandbox_account_id(other.business_id)), ("sandbox", "pac_never")):
        with pytest.raises(NotFound):
            notifications.receive(site.processor, kind, account, headers, body)
    with pytest.raises(Unauthorized):
        notifications.receive(site.processor, "stripe", sandbox_account_id(site.business_id), headers, body + b" ")


def debit(site: StripeSite) -> str:
    """Save a SEPA debit at the stand-in and here. Returns the payment method's id."""
    method, bank = site.card(), site.gateway
    with bank.stand_in.lock:
        customer = bank.account.every("customer")[0]["id"]
        kept = keep(bank.account, from_iban(bank.account, "AT611904300234573201", "Ada Marlow"), customer)
    with site.database.open(system(site.business_id), write=True) as db:
        row: Any = db.scalar(select(PaymentMethod).where(PaymentMethod.id == method))
        row.reference, row.kind, row.brand, row.last4 = kept["id"], "sepa_debit", None, "3201"
    return method
