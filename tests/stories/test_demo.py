"""The demo year follows the rules: sums agree, nothing is left open, and no email about the past is sent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseInstance
from billing.model.parties import Business, Customer, CustomerTotal
from billing.model.payments import Payment, PaymentMethod, Refund
from billing.model.subscriptions import Subscription
from core import clock
from core.formatting import money
from core.mail import EmailMessage
from core.mailbox import MailboxEmail
from core.outbox import Outbox, emit
from core.recurring_jobs import JobFailure
from core.scope import everything
from core.settings import Settings
from tenants.demo import fill
from tenants.demo.year import ADA
from tests.engines import Sqlite
from tests.stories.operators import PAGES, emailer, minutes_ago, sign_in, with_secret
from tests.visitor import Visitor


@pytest.fixture(scope="module")
def year(sqlite: Sqlite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Flask, Any]]:
    """An application with the demo year, and the demo's world."""
    from wsgi import create_app

    urls, drop = sqlite.fresh()
    app = create_app(Settings(data_dir=tmp_path_factory.mktemp("demo"), base_url="http://localhost", **urls))
    app.testing = False  # errors become pages, as in production
    with app.app_context():
        world = fill(app.extensions["portal"], progress=False)
    yield app, world
    app.extensions["portal"].database.dispose()
    drop()


def test_the_demo_year_adds_up(year: tuple[Flask, Any]) -> None:
    app, world = year
    services = app.extensions["portal"]
    assert clock.offset().total_seconds() == 0
    with services.database.open(everything("look at the demo")) as db:
        adas = select(Customer.customer_id).where(Customer.email_key == ADA.email)
        mine = list(db.scalars(select(Subscription).where(Subscription.customer_id.in_(adas))))
        states = Counter(item.status for item in mine)
        assert states["on_hold"] == 1 and states["cancelled"] == 2 and states["paused"] == 1
        assert sum(item.is_trial for item in mine) == 1
        assert sum(item.cancel_at_period_end and item.status == "active" for item in mine) == 1
        assert all(item.next_billing_at > clock.now() for item in mine if item.status == "active")

        assert not db.scalar(select(func.count(Payment.id)).where(Payment.is_open | Payment.unknown))
        taken = {
            currency: total
            for currency, total in db.execute(
                select(Payment.currency, func.sum(Payment.amount_minor)).where(Payment.status == "succeeded").group_by(Payment.currency)
            )
        }
        kept = {
            currency: total
            for currency, total in db.execute(
                select(CustomerTotal.currency, func.sum(CustomerTotal.paid_minor)).group_by(CustomerTotal.currency)
            )
        }
        assert taken == kept and set(taken) >= {"USD", "EUR", "GBP", "BRL", "SEK", "JPY"}
        booked = Counter(amount.currency for kind, _key, amount in services.gateway.movements() if kind != "refund")
        assert booked["EUR"] == db.scalar(
            select(func.count(Payment.id)).where(Payment.status == "succeeded", Payment.currency == "EUR", Payment.amount_minor > 0)
        )
        assert [invoice.due_minor for invoice in db.scalars(select(Invoice).where(Invoice.status == "open"))] == [5400]
        assert sorted(db.scalars(select(Refund.is_partial).where(Refund.status == "succeeded"))) == [False, True, True]
        assert db.scalar(select(func.count(LicenseInstance.id))) == 4

        cards = [(payment_method.expiry_year, payment_method.expiry_month) for payment_method in db.scalars(select(PaymentMethod))]
        assert sum(card < (2029, 1) for card in cards) == 1
        assert db.scalars(select(Business.name).where(Business.archived_at.is_not(None))).all() == ["Orbit Tools"]
        pending_acceptance = db.scalars(
            select(Customer.business_id).where(Customer.first_paid_at.is_(None), Customer.email_key == ADA.email)
        ).all()
        assert pending_acceptance == [world.businesses["zephyr"]]

        assert not db.scalar(select(func.count(Outbox.id)).where(Outbox.state != "done"))
    services.worker.drain()
    with services.database.open(everything("look at the demo")) as db:
        about = list(db.scalars(select(MailboxEmail.subject)))
    # the past sends no emails; the subscription on hold, the trial that ends soon and a renewal of the year may get their reminders today
    assert len(about) <= 3 and all("Acorn Team" in item or "trial" in item or "renews soon" in item for item in about), about

    ada = Visitor(app)
    dashboard = ada.sign_in(ADA.email)
    for name in ("Acorn Team", "Birch Medium", "Off-peak", "Clube do café", "Zephyr Deals"):
        assert name in dashboard.text


def test_no_customer_is_on_any_page_of_an_operator(year: tuple[Flask, Any]) -> None:
    """On demo data, with failures whose messages contain addresses, names and amounts."""
    app, services = year[0], year[0].extensions["portal"]
    with_secret(services)
    operator = sign_in(app)
    with services.database.open(everything("what no operator sees"), write=True) as db:
        # of all her rows, one that has paid: a business may hold her address without any payment
        payment = db.scalars(
            select(Payment)
            .join(Customer, Customer.customer_id == Payment.customer_id)
            .where(Customer.email_key == ADA.email)
            .order_by(Payment.created_at, Payment.id)
        ).first()
        assert payment is not None
        ada = db.scalars(select(Customer).where(Customer.customer_id == payment.customer_id)).one()
        people = {value for row in db.execute(select(Customer.email, Customer.email_key, Customer.name)) for value in row}
        amounts = {
            (minor, currency)
            for table in (Payment.amount_minor, Invoice.total_minor)
            for minor, currency in db.execute(select(table, table.class_.currency))
        }
        problem = f"ValueError: {ada.name} <{ada.email}> owes {money(payment.amount_minor, payment.currency)}"
        db.add(
            JobFailure(
                business_id=ada.business_id,
                id="dun:sub_1",
                job="dun",
                row_id="sub_1",
                failures=2,
                retry_at=minutes_ago(-60),
                error=problem,
                began_at=minutes_ago(2),
                failed_at=minutes_ago(1),
            )
        )
        db.add(
            ReconciliationException(
                business_id=ada.business_id,
                id=payment.id,
                noun="payment",
                reason="amount_differs",
                noted_at=clock.wall(),
                theirs_minor=payment.amount_minor + 1,
                theirs_currency=payment.currency,
            )
        )
        for number, state in enumerate(("given_up", "pending", "set_aside")):
            id = emit(
                db,
                "subscription.paused",
                business_id=ada.business_id,
                customer_id=ada.customer_id,
                data={"address": ada.email, "amount": payment.amount_minor},
            )
            db.flush()
            row = db.get(Outbox, id)
            assert row is not None
            name = f"{emailer(services, row.type)}: " if number else ""
            row.state, row.attempts, row.due_at, row.error = state, 3, minutes_ago(-60), name + problem
    private = {identity for identity in people if identity} | {money(minor, currency) for minor, currency in amounts}
    private |= {word for identity in people if identity and " " in identity for word in identity.split() if len(word) > 3}
    assert len(private) > 30 and ada.name in private and ada.email in private
    services.mailer.send(EmailMessage(ada.email, "Your payment failed", f"Dear {ada.name}"), "evt_1:payment_failed")
    operator.get("/operator/emails")
    found = operator.submit("emails", address=ada.email)
    assert "evt_1" in found.text and "Kept in the test mailbox" in found.text
    with services.database.open(everything("all failed work")) as db:
        ids = db.scalars(select(Outbox.id).where(Outbox.attempts > 0)).all()
    assert len(ids) == 3
    pages = [found, *(operator.get(path) for path in (*PAGES, *(f"/operator/work/{item}" for item in ids)))]
    assert sum("ValueError" in page.text for page in pages) >= 5
    for page in pages:
        body = page.body.decode()
        assert not [item for item in private if re.search(rf"\b{re.escape(item)}\b", body)] and not re.search(r"[€£$]\s?\d", body)


def test_the_demo_runs_once_and_not_in_live_mode(app: Any, services: Any) -> None:
    from dataclasses import replace

    from billing.customers.businesses import create_business

    with services.database.open(everything("one business"), write=True) as db:
        create_business(db, name="Acorn Notes", currency="EUR")
    runner = app.test_cli_runner()
    assert "skipped" in runner.invoke(args=["demo", "--if-empty"]).output
    services.settings = replace(services.settings, mode="live")
    answer = runner.invoke(args=["demo"])
    assert answer.exit_code == 1 and "PORTAL_MODE is live" in answer.output
