"""A business raises the price of existing subscribers: announced in time, with consent where it is needed, charged as announced."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from billing.catalogue.addons import create_addon
from billing.catalogue.products import create_product, update_product
from billing.model.price_changes import SubscriptionPriceChange
from billing.model.subscriptions import Subscription
from billing.plan_changes.confirm import confirm
from billing.plan_changes.quote import quote
from billing.price_changes import order
from billing.price_changes.answer import answer
from billing.price_changes.order import NewPrice
from billing.subscriptions.cancel import cancel_at_period_end
from billing.subscriptions.pause import pause, resume
from billing.subscriptions.reschedule import move_next_date
from billing.subscriptions.subscribe import subscribe
from core import clock
from core.errors import Conflict, Invalid, NotFound
from core.mailbox import MailboxEmail
from core.outbox import Event
from core.scope import customer_of, everything, system
from tests.cast import MONTHLY, Cast
from tests.stories.test_notice_calendar import BILLING, DAY, START, begin, charged, live

__all__ = ["begin"]
FIRST_OF_JUNE = datetime(2027, 6, 1, tzinfo=UTC)


def plan(cast: Cast, **price: Any) -> str:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        return create_product(db, cast.acorn, name="Plan", price={**MONTHLY, "price": 1000, **price}, tax_category="saas").id


def bought(cast: Cast, product_id: str, place: str, **more: Any) -> str:
    started = subscribe(
        cast.services.processor, system(cast.acorn), customer_id=cast.ada_at_acorn.customer_id, product_id=product_id,
        payment_method_id=cast.ada_at_acorn.method_id, billing={"country": "GB"} if place == "Britain" else BILLING[place], **more,
    )  # fmt: skip
    return started.subscription_id or ""


def act(cast: Cast, command: Any, *args: Any) -> Any:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        return command(db, *args)


def as_ada(cast: Cast, command: Any, *args: Any) -> Any:
    with cast.services.database.open(customer_of(cast.acorn, cast.ada_at_acorn.customer_id), write=True) as db:
        return command(db, *args)


def rise(cast: Cast, product_id: str, to: int = 1200, at: datetime = FIRST_OF_JUNE, direction: Any = "raise") -> str:
    return str(act(cast, lambda db: order.order(db, product_id, NewPrice(to, at, direction)).id))


def row(cast: Cast, subscription_id: str) -> Any:
    with cast.services.database.open(everything("a story reads")) as db:
        of_this = SubscriptionPriceChange.subscription_id == subscription_id
        found = db.scalar(select(SubscriptionPriceChange).where(of_this).order_by(SubscriptionPriceChange.announce_at.desc()).limit(1))
        db.expunge_all()
        return found


def amounts(cast: Cast, subscription_id: str) -> dict[str, int]:
    """Map the month of each charge to its amount."""
    from billing.model.payments import Payment

    with cast.services.database.open(everything("a story reads")) as db:
        paid = select(Payment).where(Payment.subscription_id == subscription_id, Payment.status == "succeeded", Payment.amount_minor > 0)
        return {f"{payment.created_at:%Y-%m}": payment.amount_minor for payment in db.scalars(paid)}


def emails(cast: Cast, part: str = "price of") -> list[MailboxEmail]:
    with cast.services.database.open(everything("a story reads its emails")) as db:
        found = list(db.scalars(select(MailboxEmail).where(MailboxEmail.subject.contains(part)).order_by(MailboxEmail.created_at)))
        db.expunge_all()
        return found


def announced(cast: Cast, subscription_id: str) -> str | None:
    at = row(cast, subscription_id).announced_at
    return f"{at:%Y-%m-%d}" if at else None


def test_where_notice_is_enough_silence_means_the_new_price(begin: Cast) -> None:
    product = plan(begin)
    subscription = bought(begin, product, "California")
    rise(begin, product)
    live(begin, datetime(2027, 5, 16, tzinfo=UTC))
    assert row(begin, subscription).status == "planned" and not emails(begin)
    live(begin, datetime(2027, 5, 17, tzinfo=UTC))
    assert announced(begin, subscription) == "2027-05-16", "25 days before the first renewal in June"
    (email,) = emails(begin)
    assert "€10.00" in email.text and "€12.00" in email.text and "10 June 2027" in email.text
    assert f"/business/{begin.acorn}/subscriptions/{subscription}/cancellation" in email.text and "agree" not in email.text
    live(begin, datetime(2027, 7, 12, tzinfo=UTC))
    paid = amounts(begin, subscription)
    assert (paid["2027-05"], paid["2027-06"], paid["2027-07"]) == (1000, 1200, 1200)
    assert row(begin, subscription).status == "applied" and len(emails(begin)) == 1


@pytest.mark.parametrize(("said", "status", "in_june"), [("accepted", "applied", 1200), ("refused", "kept", 1000), (None, "kept", 1000)])
def test_where_consent_is_needed_only_a_yes_changes_the_price(begin: Cast, said: str | None, status: str, in_june: int) -> None:
    product = plan(begin)
    subscription = bought(begin, product, "Germany")
    rise(begin, product)
    live(begin, datetime(2027, 5, 1, tzinfo=UTC))
    assert announced(begin, subscription) == "2027-04-26", "45 days before"
    (email,) = emails(begin)
    assert f"/subscriptions/{subscription}/price-change" in email.text and "agree" in email.text
    if said:
        as_ada(begin, answer, subscription, said, row(begin, subscription).id)
        as_ada(begin, answer, subscription, said, row(begin, subscription).id)
    live(begin, datetime(2027, 7, 12, tzinfo=UTC))
    assert (row(begin, subscription).status, amounts(begin, subscription)["2027-06"]) == (status, in_june)
    assert amounts(begin, subscription)["2027-07"] == in_june
    with begin.services.database.open(everything("a story reads")) as db:
        answers = [event.type for event in db.scalars(select(Event).where(Event.type.in_(
            ("subscription.price_change_accepted", "subscription.price_change_refused"))))]  # fmt: skip
    assert answers == ([f"subscription.price_change_{said}"] if said else [])


def test_an_answer_can_change_until_it_counts_and_belongs_to_its_change(begin: Cast) -> None:
    product = plan(begin)
    subscription, british = bought(begin, product, "Germany"), bought(begin, product, "Britain")
    with pytest.raises(Conflict, match="NO_PRICE_CHANGE"):
        as_ada(begin, answer, subscription, "accepted", "spr_unknown")
    rise(begin, product)
    live(begin, datetime(2027, 5, 2, tzinfo=UTC))
    change = row(begin, subscription).id
    as_ada(begin, answer, subscription, "accepted", change)
    as_ada(begin, answer, subscription, "refused", change)
    for said, error in (("maybe", Invalid), ("", Invalid)):
        with pytest.raises(error):
            as_ada(begin, answer, subscription, said, change)
    with pytest.raises(Conflict, match="NO_CONSENT_NEEDED"):
        as_ada(begin, answer, british, "refused", row(begin, british).id)
    with pytest.raises(Conflict, match="NO_PRICE_CHANGE"):
        as_ada(begin, answer, subscription, "accepted", row(begin, british).id)
    with begin.services.database.open(customer_of(begin.birch, begin.ben.customer_id), write=True) as db, pytest.raises(NotFound):
        answer(db, subscription, "accepted", change)
    live(begin, datetime(2027, 6, 12, tzinfo=UTC))
    assert amounts(begin, subscription)["2027-06"] == 1000
    assert amounts(begin, british)["2027-06"] == 1440, "tax included"
    with pytest.raises(Conflict, match="NO_PRICE_CHANGE"):
        as_ada(begin, answer, subscription, "accepted", change)


def test_a_rise_that_is_ordered_too_late_counts_from_a_later_renewal(begin: Cast) -> None:
    product = plan(begin)
    american, german = bought(begin, product, "California"), bought(begin, product, "Germany")
    live(begin, datetime(2027, 5, 28, tzinfo=UTC))
    rise(begin, product, at=clock.now())
    live(begin, datetime(2027, 8, 12, tzinfo=UTC))
    as_paid = amounts(begin, american)
    assert (as_paid["2027-06"], as_paid["2027-07"]) == (1200, 1200), "13 days are enough there"
    assert announced(begin, american) == "2027-05-28"
    assert f"{row(begin, german).applies_at:%Y-%m-%d}" == "2027-07-10", "30 days have to pass"


def test_who_cancels_after_the_announcement_pays_nothing_more(begin: Cast) -> None:
    product = plan(begin)
    subscription = bought(begin, product, "California")
    rise(begin, product)
    live(begin, datetime(2027, 5, 20, tzinfo=UTC))
    as_ada(begin, cancel_at_period_end, subscription)
    live(begin, datetime(2027, 7, 1, tzinfo=UTC))
    assert list(amounts(begin, subscription))[-1] == "2027-05"
    assert row(begin, subscription).status == "superseded"


def test_who_is_left_out_and_who_waits(begin: Cast) -> None:
    """Each case has its reason in the preview, and no email."""
    product, other = plan(begin), plan(begin)
    cases = {name: bought(begin, product, "California") for name in ("included", "cancelling", "external", "price", "paused", "on_hold")}
    act(begin, cancel_at_period_end, cases["cancelling"])
    act(begin, pause, cases["paused"])
    with begin.services.database.open(everything("cases of a story"), write=True) as db:
        for name, values in {
            "external": {"collected_by": "elsewhere"},
            "price": {"unit_minor": 1200},
            "on_hold": {"status": "on_hold"},
        }.items():
            db.execute(update(Subscription).where(Subscription.id == cases[name]).values(**values),
                       execution_options={"synchronize_session": False})  # fmt: skip
    seen = act(begin, lambda db: order.preview(db, product, NewPrice(1200, FIRST_OF_JUNE)))
    assert (seen.included, seen.old_total_minor, seen.total_minor) == (1, 1000, 1200)
    assert dict(seen.left_out) == {"cancelling": 1, "external": 1, "price": 1, "waiting": 2}
    (place,) = seen.places
    assert (place.place, place.count, place.needs_consent, place.earliest_at) == ("US-CA", 1, False, FIRST_OF_JUNE)
    with pytest.raises(Conflict, match="NOTHING_TO_CHANGE"):
        rise(begin, other)
    change = rise(begin, product)
    late = bought(begin, product, "California")
    live(begin, datetime(2027, 5, 18, tzinfo=UTC))
    assert len(emails(begin)) == 1 and row(begin, cases["included"]).price_change_id == change
    assert [row(begin, cases[name]) for name in ("cancelling", "external", "price", "paused", "on_hold")] == [None] * 5
    assert row(begin, late) is None, "who subscribes later has seen the price of that day"
    act(begin, resume, cases["paused"])
    live(begin, datetime(2027, 5, 20, tzinfo=UTC))
    assert row(begin, cases["paused"]).status == "planned", "it follows once it is active"


def test_a_trial_keeps_the_price_of_its_first_charge(begin: Cast) -> None:
    product = plan(begin)
    subscription = bought(begin, product, "California", trial_days=30)
    rise(begin, product, at=START)
    live(begin, datetime(2027, 4, 12, tzinfo=UTC))
    paid = amounts(begin, subscription)
    assert (paid["2027-02"], paid["2027-03"]) == (1000, 1200)


def test_add_ons_discounts_and_quantities_stay(begin: Cast) -> None:
    from billing.catalogue.discount_codes import create_discount

    product = plan(begin)
    with begin.services.database.open(system(begin.acorn), write=True) as db:
        addon = create_addon(db, begin.acorn, name="Backups", currency="EUR", price=300).id
        create_discount(db, begin.acorn, kind="percentage", amount=5000, code="HALF")
    subscription = bought(begin, product, "California", quantity=2, addons=[{"addon_id": addon, "quantity": 1}], discount_codes=["HALF"])
    rise(begin, product)
    live(begin, datetime(2027, 7, 12, tzinfo=UTC))
    change = row(begin, subscription)
    assert (change.old_total_minor, change.total_minor) == (1150, 1350)
    assert (amounts(begin, subscription)["2027-05"], amounts(begin, subscription)["2027-06"]) == (1150, 1350)


def test_a_plan_change_after_the_announcement_counts_instead(begin: Cast) -> None:
    old, new = begin.products["acorn.plan"], begin.products["acorn.more"]
    subscription = bought(begin, old, "California")
    rise(begin, old, to=9900)
    live(begin, datetime(2027, 5, 20, tzinfo=UTC))
    assert row(begin, subscription).status == "announced"
    with begin.services.database.open(system(begin.acorn), write=True) as db:
        quoted = quote(db, subscription, new, effective_at="next_billing_date", mode="full_immediately").id
    confirm(begin.services.processor, system(begin.acorn), quoted)
    live(begin, datetime(2027, 6, 12, tzinfo=UTC))
    assert amounts(begin, subscription)["2027-06"] == 5900 and row(begin, subscription).status == "superseded"


def test_a_moved_date_takes_the_price_along(begin: Cast) -> None:
    """An earlier date is charged at the old price, because the announcement named a later one."""
    product = plan(begin)
    subscription = bought(begin, product, "California")
    rise(begin, product)
    live(begin, datetime(2027, 5, 20, tzinfo=UTC))
    act(begin, move_next_date, subscription, datetime(2027, 6, 2, 9, tzinfo=UTC))
    live(begin, datetime(2027, 7, 3, tzinfo=UTC))
    paid = amounts(begin, subscription)
    assert (paid["2027-06"], paid["2027-07"]) == (1000, 1200)


def test_a_stopped_rise_changes_nothing_and_tells_those_who_were_told(begin: Cast) -> None:
    product = plan(begin)
    told, untold = bought(begin, product, "Germany"), bought(begin, product, "California")
    change = rise(begin, product)
    live(begin, datetime(2027, 5, 1, tzinfo=UTC))
    as_ada(begin, answer, told, "accepted", row(begin, told).id)
    act(begin, order.stop, change)
    act(begin, order.stop, change)
    live(begin, datetime(2027, 7, 12, tzinfo=UTC))
    assert {row(begin, item).status for item in (told, untold)} == {"stopped"}
    assert amounts(begin, told)["2027-06"] == amounts(begin, untold)["2027-06"] == 1000
    assert [email.subject for email in emails(begin)] == [
        "[test] The price of Plan changes on 10 June 2027",
        "[test] The price of Plan stays the same",
    ]
    again = rise(begin, product, at=datetime(2027, 9, 1, tzinfo=UTC))
    live(begin, datetime(2027, 9, 12, tzinfo=UTC))
    assert row(begin, untold).price_change_id == again and amounts(begin, untold)["2027-09"] == 1200


def test_a_lower_price_needs_no_notice(begin: Cast) -> None:
    product = plan(begin)
    subscription = bought(begin, product, "Germany")
    rise(begin, product, to=800, at=clock.now(), direction="lower")
    live(begin, datetime(2027, 2, 12, tzinfo=UTC))
    assert amounts(begin, subscription)["2027-02"] == 800 and not emails(begin)


def test_hostile_orders_are_refused(begin: Cast) -> None:
    product = plan(begin)
    bought(begin, product, "California")
    once = begin.products["acorn.once"]
    far = clock.now() + 400 * DAY
    for product_id, wanted, error in (
        (product, NewPrice(-1, FIRST_OF_JUNE), Invalid),
        (product, NewPrice(10**13, FIRST_OF_JUNE), Invalid),
        (product, NewPrice(1200, far), Invalid),
        (once, NewPrice(1200, FIRST_OF_JUNE), Conflict),
        (begin.products["birch.plan"], NewPrice(1200, FIRST_OF_JUNE), NotFound),
        (product, NewPrice(1000, FIRST_OF_JUNE), Conflict),
    ):
        with pytest.raises(error):
            act(begin, lambda db, one=product_id, price=wanted: order.order(db, one, price))
    with pytest.raises(NotFound):
        act(begin, order.stop, "prc_unknown")


def test_new_customers_pay_the_price_of_the_product(begin: Cast) -> None:
    """Raising the product's own price is another step. Together both have the same price."""
    product = plan(begin)
    old = bought(begin, product, "California")
    act(begin, lambda db: update_product(db, product, price={**MONTHLY, "price": 1200}))
    rise(begin, product)
    new = bought(begin, product, "California")
    live(begin, datetime(2027, 6, 12, tzinfo=UTC))
    assert amounts(begin, old)["2027-06"] == amounts(begin, new)["2027-06"] == 1200 and row(begin, new) is None
    assert timedelta(0) < DAY and charged(begin, new)
