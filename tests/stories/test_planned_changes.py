"""A change that was planned is made, or the customer hears of it while there is time to cancel."""

from __future__ import annotations

import pytest

from billing import renewals
from billing.commands import plan_change
from billing.commands.buying import subscribe
from billing.commands.products import archive_product
from core import mailbox
from core.scope import Actor, customer_of, system
from tests.cast import Cast
from tests.stories.plans import MAX, TEAM, Ada, wait


@pytest.fixture
def ada(cast: Cast) -> Ada:
    return Ada(cast)


def test_a_scheduled_downgrade_survives_that_its_target_is_archived(ada: Ada) -> None:
    ada.confirm(ada.quote(ada.max).id)
    shown = ada.quote(ada.team)
    assert ada.confirm(shown.id).status == "scheduled"
    ada.do(archive_product, ada.team, scope=ada.business)
    wait(days=32)
    renewals.run_due(ada.till)
    assert ada.subscription.product_id == ada.team and ada.payments("renewal")[-1].amount_minor == TEAM == shown.next_renewal_minor


def emails(ada: Ada) -> list[mailbox.MailboxLetter]:
    ada.house.worker.drain()
    return [one for one in mailbox.letters(ada.house.database, ada.buyer.email) if "canceled your change" in one.subject]


def test_the_customer_hears_that_a_business_withdrew_a_planned_change_while_cancelling_is_possible(ada: Ada) -> None:
    ada.confirm(ada.quote(ada.max).id)
    ada.confirm(ada.quote(ada.team).id)
    sam = system(ada.buyer.business_id, Actor("staff", "sam@acorn.example"))
    ada.do(plan_change.cancel_scheduled, ada.buyer.subscription_id, scope=sam)
    [told] = emails(ada)
    assert "€70.80" in told.text and "you can cancel the subscription until then" in told.text
    assert ada.subscription.status == "active"


def test_a_customer_who_takes_a_change_back_gets_no_email_about_it(ada: Ada) -> None:
    ada.confirm(ada.quote(ada.max).id)
    ada.confirm(ada.quote(ada.team).id)
    ada.do(plan_change.cancel_scheduled, ada.buyer.subscription_id)
    assert not emails(ada)


def test_a_downgrade_during_a_trial_waits_for_the_end_of_the_trial(ada: Ada) -> None:
    """The business's rule says that a cheaper plan begins at the next billing date: in a trial that is its end."""
    began = subscribe(ada.till, ada.business, customer_id=ada.buyer.customer_id, product_id=ada.max, trial_days=14,
                      payment_method_id=ada.buyer.method_id, billing={"country": "GB"})
    ada.buyer.subscription_id, taken = began.subscription_id or "", ada.charged()
    wait(days=3)
    shown = ada.quote(ada.team, customer_of(ada.buyer.business_id, ada.buyer.customer_id))
    assert (shown.effective_at, shown.due_minor, shown.next_renewal_minor) == ("next_billing_date", 0, TEAM)
    assert shown.next_billing_at == ada.subscription.trial_ends_at
    assert ada.confirm(shown.id).status == "scheduled" and ada.charged() == taken
    assert ada.subscription.is_trial and ada.subscription.product_id == ada.max
    wait(days=12)
    renewals.run_due(ada.till)
    assert ada.subscription.product_id == ada.team and [one.amount_minor for one in ada.payments("renewal")] == [TEAM]
    assert MAX not in [one.amount_minor for one in ada.payments("renewal")]
