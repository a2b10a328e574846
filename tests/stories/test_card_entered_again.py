"""A card that is entered again while a purchase with it is being written. Only PostgreSQL has two writers at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from billing.model.payments import Payment
from billing.renewals import payment_methods
from billing.subscriptions import first_payment
from billing.subscriptions.subscribe import buy
from core.scope import system
from core.settings import Settings
from tests.harness.stripe_site import StripeSite, start
from tests.harness.stripe_standin import running
from tests.stories.business_and_buyer import VISA
from tests.stories.test_saved_methods import add, saved


@pytest.fixture
def site(settings: Settings) -> Iterator[StripeSite]:
    with running() as stand_in:
        services = start(replace(settings, outgoing_loopback=True), stand_in)
        yield StripeSite.open(services).connect()
        assert stand_in.mistakes == []
        services.database.dispose()


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_card_is_merged_while_a_purchase_with_it_is_being_written(site: StripeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The purchase is not committed, so the merge does not see it. It is charged once, with the reference that is valid then."""
    add(site)
    [first] = saved(site)
    page = payment_methods.add_method(site.processor, system(site.business_id), site.customer_id, "http://localhost/back")
    [opened] = site.rows(Payment, id=page.payment_id)
    site.gateway.stand_in.submit_page(opened.gateway_reference, number=VISA, expiry="06/40", name="Ada Marlow", country="GB")
    write = first_payment.open_payment

    def slow(processor: Any, db: Any, **values: Any) -> Payment:
        made = write(processor, db, **values)
        db.flush()
        monkeypatch.setattr(first_payment, "open_payment", write)
        site.processor.check(site.business_id, opened.id)
        assert [row.reference != first.reference for row in saved(site)] == [True]  # merged and committed
        return made

    monkeypatch.setattr(first_payment, "open_payment", slow)
    product = site.product({"type": "one_time_price", "currency": "EUR", "price": 4900})
    bought = buy(site.processor, system(site.business_id), customer_id=site.customer_id, cart=[(product, 1)], payment_method_id=first.id)
    site.work()
    assert bought.status == "succeeded" and len(site.gateway.movements()) == 1 and len(saved(site)) == 1
