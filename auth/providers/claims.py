"""ID tokens (OpenID Connect Core §3.1.3.7) and logout tokens (Back-Channel Logout §2.6), checked to the letter.

The algorithm is one of ours whatever the header says: no `none`, no HMAC with a public key.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError

from auth.providers.discovery import Discovery
from auth.providers.mistakes import Mistake
from auth.providers.parties import Party
from core import clock

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
LEEWAY = 120  # seconds: two clocks
EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True)
class Claims:
    """Checked. `email` as the provider writes it, or None; `session` is the provider's own session id."""

    subject: str
    email: str | None
    is_verified: bool
    hosted_domain: str | None
    session: str | None
    name: str
    all: dict[str, Any]

    @property
    def proved_at(self) -> datetime | None:
        """When the person last showed the provider who they are, where it says so: a window left open there is no fresh proof."""
        at = self.all.get("auth_time")
        return datetime.fromtimestamp(at, UTC) if isinstance(at, int) and 0 < at < 2**33 else None


def id_token(discovery: Discovery, party: Party, token: object, nonce: str) -> Claims:
    """Raises Mistake("wrong_token")."""
    said = _decode(discovery, party, token)
    _audience(party, said)
    if not isinstance(said.get("nonce"), str) or not hmac.compare_digest(said["nonce"], nonce):
        raise Mistake("wrong_token", "nonce")
    if _text(said, "sub") is None:
        raise Mistake("wrong_token", "sub")
    return read(said)


def with_userinfo(token: Claims, said: dict[str, Any]) -> Claims:
    """What the userinfo endpoint adds, where the token did not say it; of the same subject only (OpenID Connect Core §5.3.2)."""
    if said.get("sub") != token.subject:
        raise Mistake("wrong_token", "sub of userinfo")
    return read({**said, **token.all})


def read(said: dict[str, Any]) -> Claims:
    email = said.get("email")
    return Claims(said["sub"], email if isinstance(email, str) and len(email) <= 320 else None,
                  said.get("email_verified") in (True, "true"), _text(said, "hd"), _text(said, "sid"), _text(said, "name") or "", said)


def logout_token(discovery: Discovery, party: Party, token: object) -> dict[str, Any]:
    """Its claims, with `sub` or `sid`, and `jti`. Raises Mistake("wrong_token").

    For a connection that is not switched on nothing is fetched: keys that are known already are enough, or it is refused.
    """
    said = _decode(discovery, party, token, typ="logout+jwt", fetch=party.is_enabled)
    _audience(party, said)
    events = said.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise Mistake("wrong_token", "events")
    if "nonce" in said or not (_text(said, "sub") or _text(said, "sid")) or not _text(said, "jti"):
        raise Mistake("wrong_token", "nonce, sub, sid or jti")
    if abs(said["iat"] - clock.wall().timestamp()) > LEEWAY:
        raise Mistake("wrong_token", "iat")
    return said


def _decode(discovery: Discovery, party: Party, token: object, typ: str | None = None, fetch: bool = True) -> dict[str, Any]:
    if not isinstance(token, str) or len(token) > 20_000:
        raise Mistake("wrong_token", "no token")
    now = int(clock.wall().timestamp())
    claims = jwt.JWTClaimsRegistry(now=now, leeway=LEEWAY, iss={"essential": True, "value": party.issuer}, aud={"essential": True},
                                   iat={"essential": True}, **({} if typ else {"exp": {"essential": True}}))  # type: ignore[arg-type]
    try:
        try:
            read = jwt.decode(token, discovery.of(party.issuer, fetch).keys, algorithms=ALGORITHMS)
        except (JoseError, ValueError, RecursionError):  # perhaps a key that is newer than what we know
            read = jwt.decode(token, discovery.rotated(party.issuer, fetch).keys, algorithms=ALGORITHMS)
        claims.validate(read.claims)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as wrong:
        raise Mistake("wrong_token", type(wrong).__name__) from wrong
    if typ and str(read.header.get("typ", "")).lower().removeprefix("application/") != typ:
        raise Mistake("wrong_token", "typ")
    if not isinstance(read.claims["iat"], int | float) or read.claims["iat"] > now + LEEWAY:
        raise Mistake("wrong_token", "iat")
    return dict(read.claims)


def _audience(party: Party, said: dict[str, Any]) -> None:
    audience = said["aud"] if isinstance(said["aud"], list) else [said["aud"]]
    if party.client_id not in audience:
        raise Mistake("wrong_token", "aud")
    if (len(audience) > 1 or "azp" in said) and said.get("azp") != party.client_id:
        raise Mistake("wrong_token", "azp")


def _text(said: dict[str, Any], name: str) -> str | None:
    value = said.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= 255 else None
