"""A business that Ada never bought from knows her address: it gets her neither money nor attention before she says so (safety 3.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from billing.commands.businesses import create_business
from billing.commands.buying import subscribe
from billing.commands.customers import create_customer
from billing.commands.products import create_product
from billing.invoices import Invoice
from core import clock, mailbox
from core.scope import everything, system
from core.settings import Settings
from core.web import House
from tenants.joining import invite
from tests.cast import MONTHLY, Buyer, Cast
from tests.visitor import Visitor

LURE = "Your account is locked, call www.evil.example"
WORDS = ("evil.example", "locked", "Pay at once", "FAKE-1")


@pytest.fixture(scope="module")
def app(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    from wsgi import create_app

    urls, drop = sqlite.fresh()
    made = create_app(Settings(data_dir=tmp_path_factory.mktemp("planted"), base_url="http://localhost", **urls))
    made.testing = False
    yield made
    made.extensions["portal"].database.dispose()
    drop()


@pytest.fixture(scope="module")
def fake(app: Flask) -> Buyer:
    """Mallory's business: a name, a logo, five trials, an open invoice, all for Ada."""
    house: House = app.extensions["portal"]
    with house.database.open(everything("plant a business"), write=True) as db:
        business_id = create_business(db, name="https://www.evil.example/refund", currency="EUR", support_email="call@evil.example",
                                      brand={"logo": "https://evil.example/logo.png", "accent": "#ff0000"}).business_id
    with house.database.open(system(business_id), write=True) as db:
        customer_id = create_customer(db, business_id, email=Cast.ADA, name=LURE).customer_id
        product_id = create_product(db, business_id, name=LURE, price=MONTHLY | {"trial_period_days": 7}).id
        db.add(Invoice(business_id=business_id, customer_id=customer_id, id="inv_fake", number="FAKE-1", operation="x", kind="one_time",
                       description="Pay at once", currency="EUR", subtotal_minor=1, tax_minor=0, total_minor=1, due_minor=1,
                       issued_at=clock.now(), snapshot={}))  # fmt: skip
    buyer = Buyer(business_id, customer_id, Cast.ADA)
    method_id = Cast(house).card(buyer)
    for _ in range(5):
        begun = subscribe(house.till, system(business_id), customer_id=customer_id, product_id=product_id, payment_method_id=method_id)
        buyer.subscription_id = str(begun.subscription_id)
    with app.app_context():
        house.worker.drain()
    return buyer


@pytest.fixture(scope="module")
def ada(app: Flask, fake: Buyer) -> Visitor:
    one = Visitor(app)
    one.sign_in(Cast.ADA)
    return one


def test_its_letters_are_few_and_say_nothing_of_its_own(app: Flask, fake: Buyer) -> None:
    letters = mailbox.letters(app.extensions["portal"].database, Cast.ADA)
    assert 1 <= len(letters) <= 3  # five trials began
    for one in letters:
        said = f"{one.subject} {one.text} {one.html}"
        assert not [word for word in WORDS if word in said], said
        assert all(link.startswith("http://localhost") for link in re.findall(r"https?://[^\s\"'<>]+", one.text))
        assert not one.attachments and "not yours" in one.text and "<img" not in one.html


def test_an_invitation_to_its_team_is_no_lure_either(app: Flask, fake: Buyer) -> None:
    house: House = app.extensions["portal"]
    with house.database.open(system(fake.business_id), write=True) as db:
        invite(db, fake.business_id, "cleo@duarte.example", "support")
    with app.app_context():
        house.worker.drain()
    letter = mailbox.letters(house.database, "cleo@duarte.example")[-1]
    assert "evil.example" not in f"{letter.subject} {letter.text} {letter.html}" and "evil example" in letter.subject


def test_its_name_stands_apart_and_nothing_can_be_paid_until_she_says_so(ada: Visitor, fake: Buyer) -> None:
    home = ada.get("/")
    assert "Wants to appear here" in home.text and not [word for word in WORDS[1:] if word in home.text]
    assert "logo" not in home.body.decode().split("<main")[1] and 'payment-method"' not in home.body.decode()
    for path in (f"/subscriptions/{fake.subscription_id}", f"/subscriptions/{fake.subscription_id}/payment-method", "/invoices/inv_fake"):
        ada.get(path, expect=404)
    for path in ("/subscriptions", "/billing-history", "/payment-methods", "/license-keys"):
        assert not [word for word in WORDS[1:] if word in ada.get(path).text], path


def test_not_mine_ends_it(app: Flask, ada: Visitor, fake: Buyer) -> None:
    house: House = app.extensions["portal"]
    ada.get("/")
    ada.submit("/refusal")
    assert "Wants to appear here" not in ada.get("/").text
    before = len(mailbox.letters(house.database, Cast.ADA))
    with house.database.open(system(fake.business_id), write=True) as db:
        again = create_product(db, fake.business_id, name=LURE, price=MONTHLY | {"trial_period_days": 3}).id
    card = Cast(house).card(fake)
    subscribe(house.till, system(fake.business_id), customer_id=fake.customer_id, product_id=again, payment_method_id=card)
    with app.app_context():
        house.worker.drain()
    assert len(mailbox.letters(house.database, Cast.ADA)) == before
