"""Consumer or business: who says it, what counts, and that a business cannot take a right away from somebody who said otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from billing.customers.customer_type import set_by_business
from billing.customers.customers import update_customer
from billing.imports import load as load_batch
from billing.model.parties import Customer
from billing.model.payments import Payment
from billing.model.provenance import Origin
from billing.model.subscriptions import Subscription
from billing.subscriptions.subscribe import subscribe
from core.errors import Conflict, Invalid
from core.outbox import Event
from core.scope import everything, system
from tenants.imports.shapes import record
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.pages.console_setup import Site
from tests.stories.test_import import load


def customer(cast: Cast, customer_id: str) -> Customer:
    with cast.services.database.open(everything("a customer of a test")) as db:
        return db.scalars(select(Customer).where(Customer.customer_id == customer_id)).one()


def test_the_profile_says_it_to_the_chosen_businesses(cast: Cast, visitor: Any) -> None:
    ada = visitor()
    ada.sign_in(Cast.ADA)
    ada.get("/profile")
    ada.submit("/profile", customer_type="business", to=[cast.ada_at_birch.customer_id])
    row = customer(cast, cast.ada_at_birch.customer_id)
    assert (row.customer_type, row.customer_type_by) == ("business", "customer")
    assert customer(cast, cast.ada_at_acorn.customer_id).customer_type is None
    with cast.services.database.open(system(cast.birch)) as db:
        event = db.scalars(select(Event).where(Event.type == "profile.edited")).one()
    assert event.data["fields"] == ["customer_type"]
    assert "Choose consumer or business." in ada.submit("/profile", expect=422, customer_type="king").text
    ada.get("/profile")
    ada.submit("/profile", customer_type="", to=[cast.ada_at_birch.customer_id])
    assert customer(cast, cast.ada_at_birch.customer_id).customer_type == "business", "an empty choice says nothing"


@on_sqlite
def test_the_billing_details_say_it_too_and_the_contract_keeps_its_type(cast: Cast, visitor: Any) -> None:
    ada, url = visitor(), f"/subscriptions/{cast.ada_at_birch.subscription_id}/billing-details"
    ada.sign_in(Cast.ADA)
    ada.get(url)
    ada.submit("/billing-details", expect=422, customer_type="business", name="")
    assert customer(cast, cast.ada_at_birch.customer_id).customer_type is None, "nothing is saved with wrong input"
    ada.get(url)
    ada.submit("/billing-details", customer_type="business")
    assert customer(cast, cast.ada_at_birch.customer_id).customer_type == "business"
    with cast.services.database.open(everything("the contract")) as db:
        assert db.scalar(select(Subscription.customer_type).where(Subscription.id == cast.ada_at_birch.subscription_id)) == "consumer"
        assert db.scalar(select(Payment.customer_type).where(Payment.id == cast.ada_at_birch.purchase_id)) == "consumer"


def test_a_business_says_it_unless_the_customer_did(cast: Cast) -> None:
    ada = cast.ada_at_birch
    with cast.services.database.open(system(cast.birch), write=True) as db:
        update_customer(db, db.scalars(select(Customer).where(Customer.customer_id == ada.customer_id)).one(), customer_type="business")
    row = customer(cast, ada.customer_id)
    assert (row.customer_type, row.customer_type_by) == ("business", "business")
    began = subscribe(
        cast.services.processor, system(cast.birch), customer_id=ada.customer_id, product_id=cast.products["birch.more"],
        billing={"country": "GB"}, payment_method_id=ada.method_id,
    )  # fmt: skip
    with cast.services.database.open(system(cast.birch), write=True) as db:
        assert db.scalar(select(Subscription.customer_type).where(Subscription.id == began.subscription_id)) == "business"
        found = db.scalars(select(Customer).where(Customer.customer_id == ada.customer_id)).one()
        found.customer_type, found.customer_type_by = "consumer", "customer"
        with pytest.raises(Conflict):
            set_by_business(found, "business")


def test_imports_say_it_and_do_not_overrule_the_customer(cast: Cast, tmp_path: Path) -> None:
    data = {"customer_id": "cus_ann", "email": "ann@other.example", "name": "Ann", "customer_type": "business"}
    load(cast.services, cast.birch, tmp_path / "ann.jsonl", {"type": "customer", "data": data})
    with pytest.raises(Invalid):
        load(cast.services, cast.birch, tmp_path / "wrong.jsonl", {"type": "customer", "data": {**data, "customer_type": "king"}})
    with cast.services.database.open(system(cast.birch), write=True) as db:
        ann = db.scalars(select(Customer).where(Customer.email_key == "ann@other.example")).one()
        assert (ann.customer_type, ann.customer_type_by) == ("business", "business")
        ann.customer_type, ann.customer_type_by = "consumer", "customer"
    pulled = record("customer", {**data, "name": "Ann Hill"})
    with cast.services.database.open(system(cast.birch), write=True) as db:
        load_batch(db, Origin.of_file("import"), [pulled], renew=True)
    row = customer(cast, ann.customer_id)
    assert (row.name, row.customer_type, row.customer_type_by) == ("Ann Hill", "consumer", "customer")


@pytest.mark.one_engine
def test_staff_set_it_in_the_form_and_are_refused_if_the_customer_chose(sqlite: Any, tmp_path: Path) -> None:
    urls, drop = sqlite.fresh()
    site = Site.open(urls, tmp_path)
    try:
        ada = site.row(Customer, Customer.email_key == Cast.ADA, Customer.business_id == site.acorn)
        path = f"/sales/customers/{ada.customer_id}"
        site.sam.get(site.at(f"{path}/details"))
        site.save(f"{path}/details", customer_type="business")
        assert site.row(Customer, Customer.customer_id == ada.customer_id).customer_type == "business"
        assert "Your business said so." in site.sam.get(site.at(path)).text
        site.sam.get(site.at(f"{path}/details"))
        with site.services.database.open(system(site.acorn), write=True) as db:
            row = db.scalars(select(Customer).where(Customer.customer_id == ada.customer_id)).one()
            row.customer_type, row.customer_type_by = "consumer", "customer"
        refused = site.sam.submit("/details", expect=409, customer_type="business")
        assert "Only they can change it." in refused.text
        assert "The customer said so." in site.sam.get(site.at(path)).text
        page = site.sam.get(site.at(f"{path}/details"))
        assert page.soup.find("select", {"name": "customer_type"}) is None
        site.sam.submit("/details", name="Ada M.")
        assert site.row(Customer, Customer.customer_id == ada.customer_id).customer_type == "consumer"
    finally:
        site.services.database.dispose()
        drop()
