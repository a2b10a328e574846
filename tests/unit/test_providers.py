"""Signing in with a provider, as rows: what a removed login or connection opened ends, and nobody's proofs mix."""

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

from auth import linking, sessions
from auth.models import IdentityEmail
from auth.passkeys import Passkey
from auth.providers import connections, flow, joining, leaving
from auth.providers.claims import Claims
from auth.providers.connections import Wish
from auth.providers.discovery import Known
from auth.providers.flow import Came
from auth.providers.mistakes import Mistake
from auth.providers.models import ProviderLogin
from auth.providers.parties import Party, party_of
from auth.sessions import Visit
from billing.commands.businesses import create_business
from billing.commands.customers import create_customer
from core import clock
from core.db import Database
from core.outgoing import Outgoing
from core.scope import everything, person, staff, system
from core.settings import Settings
from core.web import House

ADA, BEN = "ada@marlow.example", "ben@hill.example"
TOWN = Party("op/town", "Town", "https://id.town.example", "portal", "", "/login/with/town", trust=("*",))


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings)
    app = Flask("house")
    app.extensions["portal"] = House(settings, database)
    with app.app_context():
        yield database
    database.dispose()


def came(subject: str, email: str, purpose: str = "sign_in", identity_id: str | None = None) -> Came:
    return Came(Claims(subject, email, True, None, None, "", {"sub": subject, "email": email}), purpose, identity_id, "")


def proved(database: Database, settings: Settings, subject: str, email: str, before: Visit | None = None) -> Visit:
    joined = joining.at_unified_door(database, settings, TOWN, came(subject, email), before, "Firefox", lambda key: None)
    found = sessions.load(database, settings, joined.secret or "")
    assert found
    return found


def alive(database: Database, visit: Visit) -> bool:
    """Whether its session opens anything of a person, now."""
    with database.open(everything("a test looks")) as db:
        grants = db.scalars(select(sessions.Grant).where(sessions.Grant.session_id == visit.session_id)).all()
        row = db.scalars(select(sessions.BrowserSession).where(sessions.BrowserSession.id == visit.session_id)).one()
        return row.revoked_at is None and any(one.revoked_at is None for one in grants)


def test_a_login_that_is_removed_signs_its_other_browsers_out(database: Database, settings: Settings) -> None:
    here, there = (proved(database, settings, "1", ADA) for _ in range(2))
    with database.open(person(str(here.identity_id), []), write=True) as db:
        one = db.scalars(select(ProviderLogin)).one()
        leaving.remove(db, settings, one.id, here.session_id)
    assert alive(database, here) and not alive(database, there)


def test_a_new_main_address_is_no_way_around_the_providers_logout(database: Database, settings: Settings) -> None:
    here, there = proved(database, settings, "1", ADA), proved(database, settings, "1", ADA)
    with database.open(everything("a second address"), write=True) as db:
        db.add(IdentityEmail(identity_id=str(here.identity_id), id="eml_2", email=BEN, email_key=BEN, verified_at=clock.wall()))
    linking.make_primary(database, there, BEN)
    with database.open(person(str(here.identity_id), []), write=True) as db:
        leaving.remove(db, settings, db.scalars(select(ProviderLogin.id)).one(), here.session_id)
    assert alive(database, here) and not alive(database, there)


def test_somebody_else_at_the_same_browser_brings_nothing_along(database: Database, settings: Settings) -> None:
    """Ada is signed in; Ben comes back from the provider: his session is new, hers ends, and a link she asked for joins nobody."""
    ada = proved(database, settings, "1", ADA)
    ben = proved(database, settings, "2", BEN, before=ada)
    assert ben.addresses == (BEN,) and ben.identity_id != ada.identity_id and not alive(database, ada)
    with pytest.raises(Mistake, match="wrong_state"):
        joining.at_unified_door(database, settings, TOWN, came("3", ADA, "link", ada.identity_id), ben, "Firefox", lambda key: None)
    with pytest.raises(Mistake, match="taken"):
        joining.at_unified_door(database, settings, TOWN, came("1", ADA, "link", ben.identity_id), ben, "Firefox", lambda key: None)
    with pytest.raises(Mistake, match="address_taken"):  # the town speaks for Ada's address: at the door this would be her
        joining.at_unified_door(database, settings, TOWN, came("4", ADA, "link", ben.identity_id), ben, "Firefox", lambda key: None)
    nobody = replace(TOWN, trust=())  # not believed about any address, so nothing is told of who is known here
    for email in (ADA, "nobody@void.example"):
        joining.at_unified_door(database, settings, nobody, came(email, email, "link", ben.identity_id), ben, "Firefox", lambda key: None)
    with database.open(everything("whose logins")) as db:
        assert sorted((one.subject, one.identity_id == ben.identity_id) for one in db.scalars(select(ProviderLogin))) == [
            ("1", False), ("2", True), (ADA, True), ("nobody@void.example", True)]


def test_who_has_a_passkey_is_not_joined_by_a_providers_word(database: Database, settings: Settings) -> None:
    """They say so signed in (safety 6.2); what was joined before goes on signing in."""
    ada = proved(database, settings, "1", ADA)
    with database.open(person(str(ada.identity_id), []), write=True) as db:
        db.add(Passkey(identity_id=str(ada.identity_id), id="k", name="", public_key=b"", sign_count=0, is_backed_up=False,
                       created_at=clock.wall()))
    with pytest.raises(Mistake, match="needs_signing_in"):
        proved(database, settings, "2", ADA)
    assert proved(database, settings, "1", ADA).identity_id == ada.identity_id
    joining.at_unified_door(database, settings, TOWN, came("2", ADA, "link", ada.identity_id), ada, "Firefox", lambda key: None)
    assert proved(database, settings, "2", ADA).identity_id == ada.identity_id


def test_a_window_left_open_at_the_provider_is_no_fresh_proof(database: Database, settings: Settings) -> None:
    """The provider says when it last asked; and who is signed in here already is asked there anew."""
    hours = int((clock.wall() - timedelta(hours=5)).timestamp())
    for said, fresh in (({"auth_time": hours}, False), ({"auth_time": hours + 5 * 3600}, True), ({"auth_time": "x"}, True), ({}, True)):
        back = came("1", ADA)
        back.claims.all.update(said)
        joined = joining.at_unified_door(database, settings, TOWN, back, None, "Firefox", lambda key: None)
        visit = sessions.load(database, settings, joined.secret or "")
        assert visit and visit.is_person and sessions.proved_within(visit) is fresh, said
    known = Known({"authorization_endpoint": "https://id.town.example/auth"}, KeySet([]), 0.0)
    discovery: Any = SimpleNamespace(of=lambda issuer: known)
    google = replace(TOWN, issuer="https://accounts.google.com")
    for party, anew, asked in ((TOWN, True, "prompt=login"), (google, True, "prompt=select_account"), (TOWN, False, "")):
        there = flow.leave(database, settings, discovery, party, browser="b", purpose="sign_in", anew=anew)
        assert asked in there and ("prompt=" in there) is anew


def test_a_connection_that_is_gone_lets_nobody_in(database: Database, settings: Settings) -> None:
    """Also whoever was on their way back while it was removed."""
    with database.open(everything("a business"), write=True) as db:
        acorn = create_business(db, name="Acorn", currency="EUR").business_id
    with database.open(system(acorn), write=True) as db:
        create_customer(db, acorn, email=ADA, name="Ada")
    wish = Wish("https://id.acorn.example", "portal", "secret", "Acorn ID", "email")
    with database.open(staff(acorn, "mem_1"), write=True) as db:
        row = connections.save(db, settings, Outgoing(settings), acorn, wish)
        row.is_enabled = True
        party = party_of(settings, row)
    secret: Any = joining.at_business_door(database, settings, party, came("9", ADA), None, "Firefox")
    inside = sessions.load(database, settings, secret)
    assert inside and not inside.is_person and alive(database, inside)
    with database.open(staff(acorn, "mem_1"), write=True) as db:
        connections.remove(db)
    assert not alive(database, inside) and sessions.load(database, settings, secret) is None
    with pytest.raises(Mistake, match="wrong_state"):
        joining.at_business_door(database, settings, party, came("9", ADA), None, "Firefox")
