"""Cancel without signing in: guesses, contradictions, and what can go wrong between the statement and its effect."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.model.subscriptions import Subscription
from billing.statements import carry_out, staff
from core import clock
from core.scope import staff as member
from core.scope import system
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.stories.test_cancel_without_sign_in import declare, number_of, statements, subscription

pytestmark = on_sqlite
PROMISE = "You won’t be charged again"


def change(cast: Cast, **values: Any) -> None:
    """Set columns of Ada's subscription at Birch."""
    with cast.services.database.open(system(cast.birch), write=True) as db:
        row = db.scalars(select(Subscription).where(Subscription.id == cast.ada_at_birch.subscription_id)).one()
        for name, value in values.items():
            setattr(row, name, value)


def in_days(days: int) -> str:
    return (clock.now() + timedelta(days=days)).date().isoformat()


@pytest.mark.parametrize("kind", ["ordinary", "cause"])
def test_what_could_not_be_cancelled_gets_no_receipt(cast: Cast, visitor: Any, kind: str) -> None:
    """The contract was proven, but its cancellation was refused: the customer is not told that it ends."""
    ada, someone = cast.ada_at_birch, visitor()
    change(cast, collected_by="another")
    declare(someone, ada.business_id, email=Cast.ADA, contract=ada.subscription_id, type=kind)
    sent, row = someone.emails(Cast.ADA), statements(cast)[0]
    assert (row.status, row.matched_by, row.ends_at) == ("waiting", "subscription", None)
    assert [PROMISE in email.text for email in sent] == [False]
    assert row.number in sent[0].subject


def test_what_ended_before_a_planned_date_gets_no_receipt(cast: Cast, visitor: Any) -> None:
    ada, someone = cast.ada_at_birch, visitor()
    declare(someone, ada.business_id, email=Cast.ADA, contract=ada.subscription_id, when="date", date=in_days(90))
    someone.emails()
    change(cast, status="cancelled")
    assert carry_out.run_due(cast.services.database) == 1
    sent = someone.emails(Cast.ADA)
    assert statements(cast)[0].status == "waiting"
    assert len(sent) == 2, [email.subject for email in sent]
    assert "decides whether it ends sooner" not in sent[-1].text


def test_dismissed_guesses_still_count(cast: Cast, visitor: Any) -> None:
    """An answer of staff proves nothing about the contract. It must not give a guesser three more tries."""
    ada, someone = cast.ada_at_birch, visitor()
    for guess in range(3):
        declare(someone, ada.business_id, email=Cast.ADA, contract=f"INV-9{guess:03}")
    someone.emails()
    for row in statements(cast):
        with cast.services.database.open(member(cast.birch, "mem_test"), write=True) as db:
            staff.dismiss(db, row.id, "We do not know this number.")
    declare(someone, ada.business_id, email=Cast.ADA, contract=number_of(cast, ada))
    someone.emails()
    assert [(row.status, row.matched_by) for row in statements(cast)] == [("dismissed", None)] * 3 + [("waiting", None)]
    assert not subscription(cast, ada).cancel_at_period_end


def test_one_statement_is_not_twenty_guesses(cast: Cast, visitor: Any) -> None:
    ada, someone = cast.ada_at_birch, visitor()
    guesses = " ".join([*(f"INV-9{guess:03}" for guess in range(12)), number_of(cast, ada)])
    declare(someone, ada.business_id, email=Cast.ADA, contract=guesses)
    someone.emails()
    assert statements(cast)[0].status == "waiting"
    assert not subscription(cast, ada).cancel_at_period_end


def test_good_cause_has_no_later_date(cast: Cast, visitor: Any) -> None:
    """“With immediate effect” and a later date contradict each other; the declared sentence counts."""
    ada, someone = cast.ada_at_birch, visitor()
    declare(someone, ada.business_id, email=Cast.ADA, contract=ada.subscription_id, type="cause", when="date", date=in_days(90))
    someone.emails()
    row = statements(cast)[0]
    assert row.wanted_at is None
    staff.carry_out_for(cast.services.processor, member(cast.birch, "mem_test"), row.id, ada.subscription_id, now=False)
    assert statements(cast)[0].status == "effective", "not planned: it is cancelled already"
    assert "renews as usual" not in someone.emails(Cast.ADA)[-1].text


def test_what_is_unpaid_does_not_end_in_the_past(cast: Cast, visitor: Any) -> None:
    """The period of a subscription on hold may be over. It ends now, and the receipt says so."""
    ada, someone = cast.ada_at_birch, visitor()
    change(cast, status="on_hold", next_billing_at=clock.now() - timedelta(days=5))
    declare(someone, ada.business_id, email=Cast.ADA, contract=ada.subscription_id)
    someone.emails()
    row = statements(cast)[0]
    assert row.status == "effective"
    assert row.ends_at is not None
    assert row.ends_at >= row.received_at
