"""Passkeys (WebAuthn level 2): sign-in without an email. A passkey opens everything of its person. Email sign-in stays possible.

A ceremony is a challenge row bound to the browser. It works once, within five minutes. Only discoverable, user-verified
credentials are accepted.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import LargeBinary, func, select, update
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

from auth import account_emails, session_lifecycle
from auth.models import BrowserSession, Grant, IdentityEmail
from auth.passkey_ceremonies import RelyingParty, consume, store
from auth.sessions import Visit
from core import clock
from core.db import Database, ScopedSession
from core.errors import N_, Conflict, Invalid, NotFound
from core.json_input import read_json
from core.models import Base, PersonOwned
from core.scope import everything
from core.settings import Settings

MOST = 20


class Passkey(Base, PersonOwned):
    """`id` is the credential id (base64url); `name` is chosen by the person."""

    __tablename__ = "passkeys"

    name: Mapped[str]
    handle: Mapped[str | None]  # the user handle stored in the authenticator, if the account was merged since (auth/account_merge.py)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int]
    is_backed_up: Mapped[bool]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]


def registration_options(database: Database, settings: Settings, party: RelyingParty, visit: Visit, browser: str) -> tuple[str, str]:
    """Return (ceremony id, creation options as JSON) for a signed-in person. Raises Conflict at the maximum."""
    identity_id = str(visit.identity_id)
    with database.open(everything("list a person's passkeys")) as db:
        existing = list(db.scalars(select(Passkey.id).where(Passkey.identity_id == identity_id)))
    if len(existing) >= MOST:
        raise Conflict("TOO_MANY_PASSKEYS", N_("You have twenty passkeys. Remove one first."))
    options = generate_registration_options(
        rp_id=party.id,
        rp_name=party.name,
        user_id=identity_id.encode(),
        user_name=visit.primary_email,
        user_display_name=visit.name,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(base64url_to_bytes(item)) for item in existing],
    )
    return store(database, settings, browser, options.challenge, identity_id), options_to_json(options)


def add(
    db: ScopedSession, settings: Settings, party: RelyingParty, visit: Visit, *, ceremony_id: str, browser: str, credential: str, name: str
) -> Passkey:
    """Verify and store a new passkey, in the person's own session. Raises Invalid (credential), Conflict."""
    ceremony = consume(db, settings, ceremony_id, browser)
    if ceremony is None or ceremony.identity_id != visit.identity_id:
        raise Invalid(fields={"credential": N_("That took too long, or was started in another browser. Please try again.")})
    try:
        registration = verify_registration_response(
            credential=_parse(credential),
            expected_challenge=ceremony.challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as wrong:
        raise Invalid(fields={"credential": N_("Your device sent an invalid response. Please try again.")}) from wrong
    passkey = Passkey(
        identity_id=str(visit.identity_id),
        id=bytes_to_base64url(registration.credential_id),
        name=_clean_name(name),
        public_key=registration.credential_public_key,
        sign_count=registration.sign_count,
        is_backed_up=registration.credential_backed_up,
        created_at=clock.wall(),
        last_used_at=None,
    )
    if db.scalar(select(Passkey.id).where(Passkey.id == passkey.id)):
        raise Conflict("PASSKEY_KNOWN", N_("You have already added this passkey."))
    db.add(passkey)
    account_emails.notify_identity(db, passkey.identity_id, "passkey_added", passkey.name)
    return passkey


def of_person(db: ScopedSession) -> list[Passkey]:
    """Return the person's passkeys, newest first. `db` is the person's own session."""
    return list(db.scalars(select(Passkey).order_by(Passkey.created_at.desc())))


def has_passkey(db: ScopedSession, identity_id: str) -> bool:
    return db.scalar(select(Passkey.id).where(Passkey.identity_id == identity_id).limit(1)) is not None


def rename(db: ScopedSession, credential_id: str, name: str) -> None:
    _own(db, credential_id).name = _clean_name(name)


def remove(db: ScopedSession, credential_id: str, here: str) -> None:
    """Remove a passkey and sign out the browsers it signed in, except session `here`. Raises NotFound.

    Session `here` stays, because it has a proof from the last half hour.
    """
    item = _own(db, credential_id)
    account_emails.notify_identity(db, item.identity_id, "passkey_removed", item.name)
    theirs = select(BrowserSession.id).where(BrowserSession.identity_id == item.identity_id, BrowserSession.id != here)
    by_it = (Grant.passkey_id == item.id) | ((Grant.sign_in_method == "passkey") & Grant.passkey_id.is_(None))
    db.execute(
        update(Grant).where(Grant.session_id.in_(theirs), by_it, Grant.revoked_at.is_(None)).values(revoked_at=clock.wall()),
        execution_options={"synchronize_session": False},
    )
    db.delete(item)


def authentication_options(database: Database, settings: Settings, party: RelyingParty, browser: str) -> tuple[str, str]:
    """Return (ceremony id, request options as JSON). Lists no credentials, so it is the same for everybody."""
    options = generate_authentication_options(rp_id=party.id, user_verification=UserVerificationRequirement.REQUIRED)
    return store(database, settings, browser, options.challenge, None), options_to_json(options)


def sign_in(
    database: Database,
    settings: Settings,
    party: RelyingParty,
    *,
    ceremony_id: str,
    browser: str,
    credential: str,
    before: Visit | None,
    device: str,
    knows: Any,
) -> tuple[str, list[str]] | None:
    """Return (cookie secret, the person's folded addresses), or None if the credential is invalid.

    `knows(key)`: whether the address signed in with this browser before.
    """
    with database.open(everything("use a passkey ceremony"), write=True) as db:  # consumed whatever happens next
        ceremony = consume(db, settings, ceremony_id, browser)
        challenge = ceremony.challenge if ceremony is not None and ceremony.identity_id is None else None
    if challenge is None:
        return None
    with database.open(everything("sign in with a passkey"), write=True) as db:
        try:
            fields = _parse(credential)
            handle = base64url_to_bytes(fields["response"].get("userHandle") or "").decode()
            passkey = db.scalar(
                select(Passkey)
                .where(Passkey.id == str(fields["id"]), func.coalesce(Passkey.handle, Passkey.identity_id) == handle)
                .with_for_update()
            )
            if passkey is None:
                return None
            verified = verify_authentication_response(
                credential=fields,
                expected_challenge=challenge,
                expected_rp_id=party.id,
                expected_origin=party.origin,
                credential_public_key=passkey.public_key,
                credential_current_sign_count=passkey.sign_count,
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, KeyError, TypeError, AttributeError):
            return None
        passkey.sign_count, passkey.last_used_at = verified.new_sign_count, clock.wall()
        passkey.is_backed_up = verified.credential_backed_up
        keys = list(db.scalars(select(IdentityEmail.email_key).where(IdentityEmail.identity_id == passkey.identity_id)))
        secret = session_lifecycle.open_session(
            db,
            settings,
            passkey.identity_id,
            before,
            device,
            sign_in_method="passkey",
            address_key=None,
            is_known=any(knows(key) for key in keys),
            grant={"passkey_id": passkey.id},
        )
    return secret, keys


def _own(db: ScopedSession, credential_id: str) -> Passkey:
    passkey = db.scalar(select(Passkey).where(Passkey.id == credential_id))
    if passkey is None:
        raise NotFound()
    return passkey


def _parse(credential: str) -> dict[str, Any]:
    fields = read_json(credential[:20_000])
    if not isinstance(fields, dict) or not isinstance(fields.get("response"), dict):
        raise ValueError("not a credential")
    return fields


def _clean_name(name: str) -> str:
    return " ".join(name.split())[:60] or "Passkey"
