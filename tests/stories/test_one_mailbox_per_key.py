"""Revision 0016 on existing rows: two mailboxes with one key become two people, and access that either proved is revoked."""

from __future__ import annotations

from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select, update

from auth.models import BrowserSession, Challenge, Identity, IdentityEmail
from auth.oidc_client.models import ProviderLogin
from auth.passkeys import Passkey
from billing.customers.customers import create_customer
from billing.model.customer_search import CustomerWord
from billing.model.email_address import fold_address
from billing.model.parties import Customer
from core import clock, guard
from core.db import Database
from core.ids import new_id
from core.revisions import MIGRATIONS
from core.scope import everything, system
from tenants.memberships import invite, join
from tenants.team import Invitation, Membership
from tests.conftest import Street

OLD = {
    "groß@marlow.example": "gross@marlow.example",
    "ſam@marlow.example": "sam@marlow.example",
    "JOSÉ@marlow.example": "josé@marlow.example",
}


class Before:
    """Rows with keys of the old rule."""

    def __init__(self, street: Street) -> None:
        self.database: Database = street.services.database
        self.acorn, self.settings = street.acorn, street.services.settings
        self.at = clock.wall()

    def customer(self, email: str, **values: Any) -> str:
        with self.database.open(system(self.acorn), write=True) as db:
            row = create_customer(db, self.acorn, email=email, name="Somebody")
            row.email_key = OLD.get(email, row.email_key)
            for name, value in values.items():
                setattr(row, name, value)
            return row.customer_id

    def identity(self, email: str, key: str) -> str:
        item = new_id("idn")
        with self.database.open(everything("a test's person"), write=True) as db:
            db.add(Identity(identity_id=item, name="Somebody", created_at=self.at))
            db.flush()
            db.add(IdentityEmail(identity_id=item, id=new_id("eml"), email=email, email_key=key, is_primary=True, verified_at=self.at))
            db.add(
                BrowserSession(
                    id=new_id("ses"),
                    secret_hash=new_id("x"),
                    identity_id=item,
                    device="",
                    created_at=self.at,
                    last_seen_at=self.at,
                    expires_at=self.at,
                )
            )
            db.add(
                ProviderLogin(
                    identity_id=item,
                    id=new_id("lgn"),
                    provider="work",
                    issuer="i",
                    subject=item,
                    label=email,
                    address_key=key,
                    created_at=self.at,
                    last_used_at=self.at,
                )
            )
        return item

    def challenge(self, email: str, key: str, **values: Any) -> str:
        item = new_id("chl")
        with self.database.open(everything("a test's challenge"), write=True) as db:
            db.add(
                Challenge(
                    id=item,
                    purpose="sign_in",
                    browser_hash="b",
                    address_key=key,
                    email=email,
                    door="unified",
                    link_hash=new_id("l"),
                    code_hash="c",
                    device="",
                    locale="en",
                    next="",
                    created_at=self.at,
                    expires_at=self.at,
                    **values,
                )
            )
        return item

    def all(self, kind: Any, *where: Any) -> list[Any]:
        with self.database.open(everything("a test looks")) as db:
            return list(db.scalars(select(kind).where(*where)))

    def one(self, kind: Any, *where: Any) -> Any:
        (found,) = self.all(kind, *where)
        return found

    def migrate(self) -> None:
        engine = create_engine(self.settings.owner_url)
        with engine.begin() as connection, guard.raw_sql():
            present = (
                ("customers RENAME COLUMN {} TO {}", "recognized_key", "known_key"),
                ("{} RENAME TO {}", "customer_search_words", "customer_words"),
            )
            for change, new, old in present:  # names at that revision
                connection.exec_driver_sql(f"ALTER TABLE {change.format(new, old)}")
            ScriptDirectory(str(MIGRATIONS)).get_revision("0016").module.separate_mailboxes(connection)
            for change, new, old in present:
                connection.exec_driver_sql(f"ALTER TABLE {change.format(old, new)}")
        engine.dispose()


@pytest.fixture
def before(street: Street) -> Before:
    return Before(street)


def test_wrongly_merged_rows_are_separated(before: Before) -> None:
    """Two customers of one business shared an account. Each keeps the answers for its own address."""
    at = clock.now()
    known = {"recognized_key": "gross@marlow.example"}
    sharp = before.customer("groß@marlow.example", **known, first_paid_at=at)
    shown = before.customer("groß@marlow.example", **known, accepted_at=at)
    plain = before.customer("gross@marlow.example", **known, accepted_at=at)
    refused = before.customer("gross@marlow.example", declined_key="gross@marlow.example", declined_at=at)
    paid = before.customer("gross@marlow.example", **known, first_paid_at=at)
    who = before.identity("groß@marlow.example", "gross@marlow.example")
    calm = before.identity("calm@marlow.example", "calm@marlow.example")
    link = before.challenge("groß@marlow.example", "gross@marlow.example")
    for _ in range(2):  # a second time it changes nothing
        before.migrate()
        rows = {row.customer_id: row for row in before.all(Customer)}
        assert [rows[item].email_key for item in (sharp, shown, plain, paid)] == ["groß@marlow.example"] * 2 + ["gross@marlow.example"] * 2
        assert {item: rows[item].is_recognized for item in (sharp, shown, plain, paid)} == {
            sharp: True,
            shown: True,
            plain: False,
            paid: True,
        }
        assert not rows[refused].is_declined, "nobody can tell which of the two said so"
        assert before.one(IdentityEmail, IdentityEmail.identity_id == who).email_key == "groß@marlow.example"
        assert before.one(BrowserSession, BrowserSession.identity_id == who).revoked_at is not None
        assert before.one(BrowserSession, BrowserSession.identity_id == calm).revoked_at is None
        assert not before.all(ProviderLogin, ProviderLogin.identity_id == who)
        assert before.all(ProviderLogin, ProviderLogin.identity_id == calm)
        assert not before.all(Passkey, Passkey.identity_id == who)
        ended = before.one(Challenge, Challenge.id == link)
        assert ended.revoked_at is not None and ended.address_key == "groß@marlow.example"
    words = {row.word for row in before.all(CustomerWord, CustomerWord.customer_id == sharp)}
    assert fold_address("groß@marlow.example") in words and "gross@marlow.example" not in words


def test_a_console_opens_for_its_own_address_only(before: Before) -> None:
    """Sam was invited. A person who signed in as `ſam@` shared his account and had access as staff."""
    who = before.identity("ſam@marlow.example", "sam@marlow.example")
    with before.database.open(everything("a test's team"), write=True) as db:
        joined = join(db, before.acorn, who, email="sam@marlow.example", email_key="sam@marlow.example", role="owner").id
    with before.database.open(system(before.acorn), write=True) as db:
        asked = invite(db, before.acorn, "ſam@marlow.example", "support").id
        db.execute(update(Invitation).where(Invitation.id == asked).values(email_key="sam@marlow.example"))
    before.migrate()
    member = before.one(Membership, Membership.id == joined)
    own = before.one(IdentityEmail, IdentityEmail.email_key == "sam@marlow.example")
    assert member.email_key == "sam@marlow.example" and member.identity_id == own.identity_id != who
    assert before.one(Identity, Identity.identity_id == own.identity_id)
    assert before.one(Invitation, Invitation.id == asked).email_key == "ſam@marlow.example"


def test_unproved_addresses_end_no_session(before: Before) -> None:
    """An entered address that resembles Rosa's does not sign her out. A used link does."""
    rosa = before.identity("rosss@marlow.example", "rosss@marlow.example")
    typed = before.challenge("roßs@marlow.example", "rosss@marlow.example")
    jose = before.customer("JOSÉ@marlow.example", recognized_key="josé@marlow.example", first_paid_at=clock.now())
    before.migrate()
    assert before.one(BrowserSession, BrowserSession.identity_id == rosa).revoked_at is None
    assert before.one(Challenge, Challenge.id == typed).address_key == "roßs@marlow.example"
    row = before.one(Customer, Customer.customer_id == jose)
    assert row.email_key == "josÉ@marlow.example" and row.is_recognized
    before.challenge("roßs@marlow.example", "rosss@marlow.example", used_at=before.at)
    before.migrate()
    assert before.one(BrowserSession, BrowserSession.identity_id == rosa).revoked_at is not None
