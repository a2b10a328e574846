"""A scheduled change is applied, or the customer is emailed in time to cancel."""

from __future__ import annotations

import pytest

from billing.catalogue.products import archive_product
from billing.plan_changes import confirm as confirm_plan_change
from billing.renewals import renew
from billing.subscriptions.subscribe import subscribe
from core import mailbox
from core.scope import Actor, customer_of, system
from tests.cast import Cast
from tests.stories.ada_subscription import MAX, TEAM, Ada, wait


@pytest.fixture
def ada(cast: Cast) -> Ada:
    return Ada(cast)


def test_a_scheduled_downgrade_applies_after_its_plan_is_archived(ada: Ada) -> None:
    ada.confirm(ada.quote(ada.max).id)
    shown = ada.quote(ada.team)
    assert ada.confirm(shown.id).status == "scheduled"
    ada.do(archive_product, ada.team, scope=ada.business)
    wait(days=32)
    renew.run_due(ada.processor)
    assert ada.subscription.product_id == ada.team and ada.payments("renewal")[-1].amount_minor == TEAM == shown.next_renewal_minor


def emails(ada: Ada) -> list[mailbox.MailboxEmail]:
    ada.services.worker.drain()
    return [
        recent_email
        for recent_email in mailbox.recent_emails(ada.services.database, ada.buyer.email)
        if "cancelled your change to" in recent_email.subject
    ]


def test_the_customer_is_emailed_in_time_when_a_business_cancels_a_scheduled_change(ada: Ada) -> None:
    ada.confirm(ada.quote(ada.max).id)
    ada.confirm(ada.quote(ada.team).id)
    sam = system(ada.buyer.business_id, Actor("staff", "sam@acorn.example"))
    ada.do(confirm_plan_change.cancel_scheduled, ada.buyer.subscription_id, scope=sam)
    [told] = emails(ada)
    assert "€70.80" in told.text and "you can cancel the subscription before then" in told.text
    assert ada.subscription.status == "active"


def test_a_customer_who_cancels_a_scheduled_change_gets_no_email(ada: Ada) -> None:
    ada.confirm(ada.quote(ada.max).id)
    ada.confirm(ada.quote(ada.team).id)
    ada.do(confirm_plan_change.cancel_scheduled, ada.buyer.subscription_id)
    assert not emails(ada)


def test_a_downgrade_during_a_trial_waits_for_the_end_of_the_trial(ada: Ada) -> None:
    """Downgrades start at the next billing date, which is the end of the trial here."""
    began = subscribe(
        ada.processor,
        ada.business,
        customer_id=ada.buyer.customer_id,
        product_id=ada.max,
        trial_days=14,
        payment_method_id=ada.buyer.method_id,
        billing={"country": "GB"},
    )
    ada.buyer.subscription_id, taken = began.subscription_id or "", ada.charged()
    wait(days=3)
    shown = ada.quote(ada.team, customer_of(ada.buyer.business_id, ada.buyer.customer_id))
    assert (shown.effective_at, shown.due_minor, shown.next_renewal_minor) == ("next_billing_date", 0, TEAM)
    assert shown.next_billing_at == ada.subscription.trial_ends_at
    assert ada.confirm(shown.id).status == "scheduled" and ada.charged() == taken
    assert ada.subscription.is_trial and ada.subscription.product_id == ada.max
    wait(days=12)
    renew.run_due(ada.processor)
    assert ada.subscription.product_id == ada.team and [payment.amount_minor for payment in ada.payments("renewal")] == [TEAM]
    assert MAX not in [payment.amount_minor for payment in ada.payments("renewal")]
