"""Pages, emails and the API say what the table of rights says, for each place that was looked into and one that was not."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from billing.model.parties import Business
from billing.model.subscriptions import Subscription
from billing.renewals import dunning
from billing.rights.table import OCCASIONS, TERMS, cancel_labels, cancel_rule, consent_rule, notice_rule, withdraw_labels, withdraw_rule
from core import clock
from core.languages import supported
from core.scope import everything, system
from tenants.api_keys import new_key
from tests.cast import Buyer, Cast
from tests.stories.business_and_buyer import turn_to
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people read; other tests run these statements on both engines
PLACES = ("DE", "FR", "IT", "ES", "NL", "GB", "US-CA", "US-NY", "US-MA", "CA-QC", "IN", "JP", "AU")
NOON = datetime(2027, 6, 1, 12, tzinfo=UTC)


def address(place: str) -> dict[str, str]:
    country, _, state = place.partition("-")
    return {"country": country, **({"state": state} if state else {})}


def bought_in(cast: Cast, place: str, customer_type: str, **more: Any) -> Buyer:
    """Ada bought at Birch today, with an address in this place. Her other subscriptions have ended."""
    buyer = cast.ada_at_birch
    with cast.services.database.open(everything("a purchase in a place"), write=True) as db:
        others = update(Subscription).where(Subscription.id != buyer.subscription_id).values(status="cancelled")
        db.execute(others, execution_options={"synchronize_session": False})
        row = db.scalars(select(Subscription).where(Subscription.id == buyer.subscription_id)).one()
        row.billing, row.customer_type, row.concluded_at = address(place), customer_type, clock.now()
        for name, value in more.items():
            setattr(row, name, value)
    return buyer


@pytest.mark.parametrize("place", PLACES)
def test_the_public_pages_have_the_words_of_the_sellers_country(cast: Cast, visitor: Any, place: str) -> None:
    country = address(place)["country"]
    with cast.services.database.open(everything("where Birch is established"), write=True) as db:
        db.scalars(select(Business).where(Business.business_id == cast.birch)).one().address = {"country": country}
    someone: Visitor = visitor()
    for language in supported():
        for path, labels in (("cancel", cancel_labels), ("withdraw", withdraw_labels)):
            page = someone.get(f"/{path}/{cast.birch}", headers={"Accept-Language": language.replace("_", "-")})
            wanted = labels(language, country)
            buttons = [" ".join(item.get_text().split()) for item in page.soup.select("main form button[type=submit]")]  # type: ignore[union-attr]
            assert [label.second for label in wanted] == buttons[: len(wanted)], (place, language, path)
            assert all(label.first in page.text for label in wanted), (place, language, path)


@pytest.mark.parametrize("customer_type", ["consumer", "business"])
@pytest.mark.parametrize("place", PLACES)
def test_the_page_of_a_contract_offers_withdrawing_where_the_table_gives_the_right(
    cast: Cast, visitor: Any, place: str, customer_type: str
) -> None:
    buyer = bought_in(cast, place, customer_type)
    ada: Visitor = visitor()
    ada.sign_in(Cast.ADA)
    rule = withdraw_rule(place, customer_type)  # type: ignore[arg-type]
    page = ada.get(f"/subscriptions/{buyer.subscription_id}")
    assert ("You can withdraw until" in page.text) is rule.applies, (place, customer_type)
    link = page.soup.select_one(f"a[href='/subscriptions/{buyer.subscription_id}/withdrawal']")  # type: ignore[union-attr]
    assert (link is not None) is rule.applies
    if link is not None:
        assert withdraw_labels("en", address(place)["country"])[-1].first in link.get_text()


@pytest.mark.parametrize("customer_type", ["consumer", "business"])
@pytest.mark.parametrize("place", PLACES)
def test_a_yearly_renewal_is_announced_as_the_table_says(cast: Cast, visitor: Any, place: str, customer_type: str) -> None:
    turn_to(NOON)
    rule = notice_rule(place, customer_type, "renewal", "year")  # type: ignore[arg-type]
    renews_at = NOON + timedelta(days=rule.send, hours=1)  # the day before, nothing is sent
    bought_in(cast, place, customer_type, interval="Year", interval_count=1, next_billing_at=renews_at, anchor_at=renews_at)
    someone: Visitor = visitor()
    sent = []
    for at in (NOON - timedelta(days=1), NOON + timedelta(hours=2)):
        turn_to(at)
        for _ in range(2):
            dunning.run_due(cast.services.processor)
        sent.append([item for item in someone.emails(Cast.ADA) if "renews soon" in item.subject])
    assert (len(sent[0]), len(sent[1])) == (0, 1), (place, customer_type)
    text = sent[1][0].text
    assert "Birch Team" in text and re.search(r"[€£$]\s?\d", text) and "/cancel" in text
    last_day = (renews_at - timedelta(days=1)).day
    assert bool(re.search(rf"\*\*\*.*\b{last_day} ", text)) is ("cancel_by" in rule.content), text


@pytest.mark.parametrize("customer_type", ["consumer", "business"])
@pytest.mark.parametrize("place", PLACES)
def test_the_api_returns_the_rows_of_the_table(cast: Cast, app: Any, place: str, customer_type: Any) -> None:
    with cast.services.database.open(system(cast.birch), write=True) as db:
        key = new_key(db, cast.birch, "rights", settings=cast.services.settings)[1]
    answer = app.test_client().get(
        "/api/rights", query_string={**address(place), "customer_type": customer_type}, headers={"Authorization": f"Bearer {key}"}
    )
    found, rule = answer.json, withdraw_rule(place, customer_type)
    assert (found["place"], found["customer_type"]) == (place, customer_type)
    assert found["cancel"]["source"] == cancel_rule(place, customer_type).source
    assert (found["withdraw"]["applies"], found["withdraw"]["days"]) == (rule.applies, rule.days)
    assert {name: item["first"] for name, item in found["withdraw"]["labels"].items()} == {k: v.first for k, v in rule.labels.items()}
    assert found["consents"]["keep_years"] == consent_rule(place, customer_type).keep_years
    for occasion in OCCASIONS:
        for term in TERMS:
            row, wanted = found["notices"][occasion][term], notice_rule(place, customer_type, occasion, term)
            assert (row["earliest"], row["send"], row["latest"], row["demanded"], row["content"]) == (
                wanted.earliest, wanted.send, wanted.latest, wanted.demanded, list(wanted.content),
            )  # fmt: skip
