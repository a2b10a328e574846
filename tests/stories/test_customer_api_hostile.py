"""Hostile and careless programs at the customer API: closed businesses, declined rows, tokens made by tokens, prices never shown."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, inspect, select, update

from billing.model.catalogue import Product
from billing.model.parties import Business, Customer
from billing.model.payments import Payment
from billing.model.quotes import Quote
from billing.model.subscriptions import Subscription
from billing.plan_changes import quote as quote_plan_change
from core import clock
from core.scope import everything, system
from tests.cast import Cast
from tests.stories.test_customer_api import Client, P, U, person_token, row, token_of


@pytest.fixture
def acorn(app: Any, cast: Cast) -> Client:
    return Client(app, token_of(app, cast, cast.ada_at_acorn))


def close_acorn(cast: Cast) -> None:
    with cast.services.database.open(everything("Acorn closes"), write=True) as db:
        db.execute(update(Business).where(Business.business_id == cast.acorn).values(archived_at=clock.now()))


def test_a_closed_business_is_refused_in_json_where_no_text_is_promised(app: Any, cast: Cast, visitor: Any) -> None:
    ada = Client(app, person_token(cast, visitor)[0])
    close_acorn(cast)
    url = f"{U}/subscriptions/{cast.ada_at_acorn.subscription_id}"
    refused = [
        ada("GET", f"{U}/businesses/{cast.acorn}/customer-portal-token"), ada("PATCH", url, {"cancel_at_next_billing_date": True}),
        ada("POST", f"{url}/cancel", {}), ada("POST", f"{url}/pay", {"amount": 1}),
        app.test_client().post("/api/customer-portal-login", json={"email": Cast.ADA, "business_id": cast.acorn}),
    ]  # fmt: skip
    for answer in refused:
        assert (answer.status_code, answer.is_json) == (403, True), answer.get_data(as_text=True)[:200]
        assert answer.json["code"] and answer.json["message"]
    assert not row(cast, cast.ada_at_acorn).cancel_at_period_end


def test_a_declined_row_is_closed_to_tokens_of_the_business(app: Any, cast: Cast, acorn: Client) -> None:
    """Pages refuse a portal link to a row that the person marked as not theirs. A token is refused too."""
    with cast.services.database.open(everything("not mine"), write=True) as db:
        db.execute(update(Customer).where(Customer.customer_id == cast.ada_at_acorn.customer_id).values(declined_key=Customer.email_key))
    assert acorn("GET", f"{P}/profile").status_code == 401


def test_a_token_ends_with_the_token_that_made_it(app: Any, cast: Cast, visitor: Any) -> None:
    ada = Client(app, person_token(cast, visitor)[0])
    child = Client(app, ada("GET", f"{U}/businesses/{cast.acorn}/customer-portal-token", expect=200).json["token"])
    child("GET", f"{P}/business", expect=200)
    ada("DELETE", f"{U}/token", expect=204)
    assert child("GET", f"{P}/business").status_code == 401


def plan_change(cast: Cast, acorn: Client) -> tuple[str, dict[str, Any]]:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        business = db.scalars(select(Business)).one()
        business.settings = {**business.settings, "plan_change": True}
    url = f"{P}/subscriptions/{cast.ada_at_acorn.subscription_id}"
    sold = acorn("GET", url).json["product"]["id"]
    groups = acorn("GET", f"{P}/products/{sold}/collection", expect=200).json["groups"]
    plans = [item for group in groups for item in group["products"] if item["product_id"] != sold]
    other = max(plans, key=lambda item: item["price"])["product_id"]
    return url, {"product_id": other, "quantity": 1, "addons": None, "metadata": None}


def charged(cast: Cast) -> list[int]:
    with cast.services.database.open(system(cast.acorn)) as db:
        return list(db.scalars(select(Payment.amount_minor).where(Payment.charge_type == "plan_change")))


def test_a_plan_change_that_was_never_previewed_charges_nothing(cast: Cast, acorn: Client) -> None:
    url, change = plan_change(cast, acorn)
    refused = acorn("POST", f"{url}/change-plan", change)
    assert (refused.status_code, refused.json["code"]) == (409, "QUOTE_STALE")
    assert charged(cast) == []


def test_an_expired_preview_charges_nothing(cast: Cast, acorn: Client) -> None:
    url, change = plan_change(cast, acorn)
    acorn("POST", f"{url}/change-plan/preview", change, expect=200)
    with cast.services.database.open(everything("a quarter of an hour later"), write=True) as db:
        db.execute(update(Quote).values(expires_at=clock.now().replace(year=2000)))
    for _ in range(2):
        refused = acorn("POST", f"{url}/change-plan", change)
        assert (refused.status_code, refused.json["code"]) == (409, "QUOTE_STALE")
    assert charged(cast) == []


def test_a_changed_price_is_not_charged_by_asking_again(cast: Cast, acorn: Client) -> None:
    """The refusal computes a new price that nobody has seen. Only a new preview makes it chargeable."""
    url, change = plan_change(cast, acorn)
    acorn("POST", f"{url}/change-plan/preview", change, expect=200)
    with cast.services.database.open(everything("something changes"), write=True) as db:
        db.execute(update(Subscription).values(version=Subscription.version + 1))
    for _ in range(2):
        refused = acorn("POST", f"{url}/change-plan", change)
        assert (refused.status_code, refused.json["code"]) == (409, "QUOTE_STALE")
    assert charged(cast) == []
    acorn("POST", f"{url}/change-plan/preview", change, expect=200)
    acorn("POST", f"{url}/change-plan", change, expect=200)


def test_terms_that_only_the_business_saw_are_not_the_customers(cast: Cast, acorn: Client) -> None:
    """A business's own change that failed leaves a quote with its terms, such as "do not bill"."""
    url, change = plan_change(cast, acorn)
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        quote_plan_change.quote(db, cast.ada_at_acorn.subscription_id, change["product_id"], 1, mode="do_not_bill")
    refused = acorn("POST", f"{url}/change-plan", change)
    assert (refused.status_code, refused.json["code"]) == (409, "QUOTE_STALE")


def test_a_repeated_plan_change_returns_the_first_answer(cast: Cast, acorn: Client) -> None:
    url, change = plan_change(cast, acorn)
    acorn("POST", f"{url}/change-plan/preview", change, expect=200)
    first = acorn("POST", f"{url}/change-plan", change, expect=200).json
    again = acorn("POST", f"{url}/change-plan", change, expect=200).json
    assert again["payment_id"] == first["payment_id"]
    assert len(charged(cast)) <= 1


def test_downloads_are_for_those_who_paid(cast: Cast, acorn: Client) -> None:
    """What went back in full is no longer delivered, as on the page. A product shows nobody what only its buyers get."""
    purchase, product_id = cast.ada_at_acorn.purchase_id, cast.products["acorn.once"]
    with cast.services.database.open(everything("a download"), write=True) as db:
        download = {"external_url": "https://files.example/secret", "instructions": "Unpack it"}
        db.execute(update(Product).where(Product.id == product_id).values(download=download, license_key_message="Key: see inside"))
    cart, files = f"{P}/payments/{purchase}/product-cart", f"{P}/payments/{purchase}/digital-product-deliverables"
    assert acorn("GET", cart, expect=200).json["items"][0]["digital_product_deliverable"]["external_url"]
    assert acorn("GET", files, expect=200).json["items"][0]["deliverable"]["instructions"] == "Unpack it"
    shown = acorn("GET", f"{P}/products/{product_id}", expect=200)
    assert "secret" not in shown.get_data(as_text=True) and "see inside" not in shown.get_data(as_text=True)
    with cast.services.database.open(everything("all of it goes back"), write=True) as db:
        db.execute(update(Payment).where(Payment.id == purchase).values(refunded_minor=Payment.amount_minor))
    assert acorn("GET", cart, expect=200).json["items"][0]["digital_product_deliverable"] is None
    assert acorn("GET", files, expect=200).json["items"] == []


def test_a_mirrored_id_never_hides_the_subscription_made_here(app: Any, cast: Cast, visitor: Any) -> None:
    """Ids of mirrored rows are chosen elsewhere. One that another business's subscription has does not divert what is done to that."""
    ada = Client(app, person_token(cast, visitor)[0])
    own, other = cast.ada_at_acorn, cast.ada_at_birch
    with cast.services.database.open(everything("mirrored copies"), write=True) as db:
        for copied, taken in ((own, other), (other, own)):
            source = db.scalars(
                select(Subscription).where(Subscription.id == taken.subscription_id, Subscription.account_id.is_(None))
            ).one()
            values = {column.key: getattr(source, column.key) for column in inspect(Subscription).column_attrs}
            changed = {"id": copied.subscription_id, "account_id": "acc_mirror", "collected_by": "stripe", "payment_method_id": None}
            db.execute(insert(Subscription).values(**{**values, **changed}))
    for buyer in (own, other):
        url = f"{U}/subscriptions/{buyer.subscription_id}"
        assert ada("GET", url, expect=200).json["business_id"] == buyer.business_id
        sent = ada("PATCH", url, {"cancel_at_next_billing_date": True}, expect=200).json
        assert (sent["business_id"], sent["cancel_at_next_billing_date"]) == (buyer.business_id, True)
