"""Provider sign-in in the database: removing a login or connection ends its sessions, and proofs of people do not mix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from joserfc.jwk import KeySet
from sqlalchemy import select

from auth import email_addresses, sessions
from auth.models import IdentityEmail
from auth.oidc_client import account_linking, business_sign_in, connections, flow, unlink
from auth.oidc_client.claims import ProviderClaims
from auth.oidc_client.connections import ConnectionForm
from auth.oidc_client.discovery import CachedMetadata
from auth.oidc_client.errors import ProviderError
from auth.oidc_client.flow import CallbackResult
from auth.oidc_client.models import ProviderLogin
from auth.oidc_client.provider_config import ProviderConfig, from_connection
from auth.passkeys import Passkey
from auth.sessions import Visit
from billing.customers.businesses import create_business
from billing.customers.customers import create_customer
from core import clock
from core.db import Database
from core.outgoing import Outgoing
from core.scope import everything, person, staff, system
from core.services import Services
from core.settings import Settings

ADA, BEN = "ada@marlow.example", "ben@hill.example"
TOWN = ProviderConfig("op/town", "Town", "https://id.town.example", "portal", "", "/login/with/town", trust=("*",))


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings)
    app = Flask("portal")
    app.extensions["portal"] = Services(settings, database)
    with app.app_context():
        yield database
    database.dispose()


def came(subject: str, email: str, purpose: str = "sign_in", identity_id: str | None = None) -> CallbackResult:
    return CallbackResult(ProviderClaims(subject, email, True, None, None, "", {"sub": subject, "email": email}), purpose, identity_id, "")


def proved(database: Database, settings: Settings, subject: str, email: str, before: Visit | None = None) -> Visit:
    joined = account_linking.sign_in_unified(database, settings, TOWN, came(subject, email), before, "Firefox", knows=lambda key: None)
    found = sessions.load(database, settings, joined.secret or "")
    assert found
    return found


def alive(database: Database, visit: Visit) -> bool:
    """Whether the session still opens an identity."""
    with database.open(everything("a test looks")) as db:
        grants = db.scalars(select(sessions.Grant).where(sessions.Grant.session_id == visit.session_id)).all()
        row = db.scalars(select(sessions.BrowserSession).where(sessions.BrowserSession.id == visit.session_id)).one()
        return row.revoked_at is None and any(grant.revoked_at is None for grant in grants)


def test_removing_a_login_ends_its_other_sessions(database: Database, settings: Settings) -> None:
    here, there = (proved(database, settings, "1", ADA) for _ in range(2))
    with database.open(person(str(here.identity_id), []), write=True) as db:
        provider_login = db.scalars(select(ProviderLogin)).one()
        unlink.remove(db, settings, provider_login.id, here.session_id)
    assert alive(database, here) and not alive(database, there)


def test_provider_logout_works_after_a_new_main_address(database: Database, settings: Settings) -> None:
    here, there = proved(database, settings, "1", ADA), proved(database, settings, "1", ADA)
    with database.open(everything("a second address"), write=True) as db:
        db.add(IdentityEmail(identity_id=str(here.identity_id), id="eml_2", email=BEN, email_key=BEN, verified_at=clock.wall()))
    email_addresses.make_primary(database, there, BEN)
    with database.open(person(str(here.identity_id), []), write=True) as db:
        unlink.remove(db, settings, db.scalars(select(ProviderLogin.id)).one(), here.session_id)
    assert alive(database, here) and not alive(database, there)


def test_another_person_in_the_same_browser_inherits_nothing(database: Database, settings: Settings) -> None:
    """Ada is signed in and Ben returns from the provider. His session is new, hers ends, and her pending link does not apply to him."""
    ada = proved(database, settings, "1", ADA)
    ben = proved(database, settings, "2", BEN, before=ada)
    assert ben.addresses == (BEN,) and ben.identity_id != ada.identity_id and not alive(database, ada)
    with pytest.raises(ProviderError, match="wrong_state"):
        account_linking.sign_in_unified(
            database, settings, TOWN, came("3", ADA, "link", ada.identity_id), ben, "Firefox", knows=lambda key: None
        )
    with pytest.raises(ProviderError, match="taken"):
        account_linking.sign_in_unified(
            database, settings, TOWN, came("1", ADA, "link", ben.identity_id), ben, "Firefox", knows=lambda key: None
        )
    with pytest.raises(ProviderError, match="address_taken"):  # the provider is trusted for Ada's address, so at sign-in this would be her
        account_linking.sign_in_unified(
            database, settings, TOWN, came("4", ADA, "link", ben.identity_id), ben, "Firefox", knows=lambda key: None
        )
    nobody = replace(TOWN, trust=())  # trusted for no address, so the answer does not disclose who is known here
    for email in (ADA, "nobody@void.example"):
        account_linking.sign_in_unified(
            database, settings, nobody, came(email, email, "link", ben.identity_id), ben, "Firefox", knows=lambda key: None
        )
    with database.open(everything("whose logins")) as db:
        assert sorted(
            (provider_login.subject, provider_login.identity_id == ben.identity_id) for provider_login in db.scalars(select(ProviderLogin))
        ) == [("1", False), ("2", True), (ADA, True), ("nobody@void.example", True)]


def test_an_account_with_a_passkey_is_not_linked_by_a_provider_alone(database: Database, settings: Settings) -> None:
    """The person must be signed in to link it (safety 6.2). Existing links continue to sign in."""
    ada = proved(database, settings, "1", ADA)
    with database.open(person(str(ada.identity_id), []), write=True) as db:
        db.add(
            Passkey(
                identity_id=str(ada.identity_id), id="k", name="", public_key=b"", sign_count=0, is_backed_up=False, created_at=clock.wall()
            )
        )
    with pytest.raises(ProviderError, match="needs_signing_in"):
        proved(database, settings, "2", ADA)
    assert proved(database, settings, "1", ADA).identity_id == ada.identity_id
    account_linking.sign_in_unified(
        database, settings, TOWN, came("2", ADA, "link", ada.identity_id), ada, "Firefox", knows=lambda key: None
    )
    assert proved(database, settings, "2", ADA).identity_id == ada.identity_id


def test_an_old_provider_session_is_not_a_fresh_sign_in(database: Database, settings: Settings) -> None:
    """The provider reports when it last authenticated. A signed-in person is authenticated there again."""
    hours = int((clock.wall() - timedelta(hours=5)).timestamp())
    for said, fresh in (({"auth_time": hours}, False), ({"auth_time": hours + 5 * 3600}, True), ({"auth_time": "x"}, True), ({}, True)):
        back = came("1", ADA)
        back.claims.all.update(said)
        joined = account_linking.sign_in_unified(database, settings, TOWN, back, None, "Firefox", knows=lambda key: None)
        visit = sessions.load(database, settings, joined.secret or "")
        assert visit and visit.is_person and sessions.proved_within(visit) is fresh, said
    known = CachedMetadata({"authorization_endpoint": "https://id.town.example/auth"}, KeySet([]), 0.0)
    discovery: Any = SimpleNamespace(of=lambda issuer: known)
    google = replace(TOWN, issuer="https://accounts.google.com")
    for party, anew, asked in ((TOWN, True, "prompt=login"), (google, True, "prompt=select_account"), (TOWN, False, "")):
        there = flow.start_sign_in(database, settings, discovery, party, browser="b", purpose="sign_in", reauthenticate=anew)
        assert asked in there and ("prompt=" in there) is anew


def test_a_removed_connection_signs_nobody_in(database: Database, settings: Settings) -> None:
    """Also people who were at the provider while it was removed."""
    with database.open(everything("a business"), write=True) as db:
        acorn = create_business(db, name="Acorn", currency="EUR").business_id
    with database.open(system(acorn), write=True) as db:
        create_customer(db, acorn, email=ADA, name="Ada")
    plan_order = ConnectionForm("https://id.acorn.example", "portal", "secret", "Acorn ID", "email")
    with database.open(staff(acorn, "mem_1"), write=True) as db:
        row = connections.save(db, settings, Outgoing(settings), acorn, plan_order)
        row.is_enabled = True
        party = from_connection(settings, row)
    secret: Any = business_sign_in.sign_in(database, settings, party, came("9", ADA), None, "Firefox")
    inside = sessions.load(database, settings, secret)
    assert inside and not inside.is_person and alive(database, inside)
    with database.open(staff(acorn, "mem_1"), write=True) as db:
        connections.remove(db)
    assert not alive(database, inside) and sessions.load(database, settings, secret) is None
    with pytest.raises(ProviderError, match="wrong_state"):
        business_sign_in.sign_in(database, settings, party, came("9", ADA), None, "Firefox")
