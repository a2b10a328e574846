"""The emails before a trial's first charge and before a long renewal: amount, date and how to cancel."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from billing.model.parties import Business, Customer
from billing.model.subscriptions import Subscription
from billing.renewals import dunning
from billing.subscriptions.subscribe import subscribe
from core import clock
from core.scope import system
from tests.cast import Cast
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


@pytest.mark.parametrize("may_cancel", [True, False])
def test_the_notice_has_amount_date_and_how_to_cancel(cast: Cast, visitor: Callable[..., Visitor], may_cancel: bool) -> None:
    ada, buyer = visitor(), cast.ada_at_acorn
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        business = db.scalars(select(Business)).one()
        business.settings = {**business.settings, "cancel": may_cancel}
        customer = db.scalars(select(Customer).where(Customer.customer_id == buyer.customer_id)).one()
        customer.customer_type, customer.customer_type_by = ("consumer" if may_cancel else "business"), "business"
        db.scalars(select(Subscription)).one().customer_type = customer.customer_type
        db.scalars(select(Subscription)).one().interval = "Year"
        db.scalars(select(Subscription)).one().next_billing_at = clock.now() + timedelta(days=7, hours=12)
    with ada.app.app_context():
        subscribe(
            cast.services.processor,
            system(cast.acorn),
            customer_id=buyer.customer_id,
            product_id=cast.products["acorn.more"],
            payment_method_id=buyer.method_id,
            trial_days=8,
            billing={"country": "GB"},
        )
        dunning.run_due(cast.services.processor)
        dunning.run_due(cast.services.processor)
    emails = {item.subject: item.text for item in ada.emails(buyer.email) if "soon" in item.subject}
    assert set(emails) == {"[test] Acorn Team renews soon", "[test] Your trial of Acorn Max ends soon"}
    year = emails["[test] Acorn Team renews soon"]
    trial = emails["[test] Your trial of Acorn Max ends soon"]
    assert "€29.00" in year and "€70.80" in trial and "Your first payment of €70.80" in trial
    for text, days in ((year, timedelta(days=7, hours=12)), (trial, timedelta(days=8))):
        assert str((clock.now() + days).year) in text and f"/business/{cast.acorn}/subscriptions/sub_" in text
        assert ("choose Cancel before that day" if may_cancel else "email help@acorn.example before that day") in text
