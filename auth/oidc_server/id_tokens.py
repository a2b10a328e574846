"""Claims for an app, taken only from its business's customer row of the person (safety 6.4).

The ID token contains the subject and times. Name and address are only in the userinfo response, because ID tokens appear in logout
URLs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from authlib.oidc.core.util import create_half_hash
from joserfc import jwt

from auth.oidc_server import keys
from auth.oidc_server.models import AppSession
from auth.oidc_server.token_store import PresentedToken
from core import clock, ids
from core.db import Database
from core.domain_names import BadDomain, ascii_address
from core.settings import Settings

ID_TOKEN_LIFE = timedelta(minutes=10)
LOGOUT_TOKEN_LIFE = timedelta(minutes=2)
ID_TOKEN, LOGOUT_TOKEN = "JWT", "logout+jwt"  # `typ` headers, so that one cannot be used as the other
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


def id_token(database: Database, settings: Settings, family: AppSession, access_token: str) -> str:
    half = create_half_hash(access_token, keys.ALGORITHM)
    claims = _common(settings, family, ID_TOKEN_LIFE) | {
        "auth_time": int(family.auth_time.timestamp()),
        "at_hash": half.decode() if half else "",
    }
    if family.nonce:
        claims["nonce"] = family.nonce
    return _signed(database, settings, ID_TOKEN, claims)


def logout_token(database: Database, settings: Settings, family: AppSession) -> str:
    """Return a new logout token for each attempt (Back-Channel Logout 1.0 §2.4)."""
    claims = _common(settings, family, LOGOUT_TOKEN_LIFE) | {"jti": ids.new_id("lgt"), "events": {LOGOUT_EVENT: {}}}
    return _signed(database, settings, LOGOUT_TOKEN, claims)


def userinfo(presented_token: PresentedToken) -> dict[str, Any]:
    claims: dict[str, Any] = {"sub": presented_token.family.subject}
    scopes = presented_token.token.scope.split()
    if "profile" in scopes and presented_token.row.name:
        claims["name"] = presented_token.row.name
    if "email" in scopes:
        # True if found by the person's own verified addresses, False if only the business vouches for it
        claims |= {"email": _in_ascii(presented_token.row.email), "email_verified": presented_token.family.identity_id is not None}
    return claims


def _in_ascii(email: str) -> str:
    """Return an RFC 5322 addr-spec (OpenID Connect Core §5.1). Apps that use IDNA 2003 would otherwise get another domain."""
    try:
        return ascii_address(email)
    except BadDomain:
        return email


def _common(settings: Settings, family: AppSession, life: timedelta) -> dict[str, Any]:
    at = int(clock.wall().timestamp())
    return {
        "iss": settings.base_url,
        "aud": family.app_id,
        "sub": family.subject,
        "sid": family.id,
        "iat": at,
        "exp": at + int(life.total_seconds()),
    }


def _signed(database: Database, settings: Settings, typ: str, claims: dict[str, Any]) -> str:
    key = keys.ring(database, settings).signing(settings)
    return jwt.encode({"alg": keys.ALGORITHM, "kid": key.kid, "typ": typ}, claims, key)
