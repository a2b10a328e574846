"""What customers agreed to: recorded with a purchase, shown to them and to staff, kept as long as the law asks, changed by nobody."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from billing.model.consents import Consent
from billing.subscriptions import consents
from billing.subscriptions.consents import Agreed, record
from billing.subscriptions.subscribe import buy, subscribe
from core import clock
from core.errors import Invalid
from core.outbox import Event
from core.scope import customer_of, everything, system
from tests.cast import Cast
from tests.conftest import on_sqlite

START = Agreed("immediate_start", "Begin now. I pay for what I used if I withdraw.", "en", address="203.0.113.7")


def stored(cast: Cast) -> list[Consent]:
    with cast.services.database.open(everything("consents of a test")) as db:
        return list(db.scalars(select(Consent).order_by(Consent.recorded_at, Consent.id)))


def add(cast: Cast, *items: Agreed, **contract: str) -> list[Consent]:
    with cast.services.database.open(system(cast.birch), write=True) as db:
        rows = record(db, items, business_id=cast.birch, customer_id=cast.ada_at_birch.customer_id, **contract)
        db.flush()
        db.expunge_all()
        return rows


def test_consents_are_recorded_with_a_subscription_and_a_purchase(cast: Cast, visitor: Any) -> None:
    ada = cast.ada_at_birch
    began = subscribe(
        cast.services.processor, system(cast.birch), customer_id=ada.customer_id, product_id=cast.products["birch.plan"],
        billing={"country": "GB"}, payment_method_id=ada.method_id, consents=[START],
    )  # fmt: skip
    bought = buy(
        cast.services.processor, system(cast.birch), customer_id=ada.customer_id, cart=[(cast.products["birch.once"], 1)],
        payment_method_id=ada.method_id, consents=[Agreed("digital_content", "Sofort liefern.", "de"), Agreed("terms", "AGB", "de")],
    )  # fmt: skip
    rows = stored(cast)
    assert [(row.kind, row.subscription_id, row.payment_id) for row in rows if row.kind != "terms"] == [
        ("immediate_start", began.subscription_id, None), ("digital_content", None, bought.payment_id)
    ]  # fmt: skip
    assert rows[0].recorded_by["type"] == "system"
    with cast.services.database.open(system(cast.birch)) as db:
        assert len(db.scalars(select(Event.id).where(Event.type == "consent.recorded")).all()) == 3
    person = visitor()
    person.sign_in(Cast.ADA)
    page = person.get(f"/subscriptions/{began.subscription_id}")
    assert "Begin now. I pay for what I used if I withdraw." in page.text
    assert "203.0.113.7" in page.text
    page = person.get(f"/purchases/{bought.payment_id}")
    assert page.soup.find("span", lang="de", string="Sofort liefern.") is not None


def test_nobody_changes_or_deletes_one(cast: Cast) -> None:
    [row] = add(cast, START, subscription_id=cast.ada_at_birch.subscription_id)
    for statement in (update(Consent).values(text="I agreed to everything."), delete(Consent)):
        for scope in (system(cast.birch), everything("a hostile operator")):
            with pytest.raises(DBAPIError), cast.services.database.open(scope, write=True) as db:
                db.execute(statement.where(Consent.id == row.id), execution_options={"synchronize_session": False})
    assert [item.text for item in stored(cast)] == [START.text]


def test_customers_read_their_own_only(cast: Cast) -> None:
    add(cast, START, subscription_id=cast.ada_at_birch.subscription_id)
    with cast.services.database.open(customer_of(cast.birch, cast.ben.customer_id)) as db:
        assert consents.consents_of(db, subscription_id=cast.ada_at_birch.subscription_id) == []
    with cast.services.database.open(system(cast.acorn)) as db:
        assert consents.consents_of(db, subscription_id=cast.ada_at_birch.subscription_id) == []


def test_a_contract_of_somebody_else_is_refused(cast: Cast) -> None:
    with pytest.raises(DBAPIError):
        add(cast, START, subscription_id=cast.ben.subscription_id)


def test_they_are_kept_three_years_and_a_year_after_the_end(cast: Cast) -> None:
    """Made-up old rows: the database's own clock refuses to delete younger ones."""
    at, ada = clock.now(), cast.ada_at_birch
    ids = {}
    with cast.services.database.open(system(cast.birch), write=True) as db:
        for name, age, contract in (
            ("running", 4000, {"subscription_id": ada.subscription_id}), ("old", 1200, {"payment_id": ada.purchase_id}),
            ("young", 900, {"payment_id": ada.purchase_id}),
        ):  # fmt: skip
            [row] = record(db, [START], business_id=cast.birch, customer_id=ada.customer_id, **contract)
            row.recorded_at = at - timedelta(days=age)
            ids[name] = row.id
    assert consents.sweep(cast.services.database) == 1
    assert {row.id for row in stored(cast)} == {ids["running"], ids["young"]}


@on_sqlite
@pytest.mark.parametrize(
    "wrong",
    [
        Agreed("terms", " ", "en"), Agreed("terms", "x" * 5001, "en"), Agreed("terms", "a\0b", "en"),
        Agreed("terms", "Terms", "en", address="<script>"), Agreed("terms", "Terms", "en", agreed_at=clock.now() + timedelta(days=300)),
    ],
    ids=["empty", "long", "null", "address", "future"],
)  # fmt: skip
def test_a_consent_without_text_or_with_wrong_values_is_refused(cast: Cast, wrong: Agreed) -> None:
    with pytest.raises(Invalid):
        add(cast, wrong, subscription_id=cast.ada_at_birch.subscription_id)
    assert not stored(cast)


@on_sqlite
def test_hostile_text_is_shown_as_text(cast: Cast, visitor: Any) -> None:
    add(cast, Agreed("terms", "<img src=x onerror=alert(1)>", "en"), subscription_id=cast.ada_at_birch.subscription_id)
    person = visitor()
    person.sign_in(Cast.ADA)
    page = person.get(f"/subscriptions/{cast.ada_at_birch.subscription_id}")
    assert "<img src=x onerror" in page.text
    assert page.soup.find("img", {"src": "x"}) is None
