"""A plan change whose payment page was left open is found under Continue, finished there, and paid once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.cast import VISA, Cast
from tests.stories.ada_subscription import Ada
from tests.visitor import Visitor


@pytest.fixture
def ada(cast: Cast) -> Ada:
    item = Ada(cast)
    item.forget_cards()
    return item


@pytest.fixture
def browser(visitor: Callable[..., Visitor], cast: Cast) -> Visitor:
    item = visitor()
    item.sign_in(cast.ADA)
    return item


def begun(ada: Ada) -> tuple[str, int]:
    """Return the link of the open page, and the amount due there."""
    shown = ada.quote(ada.max)
    done = ada.confirm(shown.id)
    assert done.status == "requires_payment_method" and done.link
    return done.link, shown.due_minor


def continues(page: Any) -> list[str]:
    return [item["href"] for item in page.soup.find_all("a", href=True) if item.get_text(" ").strip().startswith("Continue")]


@pytest.mark.parametrize("door", ["/", "/business/{acorn}/"])
def test_a_plan_change_that_was_left_open_is_continued_from_every_page(ada: Ada, browser: Visitor, cast: Cast, door: str) -> None:
    link, due = begun(ada)
    door = door.format(acorn=cast.acorn)
    of_subscription = f"{door}subscriptions/{ada.buyer.subscription_id}"
    assert continues(browser.get(door)) == [link] == continues(browser.get(of_subscription)), "the page that is open, and no other"
    browser.get(link)
    browser.submit("/sandbox/pages/", number=VISA, expiry="06/40", cvc="123", name="Ada Marlow")
    cast.services.gateway.deliver_due()
    browser.services.worker.drain()
    assert ada.subscription.product_id == ada.max and [payment.amount_minor for payment in ada.payments("plan_change")] == [due]
    assert continues(browser.get(door)) == [] == continues(browser.get(of_subscription))
    assert "Acorn Max" in browser.get(of_subscription).h1


def test_leaving_the_page_again_changes_nothing_and_it_can_be_continued_later(ada: Ada, browser: Visitor) -> None:
    link, _due = begun(ada)
    browser.get(link)
    browser.get("/")
    assert continues(browser.page) == [link] and ada.subscription.product_id == ada.team
    assert [payment.status for payment in ada.payments("plan_change")] == ["requires_payment_method"]


def test_a_plan_change_given_up_at_the_page_is_not_offered_again(ada: Ada, browser: Visitor, cast: Cast) -> None:
    link, _due = begun(ada)
    browser.get(link)
    browser.submit("/cancel")
    cast.services.gateway.deliver_due()
    browser.services.worker.drain()
    assert continues(browser.get("/")) == [] and ada.subscription.product_id == ada.team
    assert ada.quote(ada.max).due_minor, "another change may begin"
