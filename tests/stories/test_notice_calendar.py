"""A year of notices in four countries: every email on its day, none doubled, none after the subscription was cancelled or paused."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from billing.catalogue.products import create_product
from billing.customers.archive_business import archive_business
from billing.model.parties import Business
from billing.model.payments import Payment
from billing.model.price_changes import SubscriptionPriceChange
from billing.model.sent_notices import SentNotice
from billing.model.subscriptions import Subscription
from billing.subscriptions.cancel import cancel_at_period_end, keep
from billing.subscriptions.pause import pause, resume
from billing.subscriptions.reschedule import move_next_date
from billing.subscriptions.subscribe import subscribe
from core import clock
from core.mailbox import MailboxEmail
from core.outbox import Event
from core.scope import everything, system
from tests.cast import MONTHLY, Cast
from tests.stories.business_and_buyer import turn_to

START, END = datetime(2027, 1, 10, 9, tzinfo=UTC), datetime(2028, 2, 20, tzinfo=UTC)
DAY = timedelta(days=1)
PLANS = {"monthly": ("Month", 1, 0), "half-yearly": ("Month", 6, 0), "yearly": ("Year", 1, 0), "trial": ("Month", 1, 30)}
BILLING: dict[str, dict[str, str]] = {
    "California": {"country": "US", "state": "CA", "street": "1 Pier", "city": "San Diego", "zipcode": "92101"},
    "France": {"country": "FR"},
    "Germany": {"country": "DE"},
    "India": {"country": "IN"},
    "Australia": {"country": "AU"},
}
RENEWS, TRIAL = "[test] {plan} renews soon", "[test] Your trial of {plan} ends soon"
FROM_MARCH = [f"2027-{month:02}" for month in range(3, 13)] + ["2028-01", "2028-02"]
CALENDAR: dict[tuple[str, str], list[tuple[str, str]]] = {
    ("California", "monthly"): [("2027-12-31", RENEWS)],
    ("California", "half-yearly"): [("2027-12-31", RENEWS)],
    ("California", "yearly"): [("2027-12-16", RENEWS)],
    ("California", "trial"): [("2027-02-01", TRIAL), ("2028-01-30", RENEWS)],
    ("France", "monthly"): [("2028-01-02", RENEWS)],
    ("France", "half-yearly"): [("2027-05-31", RENEWS), ("2027-12-01", RENEWS)],
    ("France", "yearly"): [("2027-12-01", RENEWS)],
    ("France", "trial"): [("2027-02-01", TRIAL), ("2028-02-01", RENEWS)],
    ("Germany", "monthly"): [("2028-01-02", RENEWS)],
    ("Germany", "half-yearly"): [("2027-07-02", RENEWS), ("2028-01-02", RENEWS)],
    ("Germany", "yearly"): [("2028-01-02", RENEWS)],
    ("Germany", "trial"): [("2027-02-01", TRIAL), ("2028-02-01", RENEWS)],
    ("India", "monthly"): [(f"{month}-06", RENEWS) for month in ["2027-02", *FROM_MARCH]],
    ("India", "half-yearly"): [("2027-07-06", RENEWS), ("2028-01-06", RENEWS)],
    ("India", "yearly"): [("2028-01-06", RENEWS)],
    ("India", "trial"): [("2027-02-01", TRIAL)] + [(f"{month}-05", RENEWS) for month in FROM_MARCH],
    ("Australia", "monthly"): [("2027-12-31", RENEWS)],
    ("Australia", "yearly"): [("2027-12-16", RENEWS)],
}
"""(where, plan) → the day (UTC) and the subject of every notice until `END`."""


@pytest.fixture
def begin(cast: Cast) -> Cast:
    """The cast on the first day. Their other subscriptions have ended."""
    with cast.services.database.open(everything("only the subscriptions of the story run"), write=True) as db:
        db.execute(update(Subscription).values(status="cancelled"), execution_options={"synchronize_session": False})
    turn_to(START)
    return cast


def bought(cast: Cast, place: str, plan: str) -> str:
    """Ada buys a plan of Acorn with this billing address. Returns the subscription's id."""
    interval, count, trial_days = PLANS[plan]
    price = {**MONTHLY, "payment_frequency_interval": interval, "payment_frequency_count": count}
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        product_id = create_product(db, cast.acorn, name=f"{place} {plan}", price=price, tax_category="saas").id
    started = subscribe(
        cast.services.processor, system(cast.acorn), customer_id=cast.ada_at_acorn.customer_id, product_id=product_id,
        payment_method_id=cast.ada_at_acorn.method_id, trial_days=trial_days, billing=BILLING[place],
    )  # fmt: skip
    return started.subscription_id or ""


def live(cast: Cast, until: datetime) -> None:
    """Let the time pass. The clock stops a minute after everything that the worker has to do on time."""
    columns = (Subscription.notice_at, Subscription.next_billing_at, Subscription.charge_from)
    while True:
        for _ in range(2):
            cast.services.worker.drain(housekeeping=False)
        if clock.now() >= until:
            return
        with cast.services.database.open(everything("what comes next in a story")) as db:
            running = Subscription.status.in_(("active", "paused", "on_hold"))
            upcoming = [db.scalar(select(func.min(column)).where(column > clock.now(), running)) for column in columns]
            announce_at = SubscriptionPriceChange.announce_at
            upcoming.append(db.scalar(select(func.min(announce_at)).where(announce_at > clock.now())))
        turn_to(min([until, *(at + timedelta(minutes=1) for at in upcoming if at)]))


def sent(cast: Cast, subscription_id: str = "") -> list[tuple[str, str]]:
    """Return (day, subject) of every notice, from the history. Each has exactly one email with this subject."""
    with cast.services.database.open(everything("a story reads its notices")) as db:
        events = list(db.scalars(select(Event).where(Event.type == "subscription.renewal_reminder").order_by(Event.id)))
        subjects = list(db.scalars(select(MailboxEmail.subject).where(MailboxEmail.subject.endswith("soon"))))
    found = [(event.noun_id, f"{event.at:%Y-%m-%d}", _subject(event.data)) for event in events]
    assert Counter(subjects) == Counter(subject for _, _, subject in found)
    return [(day, subject) for noun, day, subject in found if subscription_id in ("", noun)]


def _subject(data: dict[str, Any]) -> str:
    return (TRIAL if data["trial"] else RENEWS).format(plan=data["product"])


def email(cast: Cast, subject: str) -> MailboxEmail:
    with cast.services.database.open(everything("a story reads an email")) as db:
        found = db.scalars(select(MailboxEmail).where(MailboxEmail.subject == subject)).one()
        db.expunge_all()
        return found


def charged(cast: Cast, subscription_id: str) -> list[datetime]:
    with cast.services.database.open(everything("a story reads")) as db:
        paid = select(Payment.created_at).where(Payment.subscription_id == subscription_id, Payment.amount_minor > 0)
        return list(db.scalars(paid.order_by(Payment.created_at)))


def change(cast: Cast, **settings: Any) -> None:
    with cast.services.database.open(everything("settings of a story"), write=True) as db:
        business = db.scalars(select(Business).where(Business.business_id == cast.acorn)).one()
        business.settings = {**business.settings, **settings}


def act(cast: Cast, command: Any, *args: Any) -> None:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        command(db, *args)


def test_a_year_of_notices(begin: Cast) -> None:
    ids = {key: bought(begin, *key) for key in CALENDAR}
    live(begin, END)
    for (place, plan), expected in CALENDAR.items():
        name = f"{place} {plan}"
        assert sent(begin, ids[place, plan]) == [(day, subject.format(plan=name)) for day, subject in expected], name
    yearly = charged(begin, ids["California", "yearly"])
    assert [f"{at:%Y-%m-%d}" for at in yearly] == ["2027-01-10", "2028-01-10"], "a notice in time delays no charge"
    assert len(charged(begin, ids["India", "monthly"])) == 14


def test_the_french_notice_has_the_last_day_to_cancel(begin: Cast) -> None:
    bought(begin, "France", "yearly")
    live(begin, datetime(2027, 12, 2, tzinfo=UTC))
    notice = email(begin, "[test] France yearly renews soon")
    assert "You can cancel until 9 January 2028" in notice.text and "You can cancel until 9 January 2028" in notice.html
    assert "€24.17" in notice.text and "10 January 2028" in notice.text and "every year" in notice.text
    assert f"/business/{begin.acorn}/subscriptions/" in notice.text and "/cancellation" in notice.text
    assert "Turn this reminder off" not in notice.text, "the law demands it"


def test_no_notice_after_cancelling_or_pausing_and_one_after_that_was_undone(begin: Cast) -> None:
    cancelled, paused = (bought(begin, "Germany", plan) for plan in ("yearly", "half-yearly"))
    act(begin, cancel_at_period_end, cancelled)
    act(begin, pause, paused)
    live(begin, datetime(2028, 1, 5, tzinfo=UTC))
    assert sent(begin) == []
    act(begin, keep, cancelled)
    live(begin, datetime(2028, 1, 6, tzinfo=UTC))
    assert sent(begin) == [("2028-01-05", "[test] Germany yearly renews soon")], "late, but not demanded by law: the charge is made in time"
    act(begin, resume, paused)
    live(begin, datetime(2028, 1, 12, tzinfo=UTC))
    assert f"{charged(begin, cancelled)[-1]:%Y-%m-%d}" == "2028-01-10"


def test_cancelled_between_the_notice_and_its_email(begin: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker dies after it recorded the notice. The customer cancels, and then the email is no longer true."""
    from billing.renewals import dunning

    subscription_id = bought(begin, "Germany", "yearly")
    live(begin, datetime(2028, 1, 2, tzinfo=UTC))
    turn_to(datetime(2028, 1, 2, 10, tzinfo=UTC))
    dunning.run_due(begin.services.processor)
    act(begin, cancel_at_period_end, subscription_id)
    live(begin, datetime(2028, 1, 12, tzinfo=UTC))
    with begin.services.database.open(everything("a story reads")) as db:
        assert len(list(db.scalars(select(SentNotice).where(SentNotice.noun_id == subscription_id)))) == 1
        assert not list(db.scalars(select(MailboxEmail).where(MailboxEmail.subject.endswith("soon"))))


def test_a_moved_date_has_a_notice_of_its_own_and_the_same_date_has_none(begin: Cast) -> None:
    subscription_id = bought(begin, "Germany", "yearly")
    live(begin, datetime(2028, 1, 3, tzinfo=UTC))
    act(begin, move_next_date, subscription_id, datetime(2028, 3, 1, 9, tzinfo=UTC))
    act(begin, move_next_date, subscription_id, datetime(2028, 1, 10, 9, tzinfo=UTC))
    live(begin, datetime(2028, 1, 4, tzinfo=UTC))
    assert len(sent(begin)) == 1
    act(begin, move_next_date, subscription_id, datetime(2028, 3, 1, 9, tzinfo=UTC))
    live(begin, datetime(2028, 3, 2, tzinfo=UTC))
    assert [day for day, _ in sent(begin)] == ["2028-01-02", "2028-02-22"]


def test_a_charge_waits_for_the_notice_that_the_law_demands(begin: Cast) -> None:
    """The worker was down for two months. Nobody is charged without notice, and nobody loses access meanwhile."""
    subscription_id = bought(begin, "California", "yearly")
    live(begin, datetime(2027, 11, 20, tzinfo=UTC))
    turn_to(datetime(2028, 1, 20, 9, tzinfo=UTC))
    live(begin, datetime(2028, 2, 4, 8, tzinfo=UTC))
    assert sent(begin) == [("2028-01-20", "[test] California yearly renews soon")]
    with begin.services.database.open(everything("a story reads")) as db:
        waiting = db.scalars(select(Subscription).where(Subscription.id == subscription_id)).one()
        assert (waiting.status, len(charged(begin, subscription_id))) == ("active", 1)
        assert waiting.charge_from is not None and f"{waiting.charge_from:%Y-%m-%d}" == "2028-02-04"
    live(begin, datetime(2028, 2, 5, tzinfo=UTC))
    assert [f"{at:%Y-%m-%d}" for at in charged(begin, subscription_id)] == ["2027-01-10", "2028-02-04"]
    with begin.services.database.open(everything("a story reads")) as db:
        renewed = db.scalars(select(Subscription).where(Subscription.id == subscription_id)).one()
        assert f"{renewed.next_billing_at:%Y-%m-%d}" == "2029-01-10", "the period keeps its dates"
    assert len(sent(begin)) == 1


def test_a_date_moved_into_the_window_waits_too(begin: Cast) -> None:
    """India: never within a day of the announcement."""
    subscription_id = bought(begin, "India", "monthly")
    live(begin, START + DAY)
    act(begin, move_next_date, subscription_id, START + DAY + timedelta(hours=2))
    live(begin, START + DAY + timedelta(hours=23))
    assert len(charged(begin, subscription_id)) == 1 and len(sent(begin)) == 1
    live(begin, START + 2 * DAY + timedelta(hours=2))
    assert len(charged(begin, subscription_id)) == 2 and len(sent(begin)) == 1


def test_a_business_switches_off_only_what_no_law_demands(begin: Cast) -> None:
    change(begin, trial_notices=False, renewal_notices=False, card_notices=False)
    for place in ("California", "Germany"):
        bought(begin, place, "trial")
        bought(begin, place, "yearly")
    live(begin, datetime(2028, 1, 15, tzinfo=UTC))
    assert {subject for _, subject in sent(begin)} == {
        "[test] Your trial of California trial ends soon",
        "[test] California yearly renews soon",
    }


def test_no_notice_of_what_another_system_bills_nor_of_a_closed_business(begin: Cast) -> None:
    external, ours = bought(begin, "California", "yearly"), bought(begin, "California", "half-yearly")
    with begin.services.database.open(everything("who bills in a story"), write=True) as db:
        db.execute(
            update(Subscription).where(Subscription.id == external).values(collected_by="elsewhere"),
            execution_options={"synchronize_session": False},
        )
    live(begin, datetime(2027, 12, 20, tzinfo=UTC))
    act(begin, archive_business, begin.acorn)
    live(begin, datetime(2028, 2, 1, tzinfo=UTC))
    assert sent(begin) == [] and len(charged(begin, ours)) == 2


def test_a_short_pause_after_the_notice_does_not_delay_the_charge(begin: Cast) -> None:
    """The charge is announced 25 days before. A pause of a minute an hour before it moves it by a minute, and the notice still counts."""
    subscription_id = bought(begin, "California", "yearly")
    due = datetime(2028, 1, 10, 9, tzinfo=UTC)
    live(begin, due - timedelta(hours=1))
    assert len(sent(begin)) == 1
    act(begin, pause, subscription_id)
    turn_to(clock.now() + timedelta(minutes=1))
    act(begin, resume, subscription_id)
    live(begin, due + timedelta(hours=1))
    assert len(charged(begin, subscription_id)) == 2
