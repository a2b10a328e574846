"""A business cannot hide, delay or undo the cancellation of a consumer: by no setting, brand or domain, and not through its API."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from billing.customers.portal_settings import TOGGLES
from billing.model.parties import Business, Customer
from billing.model.policy import DEFAULTS
from billing.model.statements import Statement
from billing.model.subscriptions import Subscription
from billing.rights.table import cancel_labels
from core.scope import everything, system
from tenants.api_keys import new_key
from tests.cast import Buyer, Cast
from tests.conftest import on_sqlite
from tests.visitor import Visitor


def change(cast: Cast, buyer: Buyer, **values: Any) -> None:
    with cast.services.database.open(system(buyer.business_id), write=True) as db:
        row = db.scalars(select(Subscription).where(Subscription.id == buyer.subscription_id)).one()
        for name, value in values.items():
            setattr(row, name, value)


def row_of(cast: Cast, buyer: Buyer) -> Subscription:
    with cast.services.database.open(system(buyer.business_id)) as db:
        return db.scalars(select(Subscription).where(Subscription.id == buyer.subscription_id)).one()


def of_ada(visitor: Any) -> Visitor:
    ada: Visitor = visitor()
    ada.sign_in(Cast.ADA)
    return ada


def key_of(cast: Cast) -> dict[str, str]:
    """Return the headers of a program of Birch."""
    with cast.services.database.open(system(cast.birch), write=True) as db:
        return {"Authorization": f"Bearer {new_key(db, cast.birch, 'integration', settings=cast.services.settings)[1]}"}


@pytest.fixture
def strict(cast: Cast) -> Buyer:
    """Ada's subscription at Birch, whose business has set everything against her."""
    with cast.services.database.open(everything("a business that wants to keep everybody"), write=True) as db:
        birch = db.scalars(select(Business).where(Business.business_id == cast.birch)).one()
        birch.settings = {**dict.fromkeys(TOGGLES, False), "languages": ["sv"], "grace_days": 30, "invoice_links": "protected"}
        birch.name = "Cancelling is not possible. Call us."
        birch.brand = {"accent": "#ffffff", "radius": 0}
        birch.address = {"country": "DE"}
        birch.support_email = ""
    return cast.ada_at_birch


@on_sqlite
def test_every_page_leads_to_cancelling_with_the_fixed_words(cast: Cast, visitor: Any, strict: Buyer) -> None:
    first, second = cancel_labels("en", "DE")
    ada, stranger = of_ada(visitor), visitor()
    business = f"/business/{strict.business_id}"
    for who, path, to in (
        (ada, "/", "/cancel"), (ada, f"/subscriptions/{strict.subscription_id}", "/cancel"),
        (stranger, f"{business}/", f"/cancel/{strict.business_id}"),
    ):  # fmt: skip
        assert who.get(path).soup.select_one(f"footer a[href='{to}']") is not None, path
    page = stranger.get(f"/cancel/{strict.business_id}")
    assert page.soup.select_one("html")["lang"] == "en", "a business that offers Swedish only does not hide the page behind it"  # type: ignore[index]
    assert first.first in page.text and second.first in page.text
    assert [button.get_text(strip=True) for button in page.soup.select("form button[type=submit]")][:2] == [first.second, second.second]
    path = f"/subscriptions/{strict.subscription_id}"
    assert ada.get(path).soup.select_one(f"main a[href='{path}/cancellation']") is not None


def test_a_consumer_cancels_whatever_the_business_has_set(cast: Cast, visitor: Any, strict: Buyer) -> None:
    ada = of_ada(visitor)
    ada.get(f"/subscriptions/{strict.subscription_id}/cancellation")
    ada.submit("/cancellation")
    assert row_of(cast, strict).cancel_at_period_end


def test_the_business_cannot_undo_it(cast: Cast, visitor: Any, strict: Buyer, app: Any) -> None:
    """Not through the API, not by calling it its own, and not in the console. The customer can."""
    ada, api = of_ada(visitor), app.test_client()
    ada.get(f"/subscriptions/{strict.subscription_id}/cancellation")
    ada.submit("/cancellation")
    headers = key_of(cast)
    url = f"/api/subscriptions/{strict.subscription_id}"
    for sent in ({"cancel_at_next_billing_date": True, "cancel_reason": "cancelled_by_customer"}, {"cancel_at_next_billing_date": False}):
        answer = api.patch(url, json=sent, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (409, "CANCELLED_BY_CUSTOMER")
    moved = api.patch(url, json={"next_billing_date": "2031-01-01T00:00:00Z"}, headers=headers)
    assert moved.status_code == 409
    assert row_of(cast, strict).cancel_at_period_end
    ada.get(f"/subscriptions/{strict.subscription_id}")
    ada.submit("/cancellation/revocation")
    assert not row_of(cast, strict).cancel_at_period_end


def test_what_its_program_cancelled_its_program_can_undo(cast: Cast, app: Any, strict: Buyer) -> None:
    """Somebody who cancels in the merchant's own app can undo it there."""
    api = app.test_client()
    headers = key_of(cast)
    url = f"/api/subscriptions/{strict.subscription_id}"
    api.patch(url, json={"cancel_at_next_billing_date": True, "cancel_reason": "cancelled_by_customer"}, headers=headers)
    assert row_of(cast, strict).cancel_at_period_end
    assert api.patch(url, json={"cancel_at_next_billing_date": False}, headers=headers).status_code == 200
    assert not row_of(cast, strict).cancel_at_period_end


def test_calling_a_consumer_a_business_changes_no_contract(cast: Cast, visitor: Any, app: Any, strict: Buyer) -> None:
    api = app.test_client()
    headers = key_of(cast)
    answer = api.patch(f"/api/customers/{strict.customer_id}", json={"customer_type": "business"}, headers=headers)
    assert (answer.status_code, answer.json["customer_type"]) == (200, "business")
    ada = of_ada(visitor)
    ada.get(f"/subscriptions/{strict.subscription_id}/cancellation")
    ada.submit("/cancellation")
    assert row_of(cast, strict).cancel_at_period_end
    with cast.services.database.open(system(strict.business_id), write=True) as db:
        customer = db.scalars(select(Customer).where(Customer.customer_id == strict.customer_id)).one()
        customer.customer_type, customer.customer_type_by = "consumer", "customer"
    refused = api.patch(f"/api/customers/{strict.customer_id}", json={"customer_type": "business"}, headers=headers)
    assert (refused.status_code, refused.json["code"]) == (409, "CUSTOMER_TYPE_CHOSEN")


def test_the_rule_for_business_customers_holds_on_the_public_page_too(cast: Cast, visitor: Any, strict: Buyer) -> None:
    change(cast, strict, customer_type="business")
    someone: Visitor = visitor()
    someone.get(f"/cancel/{strict.business_id}")
    someone.submit("/cancel", name="Ada Marlow", email=cast.ADA, contract=strict.subscription_id, type="ordinary", when="earliest")
    someone.emails()
    with cast.services.database.open(system(strict.business_id)) as db:
        statement = db.scalars(select(Statement)).one()
    assert (statement.status, statement.matched_by) == ("waiting", "subscription")
    assert not row_of(cast, strict).cancel_at_period_end


def test_the_setting_exists_for_business_customers_only() -> None:
    assert DEFAULTS["cancel"] is True and "cancel" in TOGGLES
