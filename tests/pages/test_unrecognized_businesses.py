"""A business that Ada never bought from stores her address. It gets no payment and shows nothing before she accepts it (safety 3.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from billing.catalogue.products import create_product
from billing.customers.businesses import create_business
from billing.customers.customers import create_customer
from billing.model.invoices import Invoice
from billing.subscriptions.subscribe import subscribe
from core import clock, mailbox
from core.scope import everything, system
from core.services import Services
from core.settings import Settings
from tenants.memberships import invite
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
    """Mallory's business: a name, a logo, five trials and an open invoice, all for Ada."""
    services: Services = app.extensions["portal"]
    with services.database.open(everything("plant a business"), write=True) as db:
        business_id = create_business(
            db,
            name="https://www.evil.example/refund",
            currency="EUR",
            support_email="call@evil.example",
            brand={"logo": "https://evil.example/logo.png", "accent": "#ff0000"},
        ).business_id
    with services.database.open(system(business_id), write=True) as db:
        customer_id = create_customer(db, business_id, email=Cast.ADA, name=LURE).customer_id
        product_id = create_product(db, business_id, name=LURE, price=MONTHLY | {"trial_period_days": 7}).id
        db.add(Invoice(business_id=business_id, customer_id=customer_id, id="inv_fake", number="FAKE-1", operation="x", kind="one_time",
                       description="Pay at once", currency="EUR", subtotal_minor=1, tax_minor=0, total_minor=1, due_minor=1,
                       issued_at=clock.now(), snapshot={}))  # fmt: skip
    buyer = Buyer(business_id, customer_id, Cast.ADA)
    method_id = Cast(services).card(buyer)
    for _ in range(5):
        begun = subscribe(
            services.processor, system(business_id), customer_id=customer_id, product_id=product_id, payment_method_id=method_id
        )
        buyer.subscription_id = str(begun.subscription_id)
    with app.app_context():
        services.worker.drain()
    return buyer


@pytest.fixture(scope="module")
def ada(app: Flask, fake: Buyer) -> Visitor:
    visitor = Visitor(app)
    visitor.sign_in(Cast.ADA)
    return visitor


def test_an_unrecognized_business_sends_few_and_neutral_emails(app: Flask, fake: Buyer) -> None:
    emails = mailbox.recent_emails(app.extensions["portal"].database, Cast.ADA)
    assert 1 <= len(emails) <= 3  # five trials began
    for email in emails:
        said = f"{email.subject} {email.text} {email.html}"
        assert not [word for word in WORDS if word in said], said
        assert all(link.startswith("http://localhost") for link in re.findall(r"https?://[^\s\"'<>]+", email.text))
        assert not email.attachments and "not yours" in email.text and "<img" not in email.html


def test_a_team_invitation_of_an_unrecognized_business_has_no_own_text(app: Flask, fake: Buyer) -> None:
    services: Services = app.extensions["portal"]
    with services.database.open(system(fake.business_id), write=True) as db:
        invite(db, fake.business_id, "cleo@duarte.example", "support")
    with app.app_context():
        services.worker.drain()
    message = mailbox.recent_emails(services.database, "cleo@duarte.example")[-1]
    assert "evil.example" not in f"{message.subject} {message.text} {message.html}" and "evil example" in message.subject


def test_an_unrecognized_business_cannot_be_paid_before_acceptance(ada: Visitor, fake: Buyer) -> None:
    home = ada.get("/")
    assert "Waiting for your approval" in home.text and not [word for word in WORDS[1:] if word in home.text]
    assert "logo" not in home.body.decode().split("<main")[1] and 'payment-method"' not in home.body.decode()
    for path in (f"/subscriptions/{fake.subscription_id}", f"/subscriptions/{fake.subscription_id}/payment-method", "/invoices/inv_fake"):
        ada.get(path, expect=404)
    for path in ("/subscriptions", "/billing-history", "/payment-methods", "/license-keys"):
        assert not [word for word in WORDS[1:] if word in ada.get(path).text], path


def test_declining_ends_the_contact(app: Flask, ada: Visitor, fake: Buyer) -> None:
    services: Services = app.extensions["portal"]
    ada.get("/")
    ada.submit("/refusal")
    assert "Waiting for your approval" not in ada.get("/").text
    before = len(mailbox.recent_emails(services.database, Cast.ADA))
    with services.database.open(system(fake.business_id), write=True) as db:
        again = create_product(db, fake.business_id, name=LURE, price=MONTHLY | {"trial_period_days": 3}).id
    card = Cast(services).card(fake)
    subscribe(services.processor, system(fake.business_id), customer_id=fake.customer_id, product_id=again, payment_method_id=card)
    with app.app_context():
        services.worker.drain()
    assert len(mailbox.recent_emails(services.database, Cast.ADA)) == before
