"""The demo is a year that really happened, by the rules: sums agree, nothing is left open, and nobody gets a letter about the past."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import func, select

from billing.invoices import Invoice
from billing.licences import LicenseInstance
from billing.parties import Business, Customer, CustomerTotal
from billing.payments import Payment, PaymentMethod, Refund
from billing.subscriptions import Subscription
from core import clock
from core.mailbox import MailboxLetter
from core.outbox import Outbox
from core.scope import everything
from tenants.demo import fill
from tenants.demo.story import ADA
from tests.conftest import on_sqlite
from tests.visitor import Visitor


@on_sqlite
def test_a_year(app: Any, house: Any) -> None:
    with app.app_context():
        world = fill(house, progress=False)
    assert clock.offset().total_seconds() == 0
    with house.database.open(everything("look at the demo")) as db:
        adas = select(Customer.customer_id).where(Customer.email_key == ADA.email)
        mine = list(db.scalars(select(Subscription).where(Subscription.customer_id.in_(adas))))
        states = Counter(one.status for one in mine)
        assert states["on_hold"] == 1 and states["cancelled"] == 2 and states["paused"] == 1
        assert sum(one.is_trial for one in mine) == 1
        assert sum(one.cancel_at_period_end and one.status == "active" for one in mine) == 1
        assert all(one.next_billing_at > clock.now() for one in mine if one.status == "active")

        assert not db.scalar(select(func.count(Payment.id)).where(Payment.is_open | Payment.unknown))
        taken = {currency: total for currency, total in db.execute(
            select(Payment.currency, func.sum(Payment.amount_minor)).where(Payment.status == "succeeded").group_by(Payment.currency))}
        kept = {currency: total for currency, total in db.execute(
            select(CustomerTotal.currency, func.sum(CustomerTotal.paid_minor)).group_by(CustomerTotal.currency))}
        assert taken == kept and set(taken) >= {"USD", "EUR", "GBP", "BRL", "SEK", "JPY"}
        booked = Counter(amount.currency for kind, _key, amount in house.gateway.movements() if kind != "refund")
        assert booked["EUR"] == db.scalar(select(func.count(Payment.id)).where(
            Payment.status == "succeeded", Payment.currency == "EUR", Payment.amount_minor > 0))
        assert [one.due_minor for one in db.scalars(select(Invoice).where(Invoice.status == "open"))] == [5400]
        assert sorted(db.scalars(select(Refund.is_partial).where(Refund.status == "succeeded"))) == [False, True, True]
        assert db.scalar(select(func.count(LicenseInstance.id))) == 4

        cards = [(one.expiry_year, one.expiry_month) for one in db.scalars(select(PaymentMethod))]
        assert sum(one < (2029, 1) for one in cards) == 1
        assert db.scalars(select(Business.name).where(Business.archived_at.is_not(None))).all() == ["Orbit Tools"]
        planted = db.scalars(select(Customer.business_id).where(Customer.first_paid_at.is_(None), Customer.email_key == ADA.email)).all()
        assert planted == [world.shops["zephyr"]]

        assert not db.scalar(select(func.count(Outbox.id)).where(Outbox.state != "done"))
    house.worker.drain()
    with house.database.open(everything("look at the demo")) as db:
        about = list(db.scalars(select(MailboxLetter.subject)))
    # the past sends no emails; the subscription that is on hold today, and the trial that ends soon, may well get their reminders today
    assert len(about) <= 2 and all("Acorn Team" in subject or "trial" in subject for subject in about), about

    ada = Visitor(app)
    dashboard = ada.sign_in(ADA.email)
    for name in ("Acorn Team", "Birch Medium", "Off-peak", "Clube do café", "Zephyr Deals"):
        assert name in dashboard.text


def test_not_in_live_mode_and_only_once(app: Any, house: Any) -> None:
    from dataclasses import replace

    from billing.commands.businesses import create_business

    with house.database.open(everything("one business"), write=True) as db:
        create_business(db, name="Acorn Notes", currency="EUR")
    runner = app.test_cli_runner()
    assert "left out" in runner.invoke(args=["demo", "--if-empty"]).output
    house.settings = replace(house.settings, mode="live")
    answer = runner.invoke(args=["demo"])
    assert answer.exit_code == 1 and "PORTAL_MODE is live" in answer.output
