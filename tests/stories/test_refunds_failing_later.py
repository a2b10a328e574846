"""Refunds that end days after they were made, and refunds made in the processor's own dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.charging.refund import refund
from billing.charging.resolve_exception import close_manually
from billing.history import staff_lists
from billing.model.invoices import Invoice, InvoiceLine
from billing.model.licenses import LicenseKey
from billing.model.parties import CustomerTotal, SpendMonth
from billing.model.payments import Payment, Refund
from core import clock
from core.errors import Conflict
from core.scope import everything, system
from core.settings import Settings
from gateways.sandbox import returns
from tests.harness.stripe_site import StripeSite, start
from tests.harness.stripe_standin import running
from tests.stories.business_and_buyer import Site


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


@pytest.fixture
def stripe(settings: Settings) -> Iterator[StripeSite]:
    with running() as stand_in:
        services = start(replace(settings, outgoing_loopback=True), stand_in)
        yield StripeSite.open(services).connect()
        assert stand_in.mistakes == []
        services.database.dispose()


def refunded(site: Site, payment_id: str, **more: Any) -> Refund:
    return refund(site.processor, system(site.business_id), payment_id, **more)


def books(site: Site) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """Return what counts as refunded: of payments, invoices, lines, customers' totals, and months."""
    lines = sorted(site.rows(InvoiceLine), key=lambda row: row.position)
    return (
        [row.refunded_minor for row in site.rows(Payment)],
        [row.refunded_minor for row in site.rows(Invoice)],
        [row.refunded_minor for row in lines],
        [row.refunded_minor for row in site.rows(CustomerTotal)],
        sorted(row.refunded_minor for row in site.rows(SpendMonth)),
    )


def reference_of(site: Site, payment_id: str) -> str:
    return str(site.rows(Payment, id=payment_id)[0].gateway_reference)


def sandbox_refund(site: Site, made: Refund) -> str:
    with site.gateway.store.read() as c:
        return str(c.execute("SELECT reference FROM operations WHERE key = ?", (made.key,)).fetchone()["reference"])


def told(site: Site) -> None:
    """The processor notifies, and the worker acts on it."""
    site.deliver() if isinstance(site, StripeSite) else site.gateway.deliver_due()
    site.work()


def test_a_refund_fails_after_five_days(site: Site) -> None:
    """Everything that its success recorded is undone, staff and the customer hear of it, and it can be made again."""
    bought = site.buy(licence=True)
    made = refunded(site, bought.payment_id)
    told(site)
    [key] = site.rows(LicenseKey)
    assert key.status == "disabled" and books(site) == ([2900], [2900], [2900], [2900], [2900])
    clock.turn(timedelta(days=5))
    site.gateway.on_page(returns.fail_refund, sandbox_refund(site, made))
    for _ in range(2):
        told(site)
    [failed] = site.rows(Refund)
    assert (failed.status, failed.number, failed.failed_at is not None) == ("failed", made.number, True)
    assert books(site) == ([0], [0], [0], [0], [0])
    [key] = site.rows(LicenseKey)
    assert (key.status, key.revoked_at) == ("active", None)
    [entry] = site.rows(ReconciliationException)
    assert (entry.id, entry.reason, entry.closed_at) == (failed.id, "refund_failed", None)
    assert site.events().count("refund.failed") == 1
    again = refunded(site, bought.payment_id)
    assert (again.status, again.number != made.number) == ("succeeded", True)
    assert books(site) == ([2900], [2900], [2900], [2900], [2900])
    with site.database.open(system(site.business_id), write=True) as db:
        close_manually(db, failed.id, "Paid again to the card.")
    site.balanced()


def test_of_two_refunds_only_the_failed_one_is_undone(site: Site) -> None:
    bought = site.buy(quantity=2)
    first, _second = refunded(site, bought.payment_id, amount_minor=1000), refunded(site, bought.payment_id, amount_minor=700)
    clock.turn(timedelta(days=40))  # another month
    site.gateway.on_page(returns.fail_refund, sandbox_refund(site, first))
    told(site)
    assert books(site) == ([700], [700], [700], [700], [700])
    with pytest.raises(Conflict):
        refunded(site, bought.payment_id, amount_minor=5101)
    site.balanced()


def test_a_key_that_the_business_disabled_stays_disabled(site: Site) -> None:
    bought = site.buy(licence=True)
    with site.database.open(system(site.business_id), write=True) as db:
        key = db.scalar(select(LicenseKey))
        key.status, key.disabled_by_business_at = "disabled", clock.now()
    made = refunded(site, bought.payment_id)
    site.gateway.on_page(returns.fail_refund, sandbox_refund(site, made))
    told(site)
    [key] = site.rows(LicenseKey)
    assert (key.status, key.revoked_at) == ("disabled", None)


def test_a_refund_made_at_the_processor_is_recorded_once(site: Site) -> None:
    bought = site.buy()
    reference = reference_of(site, bought.payment_id)
    made = site.gateway.on_page(returns.refund, reference, 900)
    site.gateway.turn_knob("repeat", 3)
    for _ in range(2):
        told(site)
    [row] = site.rows(Refund)
    assert (row.status, row.amount_minor, row.author["type"], bool(row.number)) == ("succeeded", 900, "processor", True)
    assert books(site) == ([900], [900], [900], [900], [900]) and row.snapshot["total_minor"] == 900
    with pytest.raises(Conflict):
        refunded(site, bought.payment_id, amount_minor=2001)
    assert refunded(site, bought.payment_id).amount_minor == 2000
    site.gateway.on_page(returns.fail_refund, made)
    told(site)
    assert books(site)[0] == [2000] and {row.status for row in site.rows(Refund, amount_minor=900)} == {"failed"}
    assert len([kind for kind, _, _ in site.gateway.movements() if kind == "refund"]) == 1


def test_what_cannot_be_matched_is_shown_to_staff(site: Site) -> None:
    """More was refunded at the processor than this ledger has left; and a payment that a restored backup lost."""
    bought, lost = site.buy(), site.buy()
    site.gateway.on_page(returns.refund, reference_of(site, bought.payment_id), 900)
    site.gateway.on_page(returns.refund, reference_of(site, lost.payment_id), 100)
    with site.database.open(everything("a backup was restored"), write=True) as db:
        db.scalar(select(Payment).where(Payment.id == bought.payment_id)).refunded_minor = 2100
        gone = db.scalar(select(Payment).where(Payment.id == lost.payment_id))
        gone.key, gone.gateway_reference = "test/other", "sbx_other"
    told(site)
    reasons = {row.reason: row for row in site.rows(ReconciliationException)}
    assert set(reasons) == {"refund_exceeds", "unknown_payment"} and site.rows(Refund) == []
    assert reasons["unknown_payment"].theirs_minor == 100
    with site.database.open(system(site.business_id)) as db:
        assert len(staff_lists.waiting(db)) == 2
    with site.database.open(system(site.business_id), write=True) as db:
        for row in reasons.values():
            close_manually(db, row.id, "Looked at it.")


def test_at_stripe_a_refund_ends_later_or_fails_and_the_dashboard_counts(stripe: StripeSite) -> None:
    """A refund waits for days and succeeds; one fails after it had succeeded; one is made in the dashboard."""
    bank = stripe.gateway.stand_in
    bought = stripe.buy()
    intent = reference_of(stripe, bought.payment_id)
    made = refunded(stripe, bought.payment_id, amount_minor=1000)
    told(stripe)
    [found] = bank.account_of(intent).every("refund")
    bank.finish_refund(found["id"], failed=True)
    told(stripe)
    assert {row.id: row.status for row in stripe.rows(Refund)} == {made.id: "failed"} and books(stripe)[0] == [0]
    bank.refund(intent, 400)
    told(stripe)
    own = next(row for row in stripe.rows(Refund) if row.id != made.id)
    assert (own.status, own.amount_minor, own.author["type"]) == ("succeeded", 400, "processor")
    assert books(stripe) == ([400], [400], [400], [400], [400])


def test_a_refund_that_waits_stays_pending_until_the_bank_has_it(stripe: StripeSite) -> None:
    bank = stripe.gateway.stand_in
    bought = stripe.buy()
    intent = reference_of(stripe, bought.payment_id)
    account = bank.account_of(intent)
    charge = account.objects[account.objects[intent]["latest_charge"]]
    account.private[charge["payment_method"]]["behavior"] = "refund_pending"
    made = refunded(stripe, bought.payment_id)
    told(stripe)
    assert made.status == "pending" and books(stripe)[0] == [0]
    [found] = account.every("refund")
    bank.finish_refund(found["id"], failed=False)
    told(stripe)
    assert [row.status for row in stripe.rows(Refund)] == ["succeeded"] and books(stripe)[0] == [2900]
