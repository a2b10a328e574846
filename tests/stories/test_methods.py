"""Payment methods: assigned to a subscription, added on a page, made the default, removed; never another customer's."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from billing.model.parties import Customer, CustomerTotal
from billing.model.payments import Payment, PaymentMethod
from billing.model.subscriptions import Subscription
from billing.renewals import payment_methods
from billing.subscriptions.subscribe import subscribe
from core import clock
from core.errors import Conflict, NotFound
from core.scope import system
from tests import unpaid_renewals
from tests.cast import Buyer, Cast


@pytest.fixture
def cast(processor_services: Any, engine: Any, past: Any) -> Cast:
    return past(engine).for_services(processor_services)


@pytest.fixture
def ada(cast: Cast) -> Buyer:
    return cast.ada_at_acorn


def change(cast: Cast, buyer: Buyer, method: str | None = None, **more: Any) -> payment_methods.MethodChange:
    return payment_methods.change_method(
        cast.services.processor, unpaid_renewals.scope_of(buyer), buyer.subscription_id, payment_method_id=method, **more
    )


def another(cast: Cast, buyer: Buyer) -> str:
    """A second subscription of the same customer with the same card."""
    began = subscribe(
        cast.services.processor,
        system(buyer.business_id),
        customer_id=buyer.customer_id,
        product_id=cast.products["acorn.more"],
        payment_method_id=buyer.method_id,
    )
    return began.subscription_id or ""


def pays_with(cast: Cast, buyer: Buyer) -> dict[str, str | None]:
    with cast.services.database.open(unpaid_renewals.scope_of(buyer)) as db:
        return {subscription.id: subscription.payment_method_id for subscription in db.scalars(select(Subscription))}


def test_a_saved_card_is_assigned(cast: Cast, ada: Buyer) -> None:
    other, second = cast.card(ada), another(cast, ada)
    assert change(cast, ada, other) == payment_methods.MethodChange() == change(cast, ada, other)
    assert pays_with(cast, ada) == {ada.subscription_id: other, second: ada.method_id}
    change(cast, ada, other, also=[second])
    assert set(pays_with(cast, ada).values()) == {other}
    assert [e.noun_id for e in unpaid_renewals.events(cast, ada, "subscription.update_payment_method")] == [ada.subscription_id, second]


def test_a_new_card_is_entered_on_a_page_without_a_charge(cast: Cast, ada: Buyer) -> None:
    second = another(cast, ada)
    with cast.services.database.open(system(ada.business_id), write=True) as db:
        customer = db.scalar(select(Customer).where(Customer.customer_id == ada.customer_id))
        assert customer is not None
        customer.first_paid_at = None
        paid = db.scalar(select(CustomerTotal.paid_minor))
    before = cast.services.gateway.movements()
    page = change(cast, ada, return_url="http://localhost/back", also=[second])
    assert page.link and page == change(cast, ada, return_url="http://localhost/back", also=[second])
    unpaid_renewals.fill_in(cast, page.link, "5555555555554444")
    unpaid_renewals.settle(cast)

    with cast.services.database.open(system(ada.business_id)) as db:
        saved = db.scalar(select(PaymentMethod).where(PaymentMethod.last4 == "4444"))
        row = db.scalar(select(Payment).where(Payment.id == page.payment_id))
        customer = db.scalar(select(Customer).where(Customer.customer_id == ada.customer_id))
        assert saved and row and customer
        assert (row.status, row.amount_minor, row.charge_type, row.invoice_id, row.is_open) == ("succeeded", 0, "method", None, False)
        assert customer.first_paid_at is None and db.scalar(select(CustomerTotal.paid_minor)) == paid
    assert set(pays_with(cast, ada).values()) == {saved.id} and cast.services.gateway.movements() == before
    assert len(unpaid_renewals.events(cast, ada, "payment_method.added")) == 1
    assert not [e for e in unpaid_renewals.events(cast, ada, "payment.succeeded") if e.data["charge_type"] == "method"]
    again = change(cast, ada, return_url="http://localhost/back", also=[second])
    assert again.link and again.link != page.link  # a page that was filled in is not offered again


def test_an_open_card_page_does_not_block_a_renewal(cast: Cast, ada: Buyer) -> None:
    page = change(cast, ada)
    clock.turn(unpaid_renewals.MONTH)
    cast.services.worker.drain()
    assert unpaid_renewals.taken(cast, ada) == [2900] and unpaid_renewals.subscription(cast, ada).status == "active"
    cast.services.gateway.leave_page((page.link or "").rsplit("/", 1)[1])
    unpaid_renewals.settle(cast)
    assert unpaid_renewals.subscription(cast, ada).payment_method_id == ada.method_id


def test_a_card_is_added_without_a_subscription(cast: Cast, ada: Buyer) -> None:
    page = payment_methods.add_method(cast.services.processor, unpaid_renewals.scope_of(ada), ada.customer_id, "http://localhost/back")
    unpaid_renewals.fill_in(cast, page.link or "", "5555555555554444")
    unpaid_renewals.settle(cast)
    with cast.services.database.open(unpaid_renewals.scope_of(ada)) as db:
        assert [item.last4 for item in payment_methods.methods_of(db, ada.customer_id)] == ["4242", "4444"]
    assert pays_with(cast, ada) == {ada.subscription_id: ada.method_id}
    with pytest.raises(NotFound):
        payment_methods.add_method(cast.services.processor, unpaid_renewals.scope_of(cast.ben), ada.customer_id)


def test_changing_the_card_on_hold_pays_the_dues(cast: Cast, ada: Buyer) -> None:
    unpaid_renewals.hold(cast, ada)
    second = another(cast, ada)
    other = cast.card(ada)
    changed = change(cast, ada, other, also=[second])
    assert (changed.status, changed.link) == ("succeeded", None) and unpaid_renewals.taken(cast, ada) == [2900]
    assert set(pays_with(cast, ada).values()) == {other} and unpaid_renewals.subscription(cast, ada).status == "active"


def test_ended_and_externally_billed_subscriptions_are_refused(cast: Cast, ada: Buyer) -> None:
    for field, value, code in (("collected_by", "another system", "UNSUPPORTED_ACTION"), ("status", "cancelled", "SUBSCRIPTION_INACTIVE")):
        with cast.services.database.open(system(ada.business_id), write=True) as db:
            subscription = db.scalar(select(Subscription).where(Subscription.id == ada.subscription_id))
            setattr(subscription, field, value)
            if field == "status":
                subscription.collected_by = "us"  # type: ignore[union-attr]
        with pytest.raises(Conflict) as refused:
            change(cast, ada, ada.method_id)
        assert refused.value.code == code


def test_the_default_card_is_changed_and_cards_are_removed(cast: Cast, ada: Buyer) -> None:
    other = cast.card(ada)
    with cast.services.database.open(unpaid_renewals.scope_of(ada), write=True) as db:
        payment_methods.set_default(db, ada.method_id)
        payment_methods.set_default(db, ada.method_id)
        assert [item.id for item in payment_methods.methods_of(db, ada.customer_id) if item.is_default] == [ada.method_id]
        with pytest.raises(Conflict) as refused:
            payment_methods.remove_method(db, ada.method_id)
        assert refused.value.code == "PAYMENT_METHOD_IN_USE" and "Acorn Team is paid with this payment method" in refused.value.sentence
        assert payment_methods.move_all(db, ada.customer_id, ada.method_id, other) == [ada.subscription_id]
        payment_methods.remove_method(db, ada.method_id)
        assert [(item.id, item.is_default) for item in payment_methods.methods_of(db, ada.customer_id)] == [(other, True)]
        with pytest.raises(NotFound):
            payment_methods.remove_method(db, ada.method_id)
    with pytest.raises(NotFound):
        change(cast, ada, ada.method_id)
    told = unpaid_renewals.events(cast, ada, "payment_method.removed", "payment_method.default_changed")
    assert sorted(e.type for e in told) == ["payment_method.default_changed", "payment_method.default_changed", "payment_method.removed"]


def test_methods_never_cross_businesses_or_customers(cast: Cast, ada: Buyer) -> None:
    outside = cast.ada_at_birch
    for foreign in (outside.method_id, cast.ben.method_id):
        with pytest.raises(NotFound):
            change(cast, ada, foreign)
        with cast.services.database.open(unpaid_renewals.scope_of(ada), write=True) as db:
            with pytest.raises(NotFound):
                payment_methods.move_all(db, ada.customer_id, ada.method_id, foreign)
            with pytest.raises(NotFound):
                payment_methods.set_default(db, foreign)
    with cast.services.database.open(system(cast.birch), write=True) as db, pytest.raises(NotFound):
        payment_methods.move_all(db, cast.ben.customer_id, cast.ben.method_id, outside.method_id)
    with pytest.raises(NotFound):
        change(cast, ada, ada.method_id, also=[outside.subscription_id])
