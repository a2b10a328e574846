"""What an app learns: from its business's customer row of this person, and from nowhere else (safety 6.4).

The ID token says who and when; name and address are for the userinfo endpoint, since ID tokens travel in URLs at logout.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from authlib.oidc.core.util import create_half_hash
from joserfc import jwt

from auth.provider import keys
from auth.provider.issuing import Held
from auth.provider.models import AppSession
from core import clock, ids
from core.db import Database
from core.domain_names import BadDomain, ascii_address
from core.settings import Settings

ID_TOKEN_LIFE = timedelta(minutes=10)
LOGOUT_TOKEN_LIFE = timedelta(minutes=2)
ID_TOKEN, LOGOUT_TOKEN = "JWT", "logout+jwt"  # typ: what one of them is, the other is not
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


def id_token(database: Database, settings: Settings, family: AppSession, access_token: str) -> str:
    half = create_half_hash(access_token, keys.ALGORITHM)
    claims = _common(settings, family, ID_TOKEN_LIFE) | {
        "auth_time": int(family.auth_time.timestamp()), "at_hash": half.decode() if half else "",
    }
    if family.nonce:
        claims["nonce"] = family.nonce
    return _signed(database, settings, ID_TOKEN, claims)


def logout_token(database: Database, settings: Settings, family: AppSession) -> str:
    """Back-Channel Logout 1.0 §2.4. A new one for every try."""
    claims = _common(settings, family, LOGOUT_TOKEN_LIFE) | {"jti": ids.new_id("lgt"), "events": {LOGOUT_EVENT: {}}}
    return _signed(database, settings, LOGOUT_TOKEN, claims)


def userinfo(one: Held) -> dict[str, Any]:
    said: dict[str, Any] = {"sub": one.family.subject}
    scopes = one.token.scope.split()
    if "profile" in scopes and one.row.name:
        said["name"] = one.row.name
    if "email" in scopes:
        # found by the person's own verified addresses, or known to the business alone
        said |= {"email": _in_ascii(one.row.email), "email_verified": one.family.identity_id is not None}
    return said


def _in_ascii(email: str) -> str:
    """An addr-spec of RFC 5322 (OpenID Connect Core §5.1): an app that encodes the domain by IDNA 2003 would take it for another's."""
    try:
        return ascii_address(email)
    except BadDomain:
        return email


def _common(settings: Settings, family: AppSession, life: timedelta) -> dict[str, Any]:
    at = int(clock.wall().timestamp())
    return {"iss": settings.base_url, "aud": family.app_id, "sub": family.subject, "sid": family.id, "iat": at,
            "exp": at + int(life.total_seconds())}


def _signed(database: Database, settings: Settings, typ: str, claims: dict[str, Any]) -> str:
    key = keys.ring(database, settings).signing(settings)
    return jwt.encode({"alg": keys.ALGORITHM, "kid": key.kid, "typ": typ}, claims, key)
