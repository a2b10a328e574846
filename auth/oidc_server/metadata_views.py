"""Discovery endpoints of the OpenID Connect provider: metadata and signing keys."""

from __future__ import annotations

from flask import jsonify
from flask.typing import ResponseReturnValue

from auth.oidc_server import keys
from auth.oidc_server.clients import SCOPES
from auth.oidc_server.server import METHODS
from auth.oidc_server.views import bp
from core.request_context import services


@bp.get("/.well-known/openid-configuration")
@bp.get("/.well-known/oauth-authorization-server")
def metadata() -> ResponseReturnValue:
    """OpenID Connect Discovery 1.0, RFC 8414."""
    base = services().settings.base_url
    answer = jsonify(
        {
            "issuer": base,
            "authorization_endpoint": f"{base}/oauth/authorize",
            "token_endpoint": f"{base}/oauth/token",
            "userinfo_endpoint": f"{base}/oauth/userinfo",
            "jwks_uri": f"{base}/oauth/jwks",
            "end_session_endpoint": f"{base}/oauth/logout",
            "introspection_endpoint": f"{base}/oauth/introspection",
            "revocation_endpoint": f"{base}/oauth/revocation",
            "introspection_endpoint_auth_methods_supported": METHODS[:2],
            "revocation_endpoint_auth_methods_supported": METHODS,
            "token_endpoint_auth_methods_supported": METHODS,
            "scopes_supported": list(SCOPES),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": [keys.ALGORITHM],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            "claims_supported": ["sub", "iss", "aud", "auth_time", "sid", "name", "email", "email_verified"],
            "prompt_values_supported": ["none", "login", "consent", "select_account"],
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
            "claims_parameter_supported": False,
        }
    )
    answer.headers["Cache-Control"] = "public, max-age=3600"
    return answer


@bp.get("/oauth/jwks")
def jwks() -> ResponseReturnValue:
    answer = jsonify(keys.ring(services().database, services().settings).public)
    answer.headers["Cache-Control"] = "public, max-age=1200"  # a third of keys.KNOWN_AHEAD
    return answer
