"""From validated claims to a session, by design §5 and safety 6.2, 6.3.

Unified portal: a login is (issuer, subject), never an address. The first sign-in links a person only if this issuer is trusted
about the address, says it is verified, and the person has no passkey. Otherwise the address must be proved by email first, in the
same browser. A business's provider opens one customer row of that business and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from auth import account_emails, passkeys, session_lifecycle, tokens
from auth.identities import identity_of
from auth.models import Challenge, IdentityEmail
from auth.oidc_client.claims import ProviderClaims
from auth.oidc_client.errors import ProviderError
from auth.oidc_client.flow import CallbackResult
from auth.oidc_client.models import ProviderLogin
from auth.oidc_client.provider_config import ProviderConfig
from auth.sessions import Visit
from billing.model.email_address import parse_address
from core import clock
from core.db import Database, ScopedSession
from core.errors import Invalid
from core.scope import everything
from core.settings import Settings
from core.transaction_retry import retried


@dataclass(frozen=True)
class LinkResult:
    """Result of a provider sign-in at the unified portal.

    `secret`: the new session's cookie secret, with `keys`, the folded addresses to remember. Or `address_to_prove`: the address to
    prove by email first, and what the proof links. Neither: the provider was linked to the signed-in person.
    """

    secret: str | None = None
    keys: tuple[str, ...] = ()
    address_to_prove: str | None = None
    joins: dict[str, Any] | None = None


@retried
def sign_in_unified(
    database: Database,
    settings: Settings,
    party: ProviderConfig,
    callback: CallbackResult,
    before: Visit | None,
    device: str,
    *,
    knows: Callable[[str], Any],
) -> LinkResult:
    """Sign in or link a login. Raises ProviderError: no_address, needs_signing_in, taken, address_taken, wrong_state."""
    claims = callback.claims
    with database.open(everything("sign in with a provider"), write=True) as db:
        known = ProviderLogin.id.in_(_hashes(settings, party.issuer, claims.subject))
        login = db.scalar(select(ProviderLogin).where(known).with_for_update())
        if callback.purpose == "link":
            return _link(db, settings, party, callback, before, login)
        if login is None:
            email, key = claimed_address(claims)
            if not _is_trusted(party, claims, key):
                return LinkResult(address_to_prove=email, joins=dict(_login_columns(party, claims)))
            owner_id = db.scalar(select(IdentityEmail.identity_id).where(IdentityEmail.email_key == key))
            if owner_id is not None and passkeys.has_passkey(db, owner_id):
                raise ProviderError("needs_signing_in")
            identity_id = identity_of(db, email, key)
            login = _add(db, settings, identity_id, address_key=key, **_login_columns(party, claims))
        login.last_used_at = clock.wall()
        keys = tuple(db.scalars(select(IdentityEmail.email_key).where(IdentityEmail.identity_id == login.identity_id)))
        secret = session_lifecycle.open_session(
            db,
            settings,
            login.identity_id,
            before,
            device,
            sign_in_method="provider",
            address_key=login.address_key,
            is_known=any(knows(key) for key in keys),
            grant=grant_columns(settings, party, claims),
            proved_at=claims.proved_at,
        )
        return LinkResult(secret, (login.address_key,) if login.address_key else keys)


def on_proof(settings: Settings, challenge: Challenge) -> Callable[[ScopedSession, str], None] | None:
    """Return a function that links the provider account of the challenge once its address is proved, or None.

    Use it only if the email was answered in the browser that came from the provider.
    """
    login = challenge.joins
    if not login:
        return None

    def join(db: ScopedSession, identity_id: str) -> None:
        if db.scalar(select(ProviderLogin.id).where(ProviderLogin.id.in_(_hashes(settings, login["issuer"], login["subject"])))) is None:
            _add(
                db,
                settings,
                identity_id,
                address_key=challenge.address_key,
                provider=login["provider"],
                name=login["name"],
                issuer=login["issuer"],
                subject=login["subject"],
                label=login["label"],
            )

    return join


def grant_columns(settings: Settings, party: ProviderConfig, claims: ProviderClaims) -> dict[str, Any]:
    """Return the grant columns by which a logout token of this provider finds the grant."""
    return {
        "party": party.key,
        "party_subject": tokens.hashed(settings, "party-subject", f"{party.key}\0{claims.subject}"),
        "party_session": tokens.hashed(settings, "party-session", f"{party.key}\0{claims.session}") if claims.session else None,
    }


def _link(
    db: ScopedSession,
    settings: Settings,
    party: ProviderConfig,
    callback: CallbackResult,
    before: Visit | None,
    login: ProviderLogin | None,
) -> LinkResult:
    if before is None or before.identity_id is None or before.identity_id != callback.identity_id or before.link:
        raise ProviderError("wrong_state", "another person came back")
    if login is not None:
        if login.identity_id != before.identity_id:
            raise ProviderError("taken")
        login.address_key = None
        return LinkResult()
    if _belongs_to_another(db, party, callback.claims, before.identity_id):
        raise ProviderError("address_taken")
    _add(db, settings, before.identity_id, address_key=None, **_login_columns(party, callback.claims))
    return LinkResult()


def _belongs_to_another(db: ScopedSession, party: ProviderConfig, claims: ProviderClaims, identity_id: str) -> bool:
    """Return whether signing in with this provider account would open another person.

    An address that the provider is not trusted about reveals nothing about who is known here.
    """
    try:
        _, key = claimed_address(claims)
    except ProviderError:
        return False
    other = select(IdentityEmail.id).where(IdentityEmail.email_key == key, IdentityEmail.identity_id != identity_id)
    return _is_trusted(party, claims, key) and db.scalar(other) is not None


def _is_trusted(party: ProviderConfig, claims: ProviderClaims, key: str) -> bool:
    return claims.is_verified and party.vouches_for(key, claims.hosted_domain)


def _login_columns(party: ProviderConfig, claims: ProviderClaims) -> dict[str, str]:
    return {"provider": party.key, "name": party.label, "issuer": party.issuer, "subject": claims.subject, "label": _label(claims)}


def _add(
    db: ScopedSession,
    settings: Settings,
    identity_id: str,
    *,
    address_key: str | None,
    provider: str,
    name: str,
    issuer: str,
    subject: str,
    label: str,
) -> ProviderLogin:
    login = ProviderLogin(
        identity_id=identity_id,
        id=_hashes(settings, issuer, subject)[0],
        provider=provider,
        issuer=issuer,
        subject=subject,
        label=label,
        address_key=address_key,
        created_at=clock.wall(),
        last_used_at=clock.wall(),
    )
    db.add(login)
    db.flush()
    account_emails.notify_identity(db, identity_id, "provider_added", name)
    return login


def _hashes(settings: Settings, issuer: str, subject: str) -> list[str]:
    return tokens.hashes(settings, "provider-login", f"{issuer}\0{subject}")


def claimed_address(claims: ProviderClaims) -> tuple[str, str]:
    try:
        return parse_address(claims.email or "")
    except Invalid as error:
        raise ProviderError("no_address") from error


def _label(claims: ProviderClaims) -> str:
    return " ".join((claims.email or claims.name or claims.subject).split())[:120]
