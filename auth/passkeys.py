"""Passkeys (WebAuthn level 2): signing in without a letter. A passkey opens everything of its person, and is never the only way in:
the addresses stay.

A ceremony is a challenge row bound to the asking browser, used once, five minutes. Only discoverable, user-verified credentials.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Index, LargeBinary, func, select, update
from sqlalchemy.orm import Mapped, mapped_column
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from auth import notices, signing, tokens
from auth.models import BrowserSession, Grant, IdentityEmail
from auth.sessions import Visit
from core import clock, ids
from core.db import Database, ScopedSession
from core.errors import Conflict, Invalid, NotFound
from core.json_input import read_json
from core.models import Base, PersonOwned
from core.scope import everything
from core.settings import Settings

LIFE = timedelta(minutes=5)
MOST = 20


class Passkey(Base, PersonOwned):
    """`id` is the credential id (base64url); `name` is the person's own word for it."""

    __tablename__ = "passkeys"

    name: Mapped[str]
    handle: Mapped[str | None]  # what the authenticator calls its person, where two accounts became one since (auth/merging.py)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int]
    is_backed_up: Mapped[bool]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]


class PasskeyCeremony(Base):
    """One asking of an authenticator. The challenge is public; what counts is that it is used once, and where."""

    __tablename__ = "passkey_ceremonies"
    __open__ = "open"
    __table_args__ = (Index("ix_passkey_ceremonies_expires", "expires_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    browser_hash: Mapped[str]
    identity_id: Mapped[str | None]  # adding one: for whom; signing in: nobody yet
    challenge: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


@dataclass(frozen=True)
class RelyingParty:
    """What an authenticator binds a passkey to. Built from settings, never from the request (safety 2.10)."""

    id: str
    origin: str
    name: str


def relying_party(settings: Settings) -> RelyingParty | None:
    """None where browsers offer no passkeys: a base URL that is a bare address, or http other than localhost."""
    host = settings.host.rsplit(":", 1)[0] if not settings.host.startswith("[") else ""
    if not host or host.replace(".", "").isdigit() or not (settings.is_https or host == "localhost"):
        return None
    return RelyingParty(host, settings.base_url, settings.name)


def ask_to_add(database: Database, settings: Settings, party: RelyingParty, visit: Visit, browser: str) -> tuple[str, str]:
    """(ceremony id, creation options as JSON) for a person who is signed in."""
    who = str(visit.identity_id)
    with database.open(everything("a person's own passkeys")) as db:
        held = list(db.scalars(select(Passkey.id).where(Passkey.identity_id == who)))
    if len(held) >= MOST:
        raise Conflict("TOO_MANY_PASSKEYS", "You have twenty passkeys. Remove one first.")
    options = generate_registration_options(
        rp_id=party.id, rp_name=party.name, user_id=who.encode(), user_name=visit.primary_email, user_display_name=visit.name,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED),
        exclude_credentials=[PublicKeyCredentialDescriptor(base64url_to_bytes(one)) for one in held],
    )
    return _remember(database, settings, browser, options.challenge, who), options_to_json(options)


def add(db: ScopedSession, settings: Settings, party: RelyingParty, visit: Visit, ceremony_id: str, browser: str, credential: str,
        name: str) -> Passkey:
    """Keep what the authenticator made, in the person's own session. Raises Invalid (credential)."""
    ceremony = _use(db, settings, ceremony_id, browser)
    if ceremony is None or ceremony.identity_id != visit.identity_id:
        raise Invalid(fields={"credential": "That took too long, or began elsewhere. Please try again."})
    try:
        made = verify_registration_response(credential=_shape(credential), expected_challenge=ceremony.challenge,
                                            expected_rp_id=party.id, expected_origin=party.origin, require_user_verification=True)
    except (WebAuthnException, ValueError, KeyError, TypeError) as wrong:
        raise Invalid(fields={"credential": "Your device's answer does not fit. Please try again."}) from wrong
    one = Passkey(
        identity_id=str(visit.identity_id), id=bytes_to_base64url(made.credential_id), name=_named(name),
        public_key=made.credential_public_key, sign_count=made.sign_count, is_backed_up=made.credential_backed_up,
        created_at=clock.wall(), last_used_at=None,
    )
    if db.scalar(select(Passkey.id).where(Passkey.id == one.id)):
        raise Conflict("PASSKEY_KNOWN", "This passkey is yours already.")
    db.add(one)
    notices.tell(db, one.identity_id, "passkey_added", one.name)
    return one


def of_person(db: ScopedSession) -> list[Passkey]:
    """In the person's own session, newest first."""
    return list(db.scalars(select(Passkey).order_by(Passkey.created_at.desc())))


def has_one(db: ScopedSession, identity_id: str) -> bool:
    return db.scalar(select(Passkey.id).where(Passkey.identity_id == identity_id).limit(1)) is not None


def rename(db: ScopedSession, credential_id: str, name: str) -> None:
    _own(db, credential_id).name = _named(name)


def remove(db: ScopedSession, credential_id: str, here: str) -> None:
    """It signs in no more, and browsers it signed in are signed out, but for the one where this is said (session `here`): that is
    somebody with a proof of this half hour. Raises NotFound."""
    one = _own(db, credential_id)
    notices.tell(db, one.identity_id, "passkey_removed", one.name)
    theirs = select(BrowserSession.id).where(BrowserSession.identity_id == one.identity_id, BrowserSession.id != here)
    by_it = (Grant.passkey_id == one.id) | ((Grant.proof == "passkey") & Grant.passkey_id.is_(None))
    db.execute(update(Grant).where(Grant.session_id.in_(theirs), by_it, Grant.revoked_at.is_(None)).values(revoked_at=clock.wall()),
               execution_options={"synchronize_session": False})
    db.delete(one)


def ask_to_sign_in(database: Database, settings: Settings, party: RelyingParty, browser: str) -> tuple[str, str]:
    """(ceremony id, request options as JSON). Names no credential: the same answer for everybody."""
    options = generate_authentication_options(rp_id=party.id, user_verification=UserVerificationRequirement.REQUIRED)
    return _remember(database, settings, browser, options.challenge, None), options_to_json(options)


def sign_in(database: Database, settings: Settings, party: RelyingParty, ceremony_id: str, browser: str, credential: str,
            before: Visit | None, device: str, knows: Any) -> tuple[str, list[str]] | None:
    """(cookie secret, the person's folded addresses), or None for anything that proves nobody. `knows(key)`: is this browser known?"""
    with database.open(everything("a passkey ceremony"), write=True) as db:  # used up whatever follows
        ceremony = _use(db, settings, ceremony_id, browser)
        challenge = ceremony.challenge if ceremony is not None and ceremony.identity_id is None else None
    if challenge is None:
        return None
    with database.open(everything("a passkey proves its person"), write=True) as db:
        try:
            said = _shape(credential)
            handle = base64url_to_bytes(said["response"].get("userHandle") or "").decode()
            one = db.scalar(select(Passkey).where(
                Passkey.id == str(said["id"]), func.coalesce(Passkey.handle, Passkey.identity_id) == handle).with_for_update())
            if one is None:
                return None
            proved = verify_authentication_response(
                credential=said, expected_challenge=challenge, expected_rp_id=party.id, expected_origin=party.origin,
                credential_public_key=one.public_key, credential_current_sign_count=one.sign_count, require_user_verification=True)
        except (WebAuthnException, ValueError, KeyError, TypeError, AttributeError):
            return None
        one.sign_count, one.last_used_at, one.is_backed_up = proved.new_sign_count, clock.wall(), proved.credential_backed_up
        keys = list(db.scalars(select(IdentityEmail.email_key).where(IdentityEmail.identity_id == one.identity_id)))
        secret = signing.open_session(db, settings, one.identity_id, before, device, proof="passkey", address_key=None,
                                      is_known=any(knows(key) for key in keys), grant={"passkey_id": one.id})
    return secret, keys


def _remember(database: Database, settings: Settings, browser: str, challenge: bytes, identity_id: str | None) -> str:
    one, at = ids.new_id("pkc"), clock.wall()
    with database.open(everything("a passkey ceremony"), write=True) as db:
        db.add(PasskeyCeremony(id=one, browser_hash=tokens.hashed(settings, "browser", browser), identity_id=identity_id,
                               challenge=challenge, expires_at=at + LIFE))
    return one


def _use(db: ScopedSession, settings: Settings, ceremony_id: str, browser: str) -> PasskeyCeremony | None:
    """The ceremony, used up in this transaction: of parallel calls one gets it."""
    at = clock.wall()
    mine = (PasskeyCeremony.id == ceremony_id, PasskeyCeremony.browser_hash.in_(tokens.hashes(settings, "browser", browser)))
    used = db.execute(update(PasskeyCeremony).where(*mine, PasskeyCeremony.used_at.is_(None), PasskeyCeremony.expires_at > at)
                      .values(used_at=at), execution_options={"synchronize_session": False})
    return db.scalar(select(PasskeyCeremony).where(*mine)) if used.rowcount == 1 else None  # type: ignore[attr-defined]


def _own(db: ScopedSession, credential_id: str) -> Passkey:
    one = db.scalar(select(Passkey).where(Passkey.id == credential_id))
    if one is None:
        raise NotFound()
    return one


def _shape(credential: str) -> dict[str, Any]:
    said = read_json(credential[:20_000])
    if not isinstance(said, dict) or not isinstance(said.get("response"), dict):
        raise ValueError("not a credential")
    return said


def _named(name: str) -> str:
    return " ".join(name.split())[:60] or "Passkey"
