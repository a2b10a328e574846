"""Revision 0016 on rows of before it: what one key had stood for becomes two people, and what either of them proved is ended."""

from __future__ import annotations

from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select, update

from auth.models import BrowserSession, Challenge, Identity, IdentityEmail
from auth.passkeys import Passkey
from auth.providers.models import ProviderLogin
from billing.addresses import fold_address
from billing.commands.customers import create_customer
from billing.finding import CustomerWord
from billing.parties import Customer
from core import clock, guard
from core.db import Database
from core.ids import new_id
from core.revisions import MIGRATIONS
from core.scope import everything, system
from tenants.joining import invite, join
from tenants.team import Invitation, Membership
from tests.conftest import Street

OLD = {"groß@marlow.example": "gross@marlow.example", "ſam@marlow.example": "sam@marlow.example",
       "JOSÉ@marlow.example": "josé@marlow.example"}


class Before:
    """Rows as the old rule wrote them."""

    def __init__(self, street: Street) -> None:
        self.database: Database = street.house.database
        self.acorn, self.settings = street.acorn, street.house.settings
        self.at = clock.wall()

    def customer(self, email: str, **values: Any) -> str:
        with self.database.open(system(self.acorn), write=True) as db:
            row = create_customer(db, self.acorn, email=email, name="Somebody")
            row.email_key = OLD.get(email, row.email_key)
            for name, value in values.items():
                setattr(row, name, value)
            return row.customer_id

    def identity(self, email: str, key: str) -> str:
        one = new_id("idn")
        with self.database.open(everything("a test's person"), write=True) as db:
            db.add(Identity(identity_id=one, name="Somebody", created_at=self.at))
            db.flush()
            db.add(IdentityEmail(identity_id=one, id=new_id("eml"), email=email, email_key=key, is_primary=True, verified_at=self.at))
            db.add(BrowserSession(id=new_id("ses"), secret_hash=new_id("x"), identity_id=one, device="", created_at=self.at,
                                  last_seen_at=self.at, expires_at=self.at))
            db.add(ProviderLogin(identity_id=one, id=new_id("lgn"), provider="work", issuer="i", subject=one, label=email, address_key=key,
                                 created_at=self.at, last_used_at=self.at))
        return one

    def challenge(self, email: str, key: str, **values: Any) -> str:
        one = new_id("chl")
        with self.database.open(everything("a test's challenge"), write=True) as db:
            db.add(Challenge(id=one, purpose="sign_in", browser_hash="b", address_key=key, email=email, door="unified",
                             link_hash=new_id("l"), code_hash="c", device="", locale="en", next="", created_at=self.at,
                             expires_at=self.at, **values))
        return one

    def all(self, kind: Any, *where: Any) -> list[Any]:
        with self.database.open(everything("a test looks")) as db:
            return list(db.scalars(select(kind).where(*where)))

    def one(self, kind: Any, *where: Any) -> Any:
        found, = self.all(kind, *where)
        return found

    def migrate(self) -> None:
        engine = create_engine(self.settings.owner_url)
        with engine.begin() as connection, guard.raw_sql():
            ScriptDirectory(str(MIGRATIONS)).get_revision("0016").module.separate_mailboxes(connection)
        engine.dispose()


@pytest.fixture
def before(street: Street) -> Before:
    return Before(street)


def test_rows_that_were_wrongly_one_become_two(before: Before) -> None:
    """Two customers of one business, one account, and what each had answered."""
    at = clock.now()
    known = {"known_key": "gross@marlow.example"}
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
        rows = {one.customer_id: one for one in before.all(Customer)}
        assert [rows[one].email_key for one in (sharp, shown, plain, paid)] == ["groß@marlow.example"] * 2 + ["gross@marlow.example"] * 2
        assert {one: rows[one].is_known for one in (sharp, shown, plain, paid)} == {sharp: True, shown: True, plain: False, paid: True}
        assert not rows[refused].is_declined, "nobody can tell which of the two said so"
        assert before.one(IdentityEmail, IdentityEmail.identity_id == who).email_key == "groß@marlow.example"
        assert before.one(BrowserSession, BrowserSession.identity_id == who).revoked_at is not None
        assert before.one(BrowserSession, BrowserSession.identity_id == calm).revoked_at is None
        assert not before.all(ProviderLogin, ProviderLogin.identity_id == who)
        assert before.all(ProviderLogin, ProviderLogin.identity_id == calm)
        assert not before.all(Passkey, Passkey.identity_id == who)
        ended = before.one(Challenge, Challenge.id == link)
        assert ended.revoked_at is not None and ended.address_key == "groß@marlow.example"
    words = {one.word for one in before.all(CustomerWord, CustomerWord.customer_id == sharp)}
    assert fold_address("groß@marlow.example") in words and "gross@marlow.example" not in words


def test_a_console_is_opened_by_its_own_address_alone(before: Before) -> None:
    """Sam was invited; who signed in as `ſam@` had the same account, and was staff."""
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


def test_what_nobody_proved_ends_nothing(before: Before) -> None:
    """That somebody once typed an address that looks like Rosa's is no reason to sign her out; that a link was used is."""
    rosa = before.identity("rosss@marlow.example", "rosss@marlow.example")
    typed = before.challenge("roßs@marlow.example", "rosss@marlow.example")
    jose = before.customer("JOSÉ@marlow.example", known_key="josé@marlow.example", first_paid_at=clock.now())
    before.migrate()
    assert before.one(BrowserSession, BrowserSession.identity_id == rosa).revoked_at is None
    assert before.one(Challenge, Challenge.id == typed).address_key == "roßs@marlow.example"
    row = before.one(Customer, Customer.customer_id == jose)
    assert row.email_key == "josÉ@marlow.example" and row.is_known
    before.challenge("roßs@marlow.example", "rosss@marlow.example", used_at=before.at)
    before.migrate()
    assert before.one(BrowserSession, BrowserSession.identity_id == rosa).revoked_at is not None
