"""Without a payment processor, a deployment imports nothing that it would have to charge, announces no charge, and gives the reason."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from flask import Flask
from sqlalchemy import create_engine, delete, select, text, update

from billing.charging import payment_accounts as accounts
from billing.history.email_context import email_context
from billing.imports import load
from billing.model.imported_records import SourceId
from billing.model.invoices import Invoice
from billing.model.parties import Customer
from billing.model.payment_accounts import sandbox_account_id
from billing.model.payments import PaymentMethod
from billing.model.provenance import Origin
from billing.model.sent_notices import SentNotice
from billing.model.subscriptions import Subscription
from billing.renewals import dunning, renew
from billing.subscriptions.cancel import cancel_at_period_end, keep
from core import clock, guard, migration_runner, migration_steps
from core.errors import Invalid
from core.mailbox import recent_emails
from core.outbox import Event, Outbox
from core.recurring_jobs import JobFailure
from core.scope import everything, system
from core.settings import Settings
from tenants.imports.import_file import check
from tenants.imports.shapes import record
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.pages.console_setup import Site
from tests.visitor import Visitor


class Bare(Site):
    """The cast's deployment after its payment processor was removed. `shop.sam` is a member of Acorn."""

    def due(self) -> Subscription:
        return self.row(Subscription, Subscription.id == self.ada_at_acorn.subscription_id)

    def row(self, model: Any, *where: Any) -> Any:
        with self.services.database.open(everything("a test looks")) as db:
            return db.scalars(select(model).where(*where)).first()

    def change(self, **values: Any) -> None:
        with self.services.database.open(everything("a test changes"), write=True) as db:
            db.execute(
                update(Subscription).where(Subscription.id == self.ada_at_acorn.subscription_id).values(**values),
                execution_options={"synchronize_session": False},
            )


@pytest.fixture
def site(cast: Cast, settings: Settings, make_app: Callable[..., Flask]) -> Bare:
    bare = Bare(**vars(cast))
    bare.app = make_app(replace(settings, gateway="none"))
    bare.services = bare.app.extensions["portal"]
    bare.sam = bare.staff(bare.SAM, "owner")
    return bare


def lines_of(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")
    return path


def handed_over(**more: Any) -> tuple[dict[str, Any], ...]:
    price = {
        "type": "recurring_price",
        "currency": "EUR",
        "price": 4417,
        "payment_frequency_count": 1,
        "payment_frequency_interval": "Month",
    }
    date = (clock.now() + timedelta(days=9)).isoformat()
    return (
        {"type": "product", "data": {"product_id": "pdt_in", "name": "Handed over", "price": price}},
        {"type": "customer", "data": {"customer_id": "cus_in", "email": Cast.ADA, "name": "Ada Marlow"}},
        {"type": "payment_method", "data": {"payment_method_id": "pm_in", "customer_id": "cus_in", **more}},
        {
            "type": "subscription",
            "data": {
                "subscription_id": "sub_in",
                "customer": {"customer_id": "cus_in"},
                "product_id": "pdt_in",
                "status": "active",
                "next_billing_date": date,
                "collected_by": "us",
                "payment_method_id": "pm_in",
            },
        },
    )


def test_an_import_for_collection_here_is_refused_by_line_and_field(site: Bare, tmp_path: Path) -> None:
    path = lines_of(tmp_path / "in.jsonl", *handed_over(reference="a card at some processor"))
    done = site.app.test_cli_runner().invoke(args=["import", str(path), "--business", site.acorn])
    assert done.exit_code == 1 and "Nothing was written" in done.output
    assert "line 4: collected_by: This business has no open payment account" in done.output
    assert "line 3: reference: This business has no open payment account" in done.output
    assert site.row(Subscription, Subscription.account_id == "import") is None
    records = [record(item["type"], item["data"]) for item in handed_over()]
    with pytest.raises(Invalid) as refused, site.services.database.open(system(site.acorn), write=True) as db:
        load(db, Origin.of_file("import"), records, can_collect=False)  # whichever way a load comes in
    assert "collected_by" in refused.value.fields


@on_sqlite
def test_the_same_import_is_accepted_with_a_processor(cast: Cast, tmp_path: Path) -> None:
    assert check(cast.services.database, cast.acorn, lines_of(tmp_path / "in.jsonl", *handed_over(reference="ref"))).lines == 4


@on_sqlite
def test_pages_promise_no_charge_that_will_not_be_made(site: Bare) -> None:
    ada, url = Visitor(site.app), f"/subscriptions/{site.ada_at_acorn.subscription_id}"
    ada.sign_in(site.ADA)
    page = ada.get(url).text
    assert "You aren’t being charged for this subscription." in page
    assert not [word for word in ("You’ll be charged", "Next payment", "Renews", "We’ll email you when it’s paid") if word in page]
    overview = ada.get("/").text
    assert "Nothing renews in the next 60 days" in overview and not re.search("renews [A-Z]", overview)
    assert "paid until" in ada.get("/subscriptions").text
    assert "The next payment" not in ada.get(f"{url}/payment-method").text
    staff = site.sam.get(site.at(f"/sales/subscriptions/{site.ada_at_acorn.subscription_id}")).text
    assert "This subscription cannot be charged." in staff and "Paid until" in staff


@on_sqlite
def test_pages_promise_the_charge_where_it_will_be_made(cast: Cast, app: Flask) -> None:
    ada = Visitor(app)
    ada.sign_in(cast.ADA)
    page = ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}").text
    assert "You’ll be charged" in page and "You aren’t being charged" not in page


def test_an_impossible_renewal_backs_off_and_the_business_is_notified(site: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    site.change(next_billing_at=clock.now() - timedelta(hours=1), previous_billing_at=clock.now() - timedelta(days=40))
    logs = io.StringIO()
    monkeypatch.setattr(
        "core.recurring_jobs.log",
        structlog.wrap_logger(
            structlog.PrintLogger(logs), processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        ),
    )
    for _ in range(5):  # the worker comes by every five seconds
        renew.run_due(site.services.processor)
    written = [json.loads(line) for line in logs.getvalue().splitlines()]
    assert [(item["error"], item["failures"]) for item in written] == [("MERCHANT_NOT_LIVE", 1)] and "exception" not in written[0]
    failure, row = site.row(JobFailure), site.due()
    assert row.status == "active", "its customer owes nothing"
    assert site.row(Invoice, Invoice.subscription_id == row.id, Invoice.kind == "renewal") is None
    assert failure.retry_at - failure.failed_at == timedelta(seconds=30) and failure.began_at == failure.failed_at
    assert "Some subscriptions need your attention." in site.sam.get(site.at("/sales/subscriptions")).text
    page = site.sam.get(site.at("/sales/failing")).text
    for word in (
        "Renewal",
        "Acorn Team",
        "Ada Marlow",
        "Payments are not possible: this business has no open payment account.",
        "failed once",
        "Since",
        "Next attempt",
    ):
        assert word in page, word
    assert "Next attempt: " in site.sam.get(site.at(f"/sales/subscriptions/{row.id}")).text
    site.sam.get(site.at("/sales/failing"))
    assert "within a minute" in site.sam.submit("retry").text
    renew.run_due(site.services.processor)
    failure = site.row(JobFailure)
    assert failure.failures == 2 and failure.began_at < failure.failed_at
    assert failure.retry_at - failure.failed_at == timedelta(seconds=120)


@on_sqlite
def test_a_fault_that_repeats_has_one_traceback(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from core import recurring_jobs

    logs = io.StringIO()
    monkeypatch.setattr(
        "core.recurring_jobs.log",
        structlog.wrap_logger(
            structlog.PrintLogger(logs), processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        ),
    )

    def fails(_business_id: str, _one: str) -> None:
        raise RuntimeError("the same as ever")

    for _ in range(3):
        recurring_jobs.run(cast.services.database, "renewals", [(cast.acorn, "sub_x")], fails)
    written = [json.loads(line) for line in logs.getvalue().splitlines()]
    assert ["exception" in item for item in written] == [True, False, False] and [item["failures"] for item in written] == [1, 2, 3]


@on_sqlite
def test_no_email_announces_a_charge(site: Bare) -> None:
    site.change(interval="Year", next_billing_at=clock.now() + timedelta(days=7))
    dunning.run_due(site.services.processor)
    site.change(status="on_hold", on_hold_at=clock.now() - timedelta(days=2))
    dunning.run_due(site.services.processor)
    assert site.row(SentNotice) is None


def test_only_customers_of_a_business_with_an_open_account_are_told_of_a_charge(cast: Cast) -> None:
    """Acorn takes no more charges; Birch, in the same deployment, does."""
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        accounts.stop_charges(db, sandbox_account_id(cast.acorn))
    buyers = [cast.ada_at_acorn, cast.ada_at_birch]
    with cast.services.database.open(everything("a test changes"), write=True) as db:
        db.execute(
            update(Subscription)
            .where(Subscription.id.in_([buyer.subscription_id for buyer in buyers]))
            .values(interval="Year", next_billing_at=clock.now() + timedelta(days=7)),
            execution_options={"synchronize_session": False},
        )
    dunning.run_due(cast.services.processor)
    with cast.services.database.open(everything("a test looks")) as db:
        assert list(db.scalars(select(SentNotice.noun_id))) == [cast.ada_at_birch.subscription_id]
    renews = {}
    for buyer in buyers:
        with cast.services.database.open(system(buyer.business_id)) as db:
            found = email_context(db, buyer.customer_id, "", subscription_id=buyer.subscription_id)
            renews[buyer.business_id] = found.next_renewal_at is not None
    assert renews == {cast.acorn: False, cast.birch: True}


@on_sqlite
def test_no_email_about_another_matter_promises_a_renewal(site: Bare) -> None:
    with site.services.database.open(system(site.acorn), write=True) as db:
        cancel_at_period_end(db, site.ada_at_acorn.subscription_id)
    with site.services.database.open(system(site.acorn), write=True) as db:
        keep(db, site.ada_at_acorn.subscription_id)
    site.services.worker.drain()
    sent = [email.text for email in recent_emails(site.services.database, site.ADA) if "continues" in email.subject]
    assert len(sent) == 1 and "The cancellation was undone." in sent[0] and "renews" not in sent[0]


@on_sqlite
def test_subscriptions_still_end_at_their_date(site: Bare) -> None:
    site.change(next_billing_at=clock.now() - timedelta(hours=1), cancel_at_period_end=True)
    renew.run_due(site.services.processor)
    assert site.due().status == "cancelled" and site.row(JobFailure) is None


# --- what an earlier version left: imported from another system, and marked as collected here


def create_as_release_0_1(cast: Cast) -> str:
    """Create a mirrored subscription as release 0.1 and revision 0023 left it. Returns its id."""
    cus, pdt = "cus_m", "pdt_m"
    product = {**handed_over()[0]["data"], "product_id": pdt}
    told = [
        record("product", product),
        record("customer", {"customer_id": cus, "email": Cast.ADA, "name": "Ada Marlow"}),
        record(
            "subscription",
            {
                **handed_over()[3]["data"],
                "subscription_id": "sub_m",
                "product_id": pdt,
                "customer": {"customer_id": cus},
                "payment_method_id": None,
            },
        ),
    ]
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        load(db, Origin("acc_m", "dodo", True), told)
        row = db.scalars(select(Subscription).where(Subscription.account_id == "acc_m")).one()
        row.account_id, row.collected_by, item = None, "us", row.id
        customer = db.scalars(select(Customer).where(Customer.customer_id == row.customer_id)).one()
        customer.recognized_key = customer.email_key  # Ada accepted it
        db.flush()
        db.execute(delete(SourceId).where(SourceId.row_id == item), execution_options={"synchronize_session": False})
    return item


def run_step_again(settings: Settings, name: str) -> list[str]:
    said: list[str] = []
    owner = create_engine(settings.owner_url)
    script = next(item for item in migration_runner.ordered() if any(step.name == name for step in migration_runner.steps_of(item)))
    id, step = next((id, step) for id, step in migration_runner.step_ids(script) if step.name == name)
    with guard.raw_sql():
        with owner.begin() as connection:
            migration_steps.see_everything(connection)
            connection.execute(text("DELETE FROM migration_steps WHERE id = :id"), {"id": id})
        step.run(owner, id, said.append)
    owner.dispose()
    return said


@pytest.fixture
def copies(cast: Cast, settings: Settings) -> str:
    item = create_as_release_0_1(cast)
    assert run_step_again(settings, "undecided")[0].startswith("1 subscriptions are billed by another system")
    return item


def test_the_migration_holds_external_subscriptions_for_a_decision(cast: Cast, copies: str) -> None:
    with cast.services.database.open(everything("a test looks")) as db:
        by = dict(db.execute(select(Subscription.id, Subscription.collected_by)).tuples().all())
    assert {item: system for item, system in by.items() if system != "us"} == {copies: "undecided"} and len(by) == 4
    clock.turn(timedelta(days=10))
    renew.run_due(cast.services.processor)
    with cast.services.database.open(everything("a test looks")) as db:
        assert not db.scalars(select(Invoice).where(Invoice.subscription_id == copies)).all()


def staffed(cast: Cast, app: Flask) -> Site:
    site = Site(**vars(cast))
    site.app = app
    site.sam = site.staff(site.SAM, "owner")
    return site


@on_sqlite
def test_the_business_keeps_external_billing(cast: Cast, app: Flask, copies: str) -> None:
    site = staffed(cast, app)
    assert "Nobody is charged for these" in site.sam.get(site.at("/sales/failing")).text
    assert "Nobody is charged for this subscription." in site.sam.get(site.at(f"/sales/subscriptions/{copies}")).text
    cast.rest()
    assert "This copy is closed." in site.sam.submit("collection/removal").text
    with cast.services.database.open(everything("a test looks")) as db:
        row = db.scalars(select(Subscription).where(Subscription.id == copies)).one()
        told = set(db.scalars(select(Event.type).where(Event.noun_id == copies)))
        assert (row.status, row.collected_by) == ("cancelled", "undecided")
        assert {"subscription.cancelled", "subscription.collection_decided"} <= told
        assert not db.scalars(select(Outbox).where(Outbox.noun_id == copies, Outbox.state == "pending")).all(), "nobody gets an email"
    assert "Nothing needs your attention" in site.sam.get(site.at("/sales/failing")).text


def test_the_business_moves_billing_here(cast: Cast, app: Flask, copies: str) -> None:
    site, url = staffed(cast, app), f"/sales/subscriptions/{copies}"
    site.sam.get(site.at(url))
    assert "No payment method can be charged here" in site.save(f"{url}/collection").text
    with cast.services.database.open(everything("the customer entered a card"), write=True) as db:
        row = db.scalars(select(Subscription).where(Subscription.id == copies)).one()
        card = db.scalars(select(PaymentMethod).where(PaymentMethod.id == cast.ada_at_acorn.method_id)).one()
        values = {name: getattr(card, name) for name in ("kind", "brand", "last4", "expiry_month", "expiry_year", "created_at")}
        db.add(
            PaymentMethod(
                business_id=row.business_id,
                customer_id=row.customer_id,
                id="pm_copy",
                payment_account_id=card.payment_account_id,
                reference=f"copy of {card.reference}",
                **values,
            )
        )
        db.flush()
        row.payment_method_id = "pm_copy"
    site.sam.get(site.at(url))
    assert "charges the subscription from its next billing date" in site.save(f"{url}/collection").text
    with cast.services.database.open(everything("a test looks")) as db:
        assert db.scalar(select(Subscription.collected_by).where(Subscription.id == copies)) == "us"
    ada = Visitor(app)
    ada.sign_in(cast.ADA)
    assert "You’ll be charged" in ada.get(f"/subscriptions/{copies}").text


@on_sqlite
def test_an_undecided_subscription_shows_no_next_charge(cast: Cast, app: Flask, copies: str) -> None:
    ada = Visitor(app)
    ada.sign_in(cast.ADA)
    page = ada.get(f"/subscriptions/{copies}").text
    assert "You aren’t being charged for this subscription." in page and "You’ll be charged" not in page
