"""Two accounts of one person are merged after consent from both sides. Accounts of other people are never merged."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from auth.models import BrowserSession, Identity, IdentityEmail, Merge, RateLimitCount
from auth.oidc_client.models import ProviderLogin
from auth.passkeys import Passkey
from billing.customers.customers import create_customer
from core import clock
from core.scope import everything, system
from tests.conftest import Street
from tests.visitor import Visitor


@pytest.fixture
def two_accounts(street: Street) -> Any:
    """Two people with an account each, and reset limits of sign-in emails."""
    with street.services.database.open(everything("a test lets time pass"), write=True) as db:
        for row in db.scalars(select(RateLimitCount)):
            row.window_start -= timedelta(days=8)
    return street


def who(street: Street, email: str) -> str | None:
    with street.services.database.open(everything("a test looks")) as db:
        return db.scalar(select(IdentityEmail.identity_id).where(IdentityEmail.email_key == email))


def buys(street: Street, *addresses: str) -> None:
    with street.services.database.open(system(street.acorn), write=True) as db:
        for email in addresses:
            create_customer(db, street.acorn, email=email, name="Somebody")


def asks(visitor: Visitor, email: str) -> str:
    """Request to add the address, and open the emailed page in the same browser. Returns the path of the link."""
    visitor.get("/profile/addresses")
    visitor.post("/profile/addresses", {"email": email})
    written = [message.text for message in visitor.emails(email) if "Add this address" in message.subject][-1]
    path = "/login/link/" + written.split("/login/link/")[1].split()[0]
    visitor.get(path)
    visitor.submit("/login/link/")
    return path


def test_two_accounts_are_merged_and_separated(two_accounts: Street) -> None:
    street, ada, ben, outside = two_accounts, Visitor(two_accounts.app), Visitor(two_accounts.app), Visitor(two_accounts.app)
    ada.sign_in(street.ADA)
    ben.sign_in(street.BEN)
    old = who(street, street.BEN)
    with street.services.database.open(everything("a test gives Ben a provider"), write=True) as db:
        db.add(
            ProviderLogin(
                identity_id=old,
                id="login",
                provider="op/work",
                issuer="https://work.example",
                subject="ben",
                label="Ben at work",
                address_key=None,
                created_at=clock.wall(),
                last_used_at=clock.wall(),
            )
        )
    two_accounts_again(street)
    asks(ada, street.BEN)
    assert "Merge two accounts?" in ada.page.h1 and "Birch Hosting" in ada.page.text and "Ben at work" in ada.page.text
    assert who(street, street.BEN) == old, "a letter alone must not do it"
    ada.submit("/merges/")
    assert ada.path == "/profile/addresses" and street.BEN in ada.page.text
    assert who(street, street.BEN) == who(street, street.ADA) != old
    assert ben.get("/profile").status == 200 and ben.path.startswith("/login"), "the other account's sessions ended"
    assert {message.to for message in ada.emails() if "accounts were merged" in message.subject} == {street.ADA, street.BEN}
    with street.services.database.open(everything("a test looks")) as db:
        assert db.scalar(select(Identity).where(Identity.identity_id == old)) is None
    assert "Ben Hill" not in outside.get("/login").text

    two_accounts_again(street)
    weak = Visitor(street.app)
    weak.sign_in(street.BEN)
    assert "opens only its own" in weak.get("/profile/addresses").text
    assert weak.get("/subscriptions").text.count("Acorn") == 0, "the weakest mailbox opens its own rows alone"
    ada.get("/profile/addresses")
    form = next(item for item in ada.page.soup.find_all("form") if "removal" in item["action"] and street.BEN in str(item))
    ada.post(form["action"], {"address": street.BEN, "csrf_token": form.find("input", {"name": "csrf_token"})["value"]})
    assert street.BEN not in ada.page.text and weak.get("/profile").status == 200 and weak.path.startswith("/login")
    with street.services.database.open(everything("a test looks")) as db:
        assert db.scalar(select(ProviderLogin).where(ProviderLogin.id == "login")) is None, "what came with the address goes with it"
    two_accounts_again(street)
    ben.sign_in(street.BEN)
    assert who(street, street.BEN) not in (None, old, who(street, street.ADA))


def two_accounts_again(street: Street) -> None:
    with street.services.database.open(everything("a test lets time pass"), write=True) as db:
        for row in db.scalars(select(RateLimitCount)):
            row.window_start -= timedelta(days=8)


def test_merging_an_account_with_a_passkey_needs_its_consent(two_accounts: Street) -> None:
    street, ada, ben, mallory = two_accounts, Visitor(two_accounts.app), Visitor(two_accounts.app), Visitor(two_accounts.app)
    buys(street, street.MALLORY)
    ada.sign_in(street.ADA)
    ben.sign_in(street.BEN)
    mallory.sign_in(street.MALLORY)
    before = who(street, street.BEN)
    with street.services.database.open(everything("a test gives Ben a passkey"), write=True) as db:
        db.add(
            Passkey(
                identity_id=before,
                id="bens-key",
                name="Ben's phone",
                public_key=b"key",
                sign_count=0,
                is_backed_up=False,
                created_at=clock.wall(),
                last_used_at=None,
            )
        )
    two_accounts_again(street)
    asks(ada, street.BEN)
    assert "an email isn’t enough" in ada.page.text and "Birch" not in ada.page.text, "nothing of the other account is shown yet"
    url = ada.path
    ben.get(url, expect=404)
    ada.submit("/merges/")
    assert who(street, street.BEN) == before
    mallory.get(url, expect=404)
    mallory.post(url, expect=404)
    ben.get("/profile/addresses")
    assert street.ADA in ben.page.text
    ben.get(url)
    assert "has asked to merge your account" in ben.page.text
    with street.services.database.open(everything("a test lets time pass"), write=True) as db:
        db.execute(update(BrowserSession).where(BrowserSession.identity_id == before).values(proved_at=clock.wall() - timedelta(hours=2)))
    ben.post(url)
    assert ben.path.startswith("/login?again=1") and who(street, street.BEN) == before, "an old proof is none"
    two_accounts_again(street)
    ben.sign_in(street.BEN, "/login?again=1")
    ben.get(url)
    ben.submit("/merges/")
    assert who(street, street.BEN) == who(street, street.ADA)
    with street.services.database.open(everything("a test looks")) as db:
        key = db.scalars(select(Passkey).where(Passkey.id == "bens-key")).one()
        assert (key.identity_id, key.handle) == (who(street, street.ADA), before)
        assert db.scalars(select(Merge).where(Merge.ended_at.is_(None))).all() == []


def test_a_secondary_address_of_another_account_can_be_added(two_accounts: Street) -> None:
    """Mallory's account has two addresses. Sam requests the second one."""
    street, sam, mallory, second = two_accounts, Visitor(two_accounts.app), Visitor(two_accounts.app), "second@void.example"
    buys(street, second, street.SAM)
    mallory.sign_in(street.MALLORY)
    asks(mallory, second)
    sam.sign_in(street.SAM)
    two_accounts_again(street)
    asks(sam, second)
    assert "isn’t the main email address" in sam.page.text and street.MALLORY not in sam.page.text
    sam.post(sam.path)
    assert who(street, second) == who(street, street.MALLORY), "the asker's yes alone does nothing"
    sam.post(sam.path.removesuffix("/") + "/address")
    assert who(street, second) == who(street, street.SAM) != who(street, street.MALLORY)
    assert [message.to for message in sam.emails(street.MALLORY) if "removed" in message.subject] == [street.MALLORY]


def test_a_merge_link_is_checked_again_when_it_is_used(two_accounts: Street) -> None:
    """Sam opened the link sent to Mallory's main address. Before he agrees, she adds a passkey."""
    street, sam, mallory = two_accounts, Visitor(two_accounts.app), Visitor(two_accounts.app)
    buys(street, street.MALLORY, street.SAM)
    mallory.sign_in(street.MALLORY)
    sam.sign_in(street.SAM)
    two_accounts_again(street)
    asks(sam, street.MALLORY)
    before = who(street, street.MALLORY)
    with street.services.database.open(everything("a test gives Mallory a passkey"), write=True) as db:
        db.add(
            Passkey(
                identity_id=before,
                id="mallorys-key",
                name="phone",
                public_key=b"key",
                sign_count=0,
                is_backed_up=False,
                created_at=clock.wall(),
                last_used_at=None,
            )
        )
    sam.submit("/merges/")
    assert "You’ve agreed" in sam.page.text and who(street, street.MALLORY) == before
    mallory.get("/profile/addresses")
    assert street.SAM in mallory.page.text
    mallory.get(sam.path)
    mallory.submit("/refusal")
    sam.get(sam.path, expect=404)
    assert who(street, street.MALLORY) == before
