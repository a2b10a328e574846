"""An operator reopens a closed business, and closed time is not charged. The owner's address is not published by default."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from billing.customers.archive_business import archive_business, reopen_business
from billing.model.invoices import Invoice
from billing.model.parties import Business
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from billing.pricing.calendar import nth
from billing.renewals import renew
from core import clock
from core.outbox import Event
from core.scope import system
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.visitor import Visitor


def row(cast: Cast, kind: Any, *where: Any) -> Any:
    with cast.services.database.open(system(cast.acorn)) as db:
        return db.scalar(select(kind).where(*where))


def renewed(cast: Cast) -> list[Payment]:
    with cast.services.database.open(system(cast.acorn)) as db:
        mine = (Payment.subscription_id == cast.ada_at_acorn.subscription_id, Payment.charge_type == "renewal")
        return list(db.scalars(select(Payment).where(*mine)))


def close(cast: Cast) -> None:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        archive_business(db, cast.acorn)


def test_a_closed_business_is_reopened_from_the_shell_and_missed_periods_are_not_charged(cast: Cast, app: Any) -> None:
    begins = clock.now()
    close(cast)
    clock.turn(timedelta(days=100))
    renew.run_due(cast.services.processor)
    assert renewed(cast) == []
    done = app.test_cli_runner().invoke(args=["business", "reopen", "--business", cast.acorn])
    assert json.loads(done.output.splitlines()[-1]) == {"business_id": cast.acorn, "reopened": True}
    assert row(cast, Business).archived_at is None
    for _ in range(3):
        renew.run_due(cast.services.processor)
    subscription = row(cast, Subscription, Subscription.id == cast.ada_at_acorn.subscription_id)
    assert renewed(cast) == [] and subscription.status == "active"
    assert clock.now() < subscription.next_billing_at < clock.now() + timedelta(days=32)
    assert subscription.next_billing_at in [nth(subscription.anchor_at, subscription.zone, "Month", 1, n) for n in range(12)]
    moved = row(cast, Event, Event.type == "subscription.next_billing_date_changed")
    assert moved.noun_id == subscription.id and moved.data["next_billing_at"] == subscription.next_billing_at.isoformat()
    assert begins < subscription.next_billing_at

    clock.turn(timedelta(days=135))
    renew.run_due(cast.services.processor)
    assert [item.status for item in renewed(cast)] == ["succeeded"]
    again = app.test_cli_runner().invoke(args=["business", "reopen", "--business", cast.acorn])
    assert json.loads(again.output.splitlines()[-1])["reopened"] is False
    assert app.test_cli_runner().invoke(args=["business", "reopen", "--business", "bus_nobody"]).exit_code == 1


def test_a_subscription_whose_term_ended_meanwhile_ends_uncharged(cast: Cast) -> None:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        db.scalars(select(Subscription)).one().expires_at = clock.now() + timedelta(days=70)
    close(cast)
    clock.turn(timedelta(days=100))
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        reopen_business(db, cast.acorn)
    renew.run_due(cast.services.processor)
    assert row(cast, Subscription).status == "expired" and renewed(cast) == []


def test_staff_sell_again_after_reopening(cast: Cast) -> None:
    close(cast)
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        reopen_business(db, cast.acorn)
        assert reopen_business(db, cast.acorn).archived_at is None
    cast.buyer("acorn", "zoe@marlow.example", "Zoe")
    with cast.services.database.open(system(cast.acorn)) as db:
        assert db.scalar(select(Event.id).where(Event.type == "business.reopened"))


@on_sqlite
def test_the_owners_sign_in_address_is_not_shown_by_default(cast: Cast, visitor: Any) -> None:
    eve: Visitor = visitor()
    eve.sign_in(cast.ADA)
    typed = {"name": "Larch Prints", "currency": "EUR", "country": "GB", "zone": "Europe/London"}
    eve.get("/console/new")
    assert "never shown" in eve.page.text
    page = eve.submit("/console/new", expect=422, **typed, support_email="nobody")
    assert page.soup.select_one("#support_email-error")
    eve.submit("/console/new", **typed, support_email="")
    with cast.services.database.open(system(eve.path.split("/")[2])) as db:
        quiet = db.scalars(select(Business)).one()
    assert quiet.support_email == ""
    for path in (f"/login/{quiet.business_id}", f"/business/{quiet.business_id}/"):
        assert "marlow.example" not in visitor().get(path).text
    eve.get("/console/new")
    eve.submit("/console/new", **{**typed, "name": "Loud Larch"}, support_email="Help@Larch.example")
    with cast.services.database.open(system(eve.path.split("/")[2])) as db:
        assert db.scalars(select(Business.support_email)).one() == "Help@larch.example"


def test_documents_and_emails_do_not_show_the_owners_address(cast: Cast) -> None:
    """An empty contact address omits the line."""
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        db.scalars(select(Business)).one().support_email = ""
    cast.buyer("acorn", "zoe@marlow.example", "Zoe")
    with cast.services.database.open(system(cast.acorn)) as db:
        newest = db.scalars(select(Invoice).order_by(Invoice.issued_at.desc()).limit(1)).one()
        snapshot = db.scalar(select(Invoice.snapshot).where(Invoice.id == newest.id))
    assert not snapshot["seller"].get("email")
