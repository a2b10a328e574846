"""VIES decides about VAT IDs: valid, invalid, unavailable. The checks run in the worker, and the proof is kept with the invoice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import undefer

from billing.customers import tax_settings
from billing.customers.customers import update_customer
from billing.model.invoices import Invoice
from billing.model.parties import Customer
from billing.model.payments import Payment
from billing.model.tax_id_checks import TaxIdCheck
from billing.renewals import renew
from billing.subscriptions.billing_details import correct_invoice, edit_billing
from billing.subscriptions.subscribe import buy
from core import clock
from core.outbox import Event
from core.scope import everything
from tests.cast import Cast
from tests.stories.ada_subscription import Ada, wait
from tests.stories.invoice_documents import business
from tests.vies_stand_in import Vies, vies
from tests.visitor import Visitor

GERMAN, AUSTRIAN = "DE136695976", "ATU13585627"


@pytest.fixture
def service(cast: Cast) -> Iterator[Vies]:
    """VIES knows the business's own ID, and nobody else's yet."""
    before = cast.services.settings, cast.services.outgoing.settings
    with vies() as found:
        found.registered[GERMAN] = "Acorn Notes GmbH"
        cast.services.settings = replace(before[0], vies_url=found.url, outgoing_loopback=True)
        cast.services.outgoing.settings = cast.services.settings
        yield found
    cast.services.settings, cast.services.outgoing.settings = before


@pytest.fixture
def ada(cast: Cast, service: Vies) -> Ada:
    ada = Ada(cast)
    business(ada, address={"street": "Lindenallee 9", "city": "Leipzig", "country": "DE"}, tax_id=GERMAN, tax_setup={})
    for scheme in ("local", "oss"):
        ada.do(tax_settings.save_registration, {"scheme": scheme, "country": "DE", "number": GERMAN}, scope=ada.business)
    return ada


def company(ada: Ada, tax_id: str | None = AUSTRIAN) -> None:
    details = {"name": "Ada Marlow", "street": "Ring 1", "city": "Wien", "state": None, "zipcode": "1010", "country": "AT"}
    with ada.services.database.open(ada.scope, write=True) as db:
        edit_billing(db, ada.buyer.subscription_id, **details, business_name="Marlow Studio" if tax_id else None, tax_id=tax_id)


def check(ada: Ada) -> TaxIdCheck:
    with ada.services.database.open(ada.business) as db:
        return db.scalar(select(TaxIdCheck))


def ask(ada: Ada) -> None:
    """Let the lane of the worker ask VIES."""
    lanes = next(item for item in ada.services.worker.lanes if item.name == "VAT ID checks")
    lanes.drain()


def due_now(ada: Ada) -> None:
    with ada.services.database.open(everything("a check is due"), write=True) as db:
        db.execute(update(TaxIdCheck).values(due_at=clock.wall()), execution_options={"synchronize_session": False})


def renewed(ada: Ada) -> tuple[Payment, dict[str, Any]]:
    wait(days=32)
    renew.run_due(ada.processor)
    payment = ada.payments("renewal")[-1]
    return payment, evidence(ada, payment)


def evidence(ada: Ada, payment: Payment) -> dict[str, Any]:
    with ada.services.database.open(ada.business) as db:
        return db.scalar(select(Invoice).options(undefer(Invoice.tax_evidence)).where(Invoice.id == payment.invoice_id)).tax_evidence


def test_a_valid_id_is_proved_on_the_invoice(ada: Ada, service: Vies) -> None:
    service.registered[AUSTRIAN] = "Marlow Studio GmbH"
    company(ada)
    assert (check(ada).status, service.asked) == ("waiting", []), "the request only queues the check"
    ask(ada)
    assert service.asked == [
        {"countryCode": "AT", "vatNumber": "U13585627", "requesterMemberStateCode": "DE", "requesterNumber": "136695976"}
    ]
    found = check(ada)
    assert (found.status, found.consultation, found.name) == ("valid", "WAPI000001", "Marlow Studio GmbH")
    payment, proof = renewed(ada)
    assert (payment.amount_minor, payment.tax_minor, proof["cases"]) == (2417, 0, ["reverse_charge"])
    assert proof["vat_id"] == {
        "number": AUSTRIAN, "status": "valid", "checked_at": found.checked_at.isoformat(), "consultation": "WAPI000001",
        "name": "Marlow Studio GmbH",
    }  # fmt: skip


def test_an_invalid_id_is_charged_like_a_consumer_and_told(ada: Ada, service: Vies, visitor: Callable[..., Visitor]) -> None:
    company(ada)
    ask(ada)
    assert check(ada).status == "invalid"
    them = visitor()
    them.sign_in(ada.cast.ADA)
    page = them.get(f"/subscriptions/{ada.buyer.subscription_id}").text
    assert "not valid in VIES, so tax is charged" in page and "€29.00" in page, "20 % of 24.17 are 4.83"
    assert "Your VAT ID is not valid." in them.get(f"/subscriptions/{ada.buyer.subscription_id}/billing-details").text
    payment, proof = renewed(ada)
    assert (payment.amount_minor, payment.tax_minor) == (2900, 483)
    assert (proof["cases"], proof["vat_id"]["status"], proof["registration"]) == (["oss"], "invalid", GERMAN)
    with ada.services.database.open(ada.business) as db:
        assert db.scalar(select(Event).where(Event.type == "customer.tax_id_invalid")).data["number"] == AUSTRIAN

    with ada.services.database.open(ada.scope, write=True) as db:  # the address of that invoice can still be corrected
        correct_invoice(db, str(payment.invoice_id), {"name": "Ada Marlow", "street": "Ring 2", "city": "Wien", "country": "AT",
                                                      "business_name": "Marlow Studio", "tax_id": AUSTRIAN})  # fmt: skip

    service.registered[AUSTRIAN] = "Marlow Studio GmbH"  # registered meanwhile
    due_now(ada)
    ask(ada)
    payment, proof = renewed(ada)
    assert (payment.amount_minor, payment.tax_minor, proof["cases"]) == (2417, 0, ["reverse_charge"])


@pytest.mark.parametrize("outage", ["MS_UNAVAILABLE", b"<html>", b'{"valid": "yes"}', b'{"valid": false, "userError": "MS_UNAVAILABLE"}'])
def test_while_vies_is_away_the_form_of_the_number_counts(ada: Ada, service: Vies, outage: str | bytes) -> None:
    service.down = outage
    company(ada)
    ask(ada)
    found = check(ada)
    assert (found.status, found.attempts, found.checked_at) == ("unavailable", 1, None) and found.due_at > clock.wall()
    payment, proof = renewed(ada)
    assert (payment.tax_minor, proof["vat_id"]["status"]) == (0, "unavailable")
    service.down = None
    due_now(ada)
    ask(ada)
    assert check(ada).status == "invalid"
    assert renewed(ada)[0].tax_minor == 483


def test_an_outage_does_not_undo_an_answer(ada: Ada, service: Vies) -> None:
    company(ada)
    ask(ada)
    service.down = "SERVICE_UNAVAILABLE"
    due_now(ada)
    ask(ada)
    assert (check(ada).status, check(ada).error) == ("invalid", "SERVICE_UNAVAILABLE")
    assert renewed(ada)[0].tax_minor == 483


def test_without_a_known_requester_there_is_no_consultation_number(ada: Ada, service: Vies) -> None:
    service.registered = {AUSTRIAN: "Marlow Studio GmbH"}
    company(ada)
    ask(ada)
    assert (check(ada).status, check(ada).consultation, len(service.asked)) == ("valid", None, 2)


def test_a_purchase_with_an_id_that_is_known_to_be_invalid_is_taxed(ada: Ada, service: Vies) -> None:
    def bought() -> Payment:
        done = buy(
            ada.processor, ada.business, customer_id=ada.buyer.customer_id, cart=[(ada.cast.products["acorn.once"], 1)],
            payment_method_id=ada.buyer.method_id, billing={"country": "AT"}, tax_id=AUSTRIAN, business_name="Marlow Studio",
        )  # fmt: skip
        with ada.services.database.open(ada.business) as db:
            return db.scalar(select(Payment).where(Payment.id == done.payment_id))

    first = bought()
    assert (first.tax_minor, evidence(ada, first)["vat_id"]["status"]) == (0, "waiting")
    ask(ada)
    second = bought()
    assert (second.amount_minor, second.tax_minor, evidence(ada, second)["cases"]) == (5880, 980, ["oss"])


def test_a_changed_id_is_checked_and_a_removed_id_is_taxed(ada: Ada, service: Vies) -> None:
    company(ada)
    ask(ada)
    service.registered["ATU10223006"] = "Another GmbH"
    company(ada, "ATU10223006")
    ask(ada)
    assert renewed(ada)[0].tax_minor == 0
    company(ada, None)
    assert renewed(ada)[0].tax_minor == 483


def test_running_ids_are_checked_again_after_a_month_and_unused_ones_are_not(ada: Ada, service: Vies) -> None:
    service.registered[AUSTRIAN] = "Marlow Studio GmbH"
    with ada.services.database.open(ada.business, write=True) as db:
        customer = db.scalar(select(Customer).where(Customer.customer_id == ada.buyer.customer_id))
        customer.billing = {"country": "AT"}
        update_customer(db, customer, business_name="Marlow Studio", tax_id=AUSTRIAN)
    ask(ada)
    assert check(ada).due_at > clock.wall() + timedelta(days=29)
    with ada.services.database.open(ada.business, write=True) as db:
        update_customer(db, db.scalar(select(Customer).where(Customer.customer_id == ada.buyer.customer_id)), tax_id=None)
    due_now(ada)
    ask(ada)
    assert check(ada).due_at is None


def test_a_deployment_without_vies_says_so(ada: Ada, service: Vies) -> None:
    ada.services.settings = replace(ada.services.settings, vies_url="")
    company(ada)
    ask(ada)
    assert (check(ada).status, check(ada).due_at, service.asked) == ("not_checked", None, [])
    payment, proof = renewed(ada)
    assert (payment.tax_minor, proof["vat_id"]["status"]) == (0, "not_checked")
