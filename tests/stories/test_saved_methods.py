"""What is saved of a payment method at Stripe: debits with their mandate, cards entered again, and cards that the bank renewed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging.method_details import method_label, method_snapshot
from billing.charging.ports import ChargeOutcome
from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.model.payments import Payment, PaymentMethod
from billing.renewals import payment_methods
from billing.subscriptions.subscribe import buy
from core.money import Money
from core.outbox import Event
from core.scope import everything, system
from core.settings import Settings
from tests.conftest import on_sqlite
from tests.harness.stripe_site import KEY, StripeSite, start
from tests.harness.stripe_standin import running
from tests.harness.stripe_standin.methods import renew

pytestmark = on_sqlite


@pytest.fixture
def site(settings: Settings) -> Iterator[StripeSite]:
    with running() as stand_in:
        services = start(replace(settings, outgoing_loopback=True), stand_in)
        yield StripeSite.open(services).connect()
        assert stand_in.mistakes == []
        services.database.dispose()


def add(site: StripeSite, customer_id: str = "", **form: str) -> Payment:
    """Save a method on Stripe's page. Returns the payment of nothing that belongs to the page."""
    owner = customer_id or site.customer_id
    page = payment_methods.add_method(site.processor, system(site.business_id), owner, "http://localhost/back")
    [opened] = site.rows(Payment, id=page.payment_id)
    typed = form or {"number": "4242424242424242", "expiry": "12/34", "name": "Ada Marlow", "country": "GB"}
    site.gateway.stand_in.submit_page(opened.gateway_reference, **typed)
    site.processor.check(site.business_id, opened.id)
    [saved] = site.rows(Payment, id=opened.id)
    assert saved.status == "succeeded"
    return saved  # type: ignore[no-any-return]


def saved(site: StripeSite, **where: Any) -> list[PaymentMethod]:
    return sorted(site.rows(PaymentMethod, **where), key=lambda row: row.created_at)


def events(site: StripeSite, type: str) -> list[Event]:
    with site.database.open(everything("a test looks")) as db:
        return list(db.scalars(select(Event).where(Event.business_id == site.business_id, Event.type == type)))


def test_a_debit_is_saved_with_its_mandate(site: StripeSite) -> None:
    add(site, iban="AT611904300234573201", name="Ada Marlow")
    [debit] = saved(site)
    assert (debit.kind, debit.brand, debit.last4, debit.bank_code) == ("sepa_debit", None, "3201", "19043")
    assert debit.mandate.startswith("mandate_") and debit.mandate_reference == "ACORN3201" and debit.mandate_at is not None
    assert method_label(method_snapshot(debit)) == "SEPA Direct Debit 3201"
    [event] = events(site, "payment_method.added")
    assert event.data == {"brand": "SEPA Direct Debit", "last4": "3201"}


def test_a_mandate_that_cannot_be_read_stops_nothing(site: StripeSite) -> None:
    site.gateway.account.refused.add("GET /v1/mandates/{mandate}")
    add(site, iban="AT611904300234573201", name="Ada Marlow")
    [debit] = saved(site)
    assert debit.mandate and debit.mandate_reference is None


def test_a_card_entered_again_is_one_row(site: StripeSite) -> None:
    """The row gets the new reference, and Stripe forgets the earlier one. Another customer with the same card has a row of their own."""
    add(site)
    [first] = saved(site)
    add(site, number="4242424242424242", expiry="06/40", name="Ada Marlow", country="GB")
    [again] = saved(site)
    assert again.id == first.id and again.reference != first.reference and (again.expiry_month, again.expiry_year) == (6, 2040)
    site.work()
    attached = {item["id"]: item["customer"] for item in site.gateway.account.every("payment_method")}
    assert attached[first.reference] is None and attached[again.reference]
    assert len(events(site, "payment_method.added_again")) == 1 and first.reference not in str(
        events(site, "payment_method.added_again")[0].data
    )
    add(site, number="5555555555554444", expiry="06/40", name="Ada Marlow", country="GB")
    ben = site.customer("ben@marlow.example")
    add(site, ben)
    assert [row.customer_id for row in saved(site)] == [site.customer_id, site.customer_id, ben]


def test_a_card_in_use_by_an_open_payment_is_not_merged(site: StripeSite) -> None:
    """A charge that is sent again must name the same reference, so the card gets a second row until the outcome is known."""
    add(site)
    [first] = saved(site)
    site.gateway.stand_in.on_next("POST", "/confirm", "drop before")
    product = site.product({"type": "one_time_price", "currency": "EUR", "price": 4900})
    waiting = buy(site.processor, system(site.business_id), customer_id=site.customer_id, cart=[(product, 1)], payment_method_id=first.id)
    assert waiting.status == "processing"
    add(site)
    assert len(saved(site)) == 2 and saved(site, id=first.id)[0].reference == first.reference
    site.overdue()
    site.work()
    assert site.rows(Payment, id=waiting.payment_id)[0].status == "succeeded" and len(site.gateway.movements()) == 1


def test_a_card_that_the_bank_renewed_is_updated(site: StripeSite) -> None:
    add(site)
    [card] = saved(site)
    site.gateway.stand_in.take_events(KEY)
    with site.gateway.stand_in.lock:
        renew(site.gateway.account, card.reference, 3, 2041)
    assert site.deliver() == 1
    site.work()
    [renewed] = saved(site)
    assert (renewed.id, renewed.expiry_month, renewed.expiry_year) == (card.id, 3, 2041)
    assert [event.noun_id for event in events(site, "payment_method.renewed")] == [card.id]


@pytest.mark.parametrize("change", [{"payment_account_id": "pac_other"}, {"wallet": "apple_pay"}, {"removed_at": True}, {"kind": "link"}])
def test_a_card_is_merged_only_with_the_same_one_at_the_same_account(site: StripeSite, change: dict[str, Any]) -> None:
    """The fingerprint is the same, but the row is of another account, is a wallet's, was removed, or is no card."""
    add(site)
    [first] = saved(site)
    with site.database.open(everything("another kind of row"), write=True) as db:
        row = db.scalars(select(PaymentMethod)).one()
        for name, value in change.items():
            setattr(row, name, row.created_at if value is True else value)
    add(site)
    assert len(saved(site)) == 2 and saved(site, id=first.id)[0].reference == first.reference
    assert events(site, "payment_method.added_again") == []


def test_a_reference_of_another_customer_is_not_attached_to_a_second_one(site: StripeSite) -> None:
    """The processor names Ben's card for a payment of Ada's. Ada's payment is recorded, and her list has no card of Ben's."""
    ben = site.customer("ben@marlow.example")
    add(site, ben)
    [card] = saved(site)
    page = payment_methods.add_method(site.processor, system(site.business_id), site.customer_id, "http://localhost/back")
    details = site.processor.gateway_of((site.business_id, card.payment_account_id)).describe(card.reference)
    [opened] = site.rows(Payment, id=page.payment_id)
    outcome = ChargeOutcome("succeeded", opened.key, opened.gateway_reference, Money(0, "EUR"), method=details)
    assert site.processor.record(site.business_id, opened.id, outcome) == "succeeded"
    [paid] = site.rows(Payment, id=page.payment_id)
    assert (paid.payment_method_id, paid.method["last4"], paid.is_open) == (None, "4242", False)
    assert [row.customer_id for row in saved(site)] == [ben] and site.rows(ReconciliationException) == []
