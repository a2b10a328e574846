"""Strict validation of ID tokens (OpenID Connect Core §3.1.3.7) and logout tokens (Back-Channel Logout §2.6).

Only a fixed list of algorithms is accepted, whatever the header says: no `none`, no HMAC with a public key.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError

from auth.oidc_client.discovery import Discovery
from auth.oidc_client.errors import ProviderError
from auth.oidc_client.provider_config import ProviderConfig
from core import clock

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
LEEWAY = 120  # seconds of clock difference
EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True)
class ProviderClaims:
    """Validated claims. `email` as the provider sent it, or None. `session`: the provider's session id."""

    subject: str
    email: str | None
    is_verified: bool
    hosted_domain: str | None
    session: str | None
    name: str
    all: dict[str, Any]

    @property
    def proved_at(self) -> datetime | None:
        """When the person last authenticated at the provider, if it says so. An old session there is no fresh proof."""
        at = self.all.get("auth_time")
        return datetime.fromtimestamp(at, UTC) if isinstance(at, int) and 0 < at < 2**33 else None


def id_token(discovery: Discovery, party: ProviderConfig, token: object, nonce: str) -> ProviderClaims:
    """Return the claims of a valid ID token. Raises ProviderError("wrong_token")."""
    payload = _decode(discovery, party, token)
    _audience(party, payload)
    if not isinstance(payload.get("nonce"), str) or not hmac.compare_digest(payload["nonce"], nonce):
        raise ProviderError("wrong_token", "nonce")
    if _text(payload, "sub") is None:
        raise ProviderError("wrong_token", "sub")
    return read(payload)


def with_userinfo(token: ProviderClaims, payload: dict[str, Any]) -> ProviderClaims:
    """Add claims from the userinfo endpoint that the token lacks. The subject must match (OpenID Connect Core §5.3.2)."""
    if payload.get("sub") != token.subject:
        raise ProviderError("wrong_token", "sub of userinfo")
    return read({**payload, **token.all})


def read(payload: dict[str, Any]) -> ProviderClaims:
    email = payload.get("email")
    return ProviderClaims(
        payload["sub"],
        email if isinstance(email, str) and len(email) <= 320 else None,
        payload.get("email_verified") in (True, "true"),
        _text(payload, "hd"),
        _text(payload, "sid"),
        _text(payload, "name") or "",
        payload,
    )


def logout_token(discovery: Discovery, party: ProviderConfig, token: object) -> dict[str, Any]:
    """Return the claims of a valid logout token, with `sub` or `sid`, and `jti`. Raises ProviderError("wrong_token").

    Nothing is fetched for a disabled connection: the token is refused unless cached keys suffice.
    """
    payload = _decode(discovery, party, token, typ="logout+jwt", fetch=party.is_enabled)
    _audience(party, payload)
    events = payload.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise ProviderError("wrong_token", "events")
    if "nonce" in payload or not (_text(payload, "sub") or _text(payload, "sid")) or not _text(payload, "jti"):
        raise ProviderError("wrong_token", "nonce, sub, sid or jti")
    if abs(payload["iat"] - clock.wall().timestamp()) > LEEWAY:
        raise ProviderError("wrong_token", "iat")
    return payload


def _decode(discovery: Discovery, party: ProviderConfig, token: object, typ: str | None = None, fetch: bool = True) -> dict[str, Any]:
    if not isinstance(token, str) or len(token) > 20_000:
        raise ProviderError("wrong_token", "no token")
    now = int(clock.wall().timestamp())
    expiry: dict[str, jwt.ClaimsOption] = {} if typ else {"exp": {"essential": True}}
    claims = jwt.JWTClaimsRegistry(
        now=now, leeway=LEEWAY, iss={"essential": True, "value": party.issuer}, aud={"essential": True}, iat={"essential": True}, **expiry
    )
    try:
        try:
            read = jwt.decode(token, discovery.of(party.issuer, fetch).keys, algorithms=ALGORITHMS)
        except (JoseError, ValueError, RecursionError):  # the key may be newer than our cache
            read = jwt.decode(token, discovery.rotated(party.issuer, fetch).keys, algorithms=ALGORITHMS)
        claims.validate(read.claims)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProviderError("wrong_token", type(error).__name__) from error
    if typ and str(read.header.get("typ", "")).lower().removeprefix("application/") != typ:
        raise ProviderError("wrong_token", "typ")
    if not isinstance(read.claims["iat"], int | float) or read.claims["iat"] > now + LEEWAY:
        raise ProviderError("wrong_token", "iat")
    return dict(read.claims)


def _audience(party: ProviderConfig, payload: dict[str, Any]) -> None:
    audience = payload["aud"] if isinstance(payload["aud"], list) else [payload["aud"]]
    if party.client_id not in audience:
        raise ProviderError("wrong_token", "aud")
    if (len(audience) > 1 or "azp" in payload) and payload.get("azp") != party.client_id:
        raise ProviderError("wrong_token", "azp")


def _text(payload: dict[str, Any], name: str) -> str | None:
    value = payload.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= 255 else None
