"""Ways to pay: chosen for a subscription, added on a page, made the default, removed; never another customer's."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from billing.commands import methods
from billing.commands.buying import subscribe
from billing.parties import Customer, CustomerTotal
from billing.payments import Payment, PaymentMethod
from billing.subscriptions import Subscription
from core import clock
from core.errors import Conflict, NotFound
from core.scope import system
from tests import unpaid
from tests.cast import Buyer, Cast


@pytest.fixture
def cast(till_house: Any, engine: Any, past: Any) -> Cast:
    return past(engine).told_to(till_house)


@pytest.fixture
def ada(cast: Cast) -> Buyer:
    return cast.ada_at_acorn


def change(cast: Cast, buyer: Buyer, method: str | None = None, **more: Any) -> methods.Changed:
    return methods.change_method(cast.house.till, unpaid.scope_of(buyer), buyer.subscription_id, payment_method_id=method, **more)


def another(cast: Cast, buyer: Buyer) -> str:
    """A second subscription of the same customer, paid with the same card."""
    began = subscribe(cast.house.till, system(buyer.business_id), customer_id=buyer.customer_id, product_id=cast.products["acorn.more"],
                      payment_method_id=buyer.method_id)
    return began.subscription_id or ""


def pays_with(cast: Cast, buyer: Buyer) -> dict[str, str | None]:
    with cast.house.database.open(unpaid.scope_of(buyer)) as db:
        return {one.id: one.payment_method_id for one in db.scalars(select(Subscription))}


def test_a_saved_card_is_chosen(cast: Cast, ada: Buyer) -> None:
    other, second = cast.card(ada), another(cast, ada)
    assert change(cast, ada, other) == methods.Changed() == change(cast, ada, other)
    assert pays_with(cast, ada) == {ada.subscription_id: other, second: ada.method_id}
    change(cast, ada, other, also=[second])
    assert set(pays_with(cast, ada).values()) == {other}
    assert [e.noun_id for e in unpaid.events(cast, ada, "subscription.update_payment_method")] == [ada.subscription_id, second]


def test_a_new_card_is_entered_on_a_page_that_takes_nothing(cast: Cast, ada: Buyer) -> None:
    second = another(cast, ada)
    with cast.house.database.open(system(ada.business_id), write=True) as db:
        customer = db.scalar(select(Customer).where(Customer.customer_id == ada.customer_id))
        assert customer is not None
        customer.first_paid_at = None
        paid = db.scalar(select(CustomerTotal.paid_minor))
    before = cast.house.gateway.movements()
    page = change(cast, ada, return_url="http://localhost/back", also=[second])
    assert page.link and page == change(cast, ada, return_url="http://localhost/back", also=[second])
    unpaid.fill_in(cast, page.link, "5555555555554444")
    unpaid.settle(cast)

    with cast.house.database.open(system(ada.business_id)) as db:
        saved = db.scalar(select(PaymentMethod).where(PaymentMethod.last4 == "4444"))
        row = db.scalar(select(Payment).where(Payment.id == page.payment_id))
        customer = db.scalar(select(Customer).where(Customer.customer_id == ada.customer_id))
        assert saved and row and customer
        assert (row.status, row.amount_minor, row.charge_type, row.invoice_id, row.is_open) == ("succeeded", 0, "method", None, False)
        assert customer.first_paid_at is None and db.scalar(select(CustomerTotal.paid_minor)) == paid
    assert set(pays_with(cast, ada).values()) == {saved.id} and cast.house.gateway.movements() == before
    assert len(unpaid.events(cast, ada, "payment_method.added")) == 1
    assert not [e for e in unpaid.events(cast, ada, "payment.succeeded") if e.data["charge_type"] == "method"]
    again = change(cast, ada, return_url="http://localhost/back", also=[second])
    assert again.link and again.link != page.link  # a page that was filled in is not offered again


def test_an_open_page_is_in_no_renewals_way(cast: Cast, ada: Buyer) -> None:
    page = change(cast, ada)
    clock.turn(unpaid.MONTH)
    cast.house.worker.drain()
    assert unpaid.taken(cast, ada) == [2900] and unpaid.subscription(cast, ada).status == "active"
    cast.house.gateway.leave_page((page.link or "").rsplit("/", 1)[1])
    unpaid.settle(cast)
    assert unpaid.subscription(cast, ada).payment_method_id == ada.method_id


def test_a_card_without_a_subscription(cast: Cast, ada: Buyer) -> None:
    page = methods.add_method(cast.house.till, unpaid.scope_of(ada), ada.customer_id, "http://localhost/back")
    unpaid.fill_in(cast, page.link or "", "5555555555554444")
    unpaid.settle(cast)
    with cast.house.database.open(unpaid.scope_of(ada)) as db:
        assert [one.last4 for one in methods.methods_of(db, ada.customer_id)] == ["4242", "4444"]
    assert pays_with(cast, ada) == {ada.subscription_id: ada.method_id}
    with pytest.raises(NotFound):
        methods.add_method(cast.house.till, unpaid.scope_of(cast.ben), ada.customer_id)


def test_on_hold_a_change_pays_what_is_due(cast: Cast, ada: Buyer) -> None:
    unpaid.hold(cast, ada)
    second = another(cast, ada)
    other = cast.card(ada)
    changed = change(cast, ada, other, also=[second])
    assert (changed.status, changed.link) == ("succeeded", None) and unpaid.taken(cast, ada) == [2900]
    assert set(pays_with(cast, ada).values()) == {other} and unpaid.subscription(cast, ada).status == "active"


def test_what_is_over_or_collected_elsewhere_is_refused(cast: Cast, ada: Buyer) -> None:
    for field, value, code in (("collected_by", "another system", "UNSUPPORTED_ACTION"), ("status", "cancelled", "SUBSCRIPTION_INACTIVE")):
        with cast.house.database.open(system(ada.business_id), write=True) as db:
            one = db.scalar(select(Subscription).where(Subscription.id == ada.subscription_id))
            setattr(one, field, value)
            if field == "status":
                one.collected_by = "us"  # type: ignore[union-attr]
        with pytest.raises(Conflict) as refused:
            change(cast, ada, ada.method_id)
        assert refused.value.code == code


def test_default_and_removal(cast: Cast, ada: Buyer) -> None:
    other = cast.card(ada)
    with cast.house.database.open(unpaid.scope_of(ada), write=True) as db:
        methods.set_default(db, ada.method_id)
        methods.set_default(db, ada.method_id)
        assert [one.id for one in methods.methods_of(db, ada.customer_id) if one.is_default] == [ada.method_id]
        with pytest.raises(Conflict) as refused:
            methods.remove_method(db, ada.method_id)
        assert refused.value.code == "PAYMENT_METHOD_IN_USE" and "Acorn Team is paid with it" in refused.value.sentence
        assert methods.move_all(db, ada.customer_id, ada.method_id, other) == [ada.subscription_id]
        methods.remove_method(db, ada.method_id)
        assert [(one.id, one.is_default) for one in methods.methods_of(db, ada.customer_id)] == [(other, True)]
        with pytest.raises(NotFound):
            methods.remove_method(db, ada.method_id)
    with pytest.raises(NotFound):
        change(cast, ada, ada.method_id)
    told = unpaid.events(cast, ada, "payment_method.removed", "payment_method.default_changed")
    assert sorted(e.type for e in told) == ["payment_method.default_changed", "payment_method.default_changed", "payment_method.removed"]


def test_methods_never_cross_businesses_or_customers(cast: Cast, ada: Buyer) -> None:
    elsewhere = cast.ada_at_birch
    for foreign in (elsewhere.method_id, cast.ben.method_id):
        with pytest.raises(NotFound):
            change(cast, ada, foreign)
        with cast.house.database.open(unpaid.scope_of(ada), write=True) as db:
            with pytest.raises(NotFound):
                methods.move_all(db, ada.customer_id, ada.method_id, foreign)
            with pytest.raises(NotFound):
                methods.set_default(db, foreign)
    with cast.house.database.open(system(cast.birch), write=True) as db, pytest.raises(NotFound):
        methods.move_all(db, cast.ben.customer_id, cast.ben.method_id, elsewhere.method_id)
    with pytest.raises(NotFound):
        change(cast, ada, ada.method_id, also=[elsewhere.subscription_id])
