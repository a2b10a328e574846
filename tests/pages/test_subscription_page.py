"""The page of a subscription: its state and the actions come first, and the history repeats no payment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from billing.model.parties import Business
from billing.model.subscriptions import Subscription
from billing.subscriptions.cancel import cancel_at_period_end
from billing.subscriptions.pause import pause
from core import clock
from core.formatting import date_words
from core.scope import system
from tests import unpaid_renewals
from tests.cast import Cast
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


@pytest.fixture
def ada(visitor: Callable[..., Visitor], cast: Cast) -> Visitor:
    item = visitor()
    item.sign_in(cast.ADA)
    return item


def slip(ada: Visitor, cast: Cast) -> tuple[str, list[str], str]:
    """The slip below the title: its text, the labels of its buttons, and the label of the main one."""
    found: Any = ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}").soup.select_one(".slip.now")
    assert found.find_previous(class_="head") and not found.find_previous(class_="sec-head")
    buttons = [item.find(string=True).strip() for item in found.select(".btn")]
    return found.div.get_text(" ", strip=True), buttons, next((item.find(string=True).strip() for item in found.select(".btn.main")), "")


def subscription(cast: Cast) -> Subscription:
    return unpaid_renewals.subscription(cast, cast.ada_at_acorn)


def test_an_active_subscription_shows_its_renewal_and_what_can_be_changed(ada: Visitor, cast: Cast) -> None:
    text, buttons, main = slip(ada, cast)
    day = date_words(subscription(cast).next_billing_at, "en", "Europe/London", "sentence")
    assert text == f"Active Renews on {day} . You’ve paid up to then." and not main
    assert buttons == ["Change plan", "Pause subscription", "Cancel subscription"]


def test_a_paused_subscription_shows_since_when_and_can_be_resumed(ada: Visitor, cast: Cast) -> None:
    with cast.services.database.open(unpaid_renewals.scope_of(cast.ada_at_acorn), write=True) as db:
        pause(db, cast.ada_at_acorn.subscription_id)
    text, buttons, main = slip(ada, cast)
    day = date_words(clock.now(), "en", "Europe/London", "sentence")
    assert text.startswith(f"Paused Paused since {day} , until you resume it.") and "paid days left" in text
    assert main == "Resume subscription" and buttons == ["Resume subscription", "Cancel subscription"]


def test_an_ending_subscription_can_be_kept(ada: Visitor, cast: Cast) -> None:
    with cast.services.database.open(unpaid_renewals.scope_of(cast.ada_at_acorn), write=True) as db:
        cancel_at_period_end(db, cast.ada_at_acorn.subscription_id)
    text, buttons, main = slip(ada, cast)
    assert text.startswith("Ending It ends on ") and text.endswith("You can undo this until then.")
    assert buttons == [main] == ["Keep subscription"]
    ada.submit("cancellation/revocation")
    assert not subscription(cast).cancel_at_period_end


def test_an_unpaid_subscription_is_paid_from_there(ada: Visitor, cast: Cast) -> None:
    unpaid_renewals.hold(cast, cast.ada_at_acorn)
    text, buttons, main = slip(ada, cast)
    assert text.startswith("On hold On hold since ") and "€29.00 is due." in text
    assert main == "Pay €29.00" == buttons[0] and buttons[-1] == "Cancel subscription"
    assert len(ada.page.soup.select("main .btn.main")) == 1  # type: ignore[union-attr]


def test_without_the_right_to_cancel_the_slip_names_whom_to_ask(ada: Visitor, cast: Cast) -> None:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        row = db.scalars(select(Business)).one()
        row.settings = {**row.settings, "cancel": False}
    assert slip(ada, cast)[1][-1] == "Cancel subscription", "consumers always can"
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == cast.ada_at_acorn.subscription_id)).one().customer_type = "business"
    text, buttons, _main = slip(ada, cast)
    assert "To cancel, contact Acorn Notes. help@acorn.example" in text and "Cancel subscription" not in buttons


def test_the_history_is_folded_and_leaves_payments_to_their_list(ada: Visitor, cast: Cast) -> None:
    ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}")
    soup: Any = ada.page.soup  # type: ignore[union-attr]
    folded = soup.select_one("details.sec-fold")
    assert not folded.has_attr("open") and folded.h2.get_text() == "History"
    sentences = [item.get_text() for item in folded.select(".story li > span")]
    assert folded.summary.span.get_text() == f"View {len(sentences)} events" and sentences == ["Started.", "Created."]
    assert soup.select_one("section[aria-labelledby=pay] tbody tr") and "€29.00" not in folded.get_text()
