"""Ada's discounts at Stripe are shown, and the next charge that is shown is what Stripe then charges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from billing.model.subscriptions import Subscription
from billing.pricing.next_charge import next_charge
from core.scope import system
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.stories.billed_by_stripe import Story, billed_by_stripe
from tests.stories.stripe_mirror import our_id

pytestmark = on_sqlite


@pytest.fixture
def story(cast: Cast, app: Any) -> Iterator[Story]:
    with billed_by_stripe(cast, app) as made:
        made.behave("ok")
        made.merchant.pay(made.open)
        yield made


def subscription(story: Story, there: dict[str, Any]) -> Subscription:
    with story.services.database.open(system(story.cedar)) as db:
        return db.scalars(select(Subscription).where(Subscription.id == our_id(story.services, story.cedar, there["id"]))).one()


def shown(story: Story, there: dict[str, Any]) -> int:
    with story.services.database.open(system(story.cedar)) as db:
        return next_charge(db, subscription(story, there))


def is_shown_and_charged(story: Story, there: dict[str, Any], *expected: int) -> None:
    """The next charges have these amounts, here before and at Stripe afterwards."""
    for amount in expected:
        story.follow_events()
        assert shown(story, there) == amount
        story.merchant.now = there["items"]["data"][0]["current_period_end"]
        assert story.merchant.renew(there)["total"] == amount
    story.follow_events()


@pytest.mark.parametrize(("terms", "expected"), [
    ({"percent_off": 20}, (1440, 1440, 1440)), ({"percent_off": 12.5, "duration": "once"}, (1574, 1800)),
    ({"amount_off": 300, "currency": "eur"}, (1440, 1440)), ({"amount_off": 99_00, "currency": "eur"}, (0, 0)),
    ({"percent_off": 50, "duration": "repeating", "months": 3}, (900, 900, 1800, 1800)),
    ({"percent_off": 33.33}, (1200, 1200)), ({"amount_off": 300, "currency": "usd"}, None),
])  # fmt: skip
def test_the_discount_of_a_subscription_is_on_its_next_charges(
    story: Story, terms: dict[str, Any], expected: tuple[int, ...] | None
) -> None:
    merchant = story.merchant
    merchant.now = story.late["items"]["data"][0]["current_period_start"]
    merchant.discount(merchant.coupon("Spring", "SPRING", **terms), story.late)
    if expected is None:  # Stripe has no amount in this currency
        story.follow_events()
        assert shown(story, story.late) == 1800
        story.late["discounts"] = []
        return
    is_shown_and_charged(story, story.late, expected[0])
    assert "SPRING" in story.ada.get(story.url).text or terms.get("duration") == "once"
    is_shown_and_charged(story, story.late, *expected[1:])
    assert ("SPRING" in story.ada.get(story.url).text) == ("duration" not in terms)


def test_own_discounts_come_before_those_of_the_customer(story: Story) -> None:
    merchant = story.merchant
    second = merchant.subscribe(story.buyer, (merchant.price("Cedar Calendar", 1000), 1))
    merchant.discount(merchant.coupon("Staff", percent_off=10), story.buyer)
    merchant.discount(merchant.coupon("Spring", percent_off=50), story.late)
    is_shown_and_charged(story, story.late, 900)
    is_shown_and_charged(story, second, 1080)
    assert "Staff" in story.ada.get(f"/subscriptions/{our_id(story.services, story.cedar, second['id'])}").text, "the name of the coupon"
    story.buyer["discount"] = None
    merchant.account.emit("customer.discount.deleted", {"id": "di_1", "object": "discount", "customer": story.buyer["id"]})
    is_shown_and_charged(story, second, 1200)


def test_discounts_of_an_item_and_of_a_product_leave_the_others_alone(story: Story) -> None:
    """The item's comes first. Two on the whole apply one after the other."""
    merchant = story.merchant
    plan, seats, storage = merchant.price("Cedar Team", 2000), merchant.price("Seats", 500), merchant.price("Storage", 700)
    bought = merchant.subscribe(story.buyer, (plan, 1), (seats, 3), (storage, 1))
    merchant.discount(merchant.coupon("Seats", percent_off=50), bought["items"]["data"][1])
    is_shown_and_charged(story, bought, (2000 + 750 + 700) * 6 // 5)
    merchant.discount(merchant.coupon("Team", "TEAM", percent_off=10, products=[plan["product"]]), bought)
    is_shown_and_charged(story, bought, (1800 + 750 + 700) * 6 // 5)
    merchant.discount(merchant.coupon("Loyal", amount_off=250, currency="eur"), bought)
    is_shown_and_charged(story, bought, 3000 * 6 // 5)
    said = story.ada.get(f"/subscriptions/{our_id(story.services, story.cedar, bought['id'])}").text
    assert "Seats" in said and "TEAM" in said and "Loyal" in said and "€36.00" in said
    merchant.discount(merchant.coupon("Other", percent_off=90, products=["prod_of_nobody"]), bought)
    is_shown_and_charged(story, bought, 3600)


def test_a_pull_reads_each_coupon_once_and_survives_one_that_it_may_not_read(story: Story) -> None:
    merchant = story.merchant
    coupon = merchant.coupon("Spring", "SPRING", percent_off=20)
    others = [merchant.subscribe(story.buyer, (merchant.price(f"Cedar {n}", 1000), 1)) for n in range(4)]
    for there in others:
        merchant.discount(coupon, there)
    merchant.account.events.clear()
    story.stand_in.calls.clear()
    story.pull()
    read = [path for _method, path, _status in story.stand_in.calls if "coupons" in path or "promotion_codes" in path]
    assert len(read) == 2 and {shown(story, there) for there in others} == {960}
    merchant.account.refused = {"GET /v1/coupons/{coupon}", "GET /v1/promotion_codes/{promotion_code}"}
    merchant.change(others[0], metadata={"changed": "yes"})
    story.pull()
    assert shown(story, others[0]) == 1200, "its terms are unknown"
