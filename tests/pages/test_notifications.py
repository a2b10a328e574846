"""Reminders are choices of the customer, per business and for all; the link in the email switches one off. What the law demands stays."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import Identity, IdentityEmail
from billing.model.parties import Customer
from billing.model.subscriptions import Subscription
from billing.renewals import dunning
from core import clock, mail
from core.outbox import Event
from core.scope import everything, system
from tests.cast import Cast
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both

SUBJECT = "[test] Acorn Team renews soon"


def yearly(cast: Cast, days: float, **billing: str) -> None:
    """Ada's subscription at Acorn renews in some days, for a year."""
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        row = db.scalars(select(Subscription)).one()
        row.interval, row.next_billing_at = "Year", clock.now() + timedelta(days=days)
        row.billing = {**row.billing, **billing}


def work(cast: Cast) -> None:
    dunning.run_due(cast.services.processor)
    dunning.run_due(cast.services.processor)


def off(cast: Cast) -> dict[str, Any]:
    with cast.services.database.open(everything("a test reads")) as db:
        return {row.business_id: row.notices_off for row in db.scalars(select(Customer).where(Customer.email_key == cast.ADA))}


@pytest.fixture
def ada(visitor: Callable[..., Visitor], cast: Cast) -> Visitor:
    ada = visitor()
    ada.sign_in(cast.ADA)
    return ada


def test_the_customer_chooses_for_each_business_and_for_all(ada: Visitor, cast: Cast) -> None:
    page = ada.get("/notifications")
    assert page.h1 == "Notifications" and page.text.count("Before a subscription renews") == 2
    boxes = [box["value"] for box in page.soup.find_all("input", {"name": "on"})]
    assert len(boxes) == 6 and all(box.has_attr("checked") for box in page.soup.find_all("input", {"name": "on"}))
    acorn, birch = cast.ada_at_acorn.customer_id, cast.ada_at_birch.customer_id
    ada.post("/notifications", {"row": [acorn, birch], "on": [f"{birch}:renewal", f"{acorn}:trial_end", f"{acorn}:renewal"]})
    assert off(cast) == {cast.acorn: ["card_expiring"], cast.birch: ["trial_end", "card_expiring"]}
    assert "Saved. Nothing changed." in ada.post("/notifications", {"row": [acorn], "on": [f"{acorn}:trial_end", f"{acorn}:renewal"]}).text
    ada.post("/notifications", {"all": "off"})
    assert off(cast) == dict.fromkeys((cast.acorn, cast.birch), ["trial_end", "renewal", "card_expiring"])
    ada.post("/notifications", {"all": "on"})
    assert off(cast) == dict.fromkeys((cast.acorn, cast.birch))
    assert "The reminders by email were changed." in ada.get("/activity").text
    yearly(cast, 5)
    ada.post("/notifications", {"row": [acorn], "on": []})
    work(cast)
    assert [email for email in ada.emails(cast.ada_at_acorn.email) if email.subject == SUBJECT] == []


def test_rows_of_others_and_unknown_reminders_change_nothing(ada: Visitor, cast: Cast) -> None:
    before = off(cast)
    ada.post("/notifications", {"row": [cast.ben.customer_id], "on": []}, expect=404)
    ada.post("/notifications", {"row": [cast.ada_at_acorn.customer_id, cast.ben.customer_id], "on": []}, expect=404)
    ada.post("/notifications", {"on": [f"{cast.ben.customer_id}:renewal"]}, expect=404)
    acorn = cast.ada_at_acorn.customer_id
    everything_on = [f"{acorn}:{name}" for name in ("trial_end", "renewal", "card_expiring", "price_change", "../../x")]
    ada.post("/notifications", {"row": [acorn], "on": everything_on})
    assert off(cast) == before
    with cast.services.database.open(everything("a test reads")) as db:
        assert db.scalar(select(Customer.notices_off).where(Customer.customer_id == cast.ben.customer_id)) is None


def test_the_link_in_the_email_switches_off_this_reminder_only(
    ada: Visitor, visitor: Callable[..., Visitor], cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers: list[dict[str, str]] = []
    kept = mail.mailbox.put
    monkeypatch.setattr(mail.mailbox, "put", lambda database, id, message: (headers.append(message.headers), kept(database, id, message)))
    yearly(cast, 5)
    work(cast)
    (email,) = [email for email in ada.emails(cast.ada_at_acorn.email) if email.subject == SUBJECT]
    (url,) = re.findall(r"http://localhost(/notices/\S+)", email.text)
    assert url in email.html
    assert {"List-Unsubscribe": f"<http://localhost{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"} in headers
    stranger = visitor()
    assert stranger.get(url).h1 == "Turn this reminder off?" and off(cast)[cast.acorn] is None, "a mail scanner opens links"
    stranger.get(url[:-3] + "abc", expect=404)
    program = stranger.client.post(url, data={"List-Unsubscribe": "One-Click"})  # RFC 8058: no cookie, no token of a form
    assert program.status_code == 200 and off(cast)[cast.acorn] == ["renewal"]
    assert stranger.get(url).status == 200 and stranger.submit().h1 == "This reminder is off" and off(cast)[cast.acorn] == ["renewal"]
    with cast.services.database.open(everything("a test reads")) as db:
        assert len(list(db.scalars(select(Event).where(Event.type == "notices.changed")))) == 1, "once, however often it is sent"
    yearly(cast, 4)
    work(cast)
    assert len([email for email in ada.emails(cast.ada_at_acorn.email) if email.subject == SUBJECT]) == 1


def test_what_the_law_demands_is_sent_anyway(ada: Visitor, cast: Cast) -> None:
    ada.post("/notifications", {"all": "off"})
    yearly(cast, 20, country="US", state="California")
    work(cast)
    (email,) = [email for email in ada.emails(cast.ada_at_acorn.email) if email.subject == SUBJECT]
    assert "/notices/" not in email.text + email.html and "/cancellation" in email.text
    assert "A renewal reminder was sent" in ada.get("/activity").text, "provable"


def test_dates_are_in_the_time_zone_of_the_customer(ada: Visitor, cast: Cast) -> None:
    with cast.services.database.open(everything("the zone of a test"), write=True) as db:
        person = db.scalars(select(Identity).join(IdentityEmail, IdentityEmail.identity_id == Identity.identity_id)
                            .where(IdentityEmail.email_key == cast.ADA)).one()  # fmt: skip
        person.zone = "Pacific/Auckland"
    yearly(cast, 5)
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        row = db.scalars(select(Subscription)).one()
        row.next_billing_at = (clock.now() + timedelta(days=5)).replace(hour=20, minute=0)
        day = row.next_billing_at + timedelta(days=1)
    work(cast)
    (email,) = [email for email in ada.emails(cast.ada_at_acorn.email) if email.subject == SUBJECT]
    assert f"renews on {day.day} {day:%B %Y}" in email.text


def test_the_page_of_a_business_shows_what_the_business_does_not_send(visitor: Callable[..., Visitor], cast: Cast) -> None:
    from billing.model.parties import Business

    with cast.services.database.open(system(cast.acorn), write=True) as db:
        business = db.scalars(select(Business)).one()
        business.settings = {**business.settings, "renewal_notices": False}
    ada = visitor()
    ada.sign_in(cast.ADA, f"/login/{cast.acorn}")
    page = ada.get(f"/business/{cast.acorn}/notifications")
    assert "Acorn Notes sends this only where the law requires it" in page.text
    ada.submit("notifications")
    assert off(cast)[cast.acorn] is None, "saving the page keeps the choice for later"
