"""From checked claims to a session, exactly by design §5 and safety 6.2, 6.3.

Unified door: a login is (issuer, subject), never an address. First contact joins a person only where this issuer is
believed about the address and says it is verified, and the person has no passkey; otherwise the address is proved by a
letter first, in the same browser. A business's provider opens one customer row of that business and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from auth import notices, passkeys, signing, tokens
from auth.identities import identity_of
from auth.models import Challenge, IdentityEmail
from auth.providers.claims import Claims
from auth.providers.flow import Came
from auth.providers.mistakes import Mistake
from auth.providers.models import Connection, ConnectionLogin, ProviderLogin
from auth.providers.parties import Party
from auth.sessions import Visit
from billing.addresses import parse_address
from billing.parties import Customer
from core import clock
from core.conflicts import retried
from core.db import Database, ScopedSession
from core.errors import Invalid
from core.scope import everything
from core.settings import Settings

SSO_LIFE = timedelta(hours=24)


@dataclass(frozen=True)
class Joined:
    """`secret`: the new session's cookie, with the folded addresses it is known to from here on. Or `letter`: the address
    to prove first, and what the proof joins. Neither: the provider was added to who is signed in."""

    secret: str | None = None
    keys: tuple[str, ...] = ()
    letter: str | None = None
    joins: dict[str, Any] | None = None


@retried
def at_unified_door(database: Database, settings: Settings, party: Party, came: Came, before: Visit | None, device: str,
                    knows: Callable[[str], Any]) -> Joined:
    """Raises Mistake: no_address, needs_signing_in, taken, address_taken, wrong_state."""
    claims = came.claims
    with database.open(everything("a provider proves its subject"), write=True) as db:
        known = ProviderLogin.id.in_(_hashes(settings, party.issuer, claims.subject))
        login = db.scalar(select(ProviderLogin).where(known).with_for_update())
        if came.purpose == "link":
            return _link(db, settings, party, came, before, login)
        if login is None:
            email, key = _address(claims)
            if not _believed(party, claims, key):
                return Joined(letter=email, joins={"provider": party.key, "name": party.label, "issuer": party.issuer,
                                                   "subject": claims.subject, "label": _label(claims)})
            held = db.scalar(select(IdentityEmail.identity_id).where(IdentityEmail.email_key == key))
            if held is not None and passkeys.has_one(db, held):
                raise Mistake("needs_signing_in")
            who = identity_of(db, email, key)
            login = _add(db, settings, who, key, party.key, party.label, party.issuer, claims.subject, _label(claims))
        login.last_used_at = clock.wall()
        keys = tuple(db.scalars(select(IdentityEmail.email_key).where(IdentityEmail.identity_id == login.identity_id)))
        secret = signing.open_session(
            db, settings, login.identity_id, before, device, proof="provider", address_key=login.address_key,
            is_known=any(knows(key) for key in keys), grant=grant_columns(settings, party, claims), proved_at=claims.proved_at)
        return Joined(secret, (login.address_key,) if login.address_key else keys)


def on_proof(settings: Settings, challenge: Challenge) -> Callable[[ScopedSession, str], None] | None:
    """For a letter that is answered in the browser that came from a provider: its subject is this person from now on, by
    that address. None for a letter that joins nothing."""
    said = challenge.joins
    if not said:
        return None

    def join(db: ScopedSession, identity_id: str) -> None:
        if db.scalar(select(ProviderLogin.id).where(ProviderLogin.id.in_(_hashes(settings, said["issuer"], said["subject"])))) is None:
            _add(db, settings, identity_id, challenge.address_key, said["provider"], said["name"], said["issuer"], said["subject"],
                 said["label"])

    return join


@retried
def at_business_door(database: Database, settings: Settings, party: Party, came: Came, before: Visit | None, device: str) -> str:
    """One customer of that business; returns the secret for the cookie. Raises Mistake."""
    claims = came.claims
    business_id, connection_id = str(party.business_id), str(party.connection_id)
    with database.open(everything("a business's provider proves its subject"), write=True) as db:
        still = select(Connection.id).where(Connection.business_id == business_id, Connection.id == connection_id,
                                            Connection.removed_at.is_(None), Connection.is_enabled)
        if db.scalar(still.with_for_update(read=True)) is None:  # it may be removed at this very moment: one of us waits for the other
            raise Mistake("wrong_state", "switched off")
        hashes = tokens.hashes(settings, "connection-login", f"{party.key}\0{claims.subject}")
        login = db.scalar(select(ConnectionLogin).where(
            ConnectionLogin.business_id == business_id, ConnectionLogin.connection_id == connection_id, ConnectionLogin.id.in_(hashes)))
        if login is None:
            customer = named_customer(db, party, claims)
            if customer is None:
                raise Mistake("not_a_customer")
            login = ConnectionLogin(business_id=business_id, id=hashes[0], customer_id=customer.customer_id, connection_id=connection_id,
                                    created_at=clock.wall(), last_used_at=clock.wall())
            db.add(login)
        login.last_used_at = clock.wall()
        return signing.grant_business(db, settings, before, device, business_id=business_id, customer_id=login.customer_id, proof="sso",
                                      life=SSO_LIFE, **grant_columns(settings, party, claims))


def named_customer(db: ScopedSession, party: Party, claims: Claims) -> Customer | None:
    """Whom the connection's claim names: our customer id, or an address; of several the one that was there first."""
    query = select(Customer).where(Customer.business_id == party.business_id, ~Customer.is_declined)
    if party.claim == "email":
        try:
            return db.scalar(query.where(Customer.email_key == _address(claims)[1]).order_by(Customer.created_at).limit(1))
        except Mistake:
            return None
    value = claims.all.get(party.claim)
    return db.scalar(query.where(Customer.customer_id == value)) if isinstance(value, str) else None


def grant_columns(settings: Settings, party: Party, claims: Claims) -> dict[str, Any]:
    """What a logout token of this provider finds the grant by."""
    return {"party": party.key, "party_subject": tokens.hashed(settings, "party-subject", f"{party.key}\0{claims.subject}"),
            "party_session": tokens.hashed(settings, "party-session", f"{party.key}\0{claims.session}") if claims.session else None}


def _link(db: ScopedSession, settings: Settings, party: Party, came: Came, before: Visit | None, login: ProviderLogin | None) -> Joined:
    if before is None or before.identity_id is None or before.identity_id != came.identity_id or before.link:
        raise Mistake("wrong_state", "another person came back")
    if login is not None:
        if login.identity_id != before.identity_id:
            raise Mistake("taken")
        login.address_key = None
        return Joined()
    if _is_somebody_elses(db, party, came.claims, before.identity_id):
        raise Mistake("address_taken")
    _add(db, settings, before.identity_id, None, party.key, party.label, party.issuer, came.claims.subject, _label(came.claims))
    return Joined()


def _is_somebody_elses(db: ScopedSession, party: Party, claims: Claims, identity_id: str) -> bool:
    """At the sign-in door this very account would have opened another person. An address that the provider is not believed about
    tells nothing of who is known here."""
    try:
        _, key = _address(claims)
    except Mistake:
        return False
    other = select(IdentityEmail.id).where(IdentityEmail.email_key == key, IdentityEmail.identity_id != identity_id)
    return _believed(party, claims, key) and db.scalar(other) is not None


def _believed(party: Party, claims: Claims, key: str) -> bool:
    return claims.is_verified and party.vouches_for(key, claims.hosted_domain)


def _add(db: ScopedSession, settings: Settings, identity_id: str, address_key: str | None, provider: str, name: str, issuer: str,
         subject: str, label: str) -> ProviderLogin:
    login = ProviderLogin(
        identity_id=identity_id, id=_hashes(settings, issuer, subject)[0], provider=provider, issuer=issuer, subject=subject, label=label,
        address_key=address_key, created_at=clock.wall(), last_used_at=clock.wall(),
    )
    db.add(login)
    db.flush()
    notices.tell(db, identity_id, "provider_added", name)
    return login


def _hashes(settings: Settings, issuer: str, subject: str) -> list[str]:
    return tokens.hashes(settings, "provider-login", f"{issuer}\0{subject}")


def _address(claims: Claims) -> tuple[str, str]:
    try:
        return parse_address(claims.email or "")
    except Invalid as odd:
        raise Mistake("no_address") from odd


def _label(claims: Claims) -> str:
    return " ".join((claims.email or claims.name or claims.subject).split())[:120]
