"""Logout with providers: Back-Channel Logout 1.0 (from the provider) and RP-Initiated Logout 1.0 (to the provider)."""

from __future__ import annotations

import hashlib
from urllib.parse import urlencode, urlsplit

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from auth import rate_limits, tokens
from auth.models import Grant
from auth.oidc_client import claims, provider_config
from auth.oidc_client.discovery import Discovery
from auth.oidc_client.errors import ProviderError
from auth.oidc_client.models import LogoutTokenSeen, ProviderLogin
from auth.oidc_client.provider_config import ProviderConfig
from auth.sessions import Visit
from core import clock
from core.db import Database
from core.errors import TooMany
from core.scope import everything
from core.settings import Settings

_QUIETLY = {"synchronize_session": False}


def back_channel(
    database: Database, settings: Settings, discovery: Discovery, party: ProviderConfig, token: object, source: str | None
) -> int:
    """Revoke the access that the provider's session or subject opened here. Returns the number of revoked grants.

    Raises ProviderError: "waiting" or "unreachable" if the provider's keys are not available, "wrong_token" for an invalid or used
    token. Raises TooMany if `source` sent too many invalid tokens.
    """
    spent = rate_limits.logouts(database, settings, party.key, source)
    if not rate_limits.spend(database, spent):
        raise TooMany()
    try:
        ended = _end(database, settings, discovery, party, token)
    except ProviderError as error:
        if error.code == "waiting":  # the provider may not repeat it, so process it when the keys arrive
            name = f"logout {hashlib.sha256(str(token).encode()).hexdigest()[:32]}"
            discovery.background_calls.start(party.key, name, lambda: _end(database, settings, discovery, party, token))
        raise
    rate_limits.accept_logout(database, settings, party.key, source, spent)
    return ended


def _end(database: Database, settings: Settings, discovery: Discovery, party: ProviderConfig, token: object) -> int:
    payload = claims.logout_token(discovery, party, token)
    which = []
    if isinstance(payload.get("sid"), str):
        which.append(Grant.party_session.in_(tokens.hashes(settings, "party-session", f"{party.key}\0{payload['sid']}")))
    if isinstance(payload.get("sub"), str):
        which.append(Grant.party_subject.in_(tokens.hashes(settings, "party-subject", f"{party.key}\0{payload['sub']}")))
    try:
        with database.open(everything("process a provider's logout token"), write=True) as db:
            db.add(LogoutTokenSeen(id=tokens.hashed(settings, "logout-token", f"{party.key}\0{payload['jti']}"), seen_at=clock.wall()))
            db.flush()
            ended = db.execute(
                update(Grant).where(Grant.party == party.key, Grant.revoked_at.is_(None), *which).values(revoked_at=clock.wall()),
                execution_options=_QUIETLY,
            )
            return int(ended.rowcount)  # type: ignore[attr-defined]
    except IntegrityError as again:
        raise ProviderError("wrong_token", "used before") from again


def logout_redirect(database: Database, settings: Settings, discovery: Discovery, visit: Visit, business_id: str | None) -> str | None:
    """Return the URL that also signs the person out at the business's provider, or None.

    Only in the portal of that business: signing out here does not sign anyone out of Google.
    """
    grant = next((item for item in visit.grants if item.party and business_id and item.business_id == business_id), None)
    party = provider_config.of_business(database, settings, business_id, also_disabled=True) if grant and business_id else None
    if party is None or grant is None or grant.party != party.key:
        return None
    try:
        endpoint = discovery.of(party.issuer, fetch=party.is_enabled)["end_session_endpoint"]
    except ProviderError:
        return None
    if not isinstance(endpoint, str) or urlsplit(endpoint).scheme not in (("https", "http") if settings.is_test else ("https",)):
        return None
    return (
        endpoint
        + ("&" if "?" in endpoint else "?")
        + urlencode({"client_id": party.client_id, "post_logout_redirect_uri": f"{settings.base_url}/login/{business_id}"})
    )


def logins_of(database: Database, identity_id: str) -> list[ProviderLogin]:
    with database.open(everything("list a person's provider logins")) as db:
        return list(db.scalars(select(ProviderLogin).where(ProviderLogin.identity_id == identity_id).order_by(ProviderLogin.created_at)))
