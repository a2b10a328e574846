"""Authlib's authorization server with our storage.

Supports the code grant with PKCE S256, rotating refresh tokens, userinfo, introspection (RFC 7662), revocation (RFC 7009), logout
(RP-Initiated 1.0), and `iss` in every response (RFC 9207).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.integrations.flask_oauth2.requests import FlaskOAuth2Payload, FlaskOAuth2Request
from authlib.oauth2 import ResourceProtector
from authlib.oauth2.rfc6749 import OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc6750 import BearerTokenGenerator, BearerTokenValidator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc9207 import IssuerParameter
from authlib.oidc.core.grants.code import OpenIDToken
from authlib.oidc.rpinitiated import EndSessionEndpoint
from flask import request as flask_request
from joserfc import jwt
from joserfc.errors import JoseError

from auth.oidc_server import clients, id_tokens, keys, token_store
from auth.oidc_server.clients import Client
from auth.oidc_server.models import AppSession
from auth.oidc_server.token_store import PresentedToken
from core import ids
from core.request_context import services
from core.services import Services

METHODS = ["client_secret_basic", "client_secret_post", "none"]


class Server(AuthorizationServer):  # type: ignore[misc]
    def create_oauth2_request(self, request: Any) -> OAuth2Request:
        """Build the request with the URL from settings, never from the request itself.

        Start-up decides whether plain http is served (core/settings.py), so Authlib's own check always gets https.
        """
        parts = urlsplit(services().settings.base_url)
        item = FlaskOAuth2Request.__new__(FlaskOAuth2Request)
        OAuth2Request.__init__(
            item, method=flask_request.method, uri=f"https://{parts.netloc}{flask_request.full_path}", headers=flask_request.headers
        )
        item._request, item.payload = flask_request, FlaskOAuth2Payload(flask_request)
        return item

    def id_token_claims(self, hint: str) -> dict[str, Any]:
        """Return the claims of our ID token, even if it expired (RP-Initiated Logout 1.0 §2). Raises InvalidRequestError.

        Other tokens signed by our keys are rejected (RFC 8725 §3.11, §3.12).
        """
        try:
            read = jwt.decode(hint, keys.ring(services().database, services().settings).key_set, algorithms=[keys.ALGORITHM])
        except (JoseError, ValueError, RecursionError) as error:
            raise InvalidRequestError("The id_token_hint is not an ID token of this server.") from error
        claims = read.claims
        if (
            read.header.get("typ") != id_tokens.ID_TOKEN
            or claims.get("iss") != services().settings.base_url
            or not all(isinstance(claims.get(name), str) for name in ("sub", "aud"))
        ):
            raise InvalidRequestError("The id_token_hint is not an ID token of this server.")
        return claims

    def subject_of(self, hint: str, client: Client) -> str:
        """Return the subject of our ID token for this app. Raises InvalidRequestError."""
        claims = self.id_token_claims(hint)
        if claims["aud"] != client.client_id:
            raise InvalidRequestError("The id_token_hint was issued to another app.")
        return str(claims["sub"])


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def generate_authorization_code(self) -> str:
        return ids.secret_token()

    def save_authorization_code(self, code: str, request: Any) -> None:
        data = request.payload.data
        token_store.begin(
            services().database,
            services().settings,
            request.client,
            request.user,
            code,
            scope=request.scope,
            redirect_uri=request.payload.redirect_uri,
            challenge=data["code_challenge"],
            nonce=data.get("nonce"),
        )

    def query_authorization_code(self, code: str, client: Client) -> AppSession | None:
        return token_store.of_code(services().database, services().settings, client, code)

    def delete_authorization_code(self, authorization_code: AppSession) -> None:
        """Do nothing: `token_store.issue` consumes the code when it stores the tokens."""

    def authenticate_user(self, authorization_code: AppSession) -> AppSession:
        return authorization_code

    def generate_token(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["include_refresh_token"] = self.request.authorization_code.is_offline
        return super().generate_token(*args, **kwargs)


class Rotation(RefreshTokenGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> PresentedToken | None:
        found = token_store.presented_token(services().database, services().settings, refresh_token)
        if found is None or found.token.kind != "refresh" or not found.check_client(self.request.client):
            return None
        if found.token.used_at is not None:  # reuse indicates theft
            token_store.end(services().database, found.family)
        return None if found.is_expired() or found.is_revoked() else found

    def authenticate_user(self, refresh_token: PresentedToken) -> AppSession:
        return refresh_token.family

    def issue_token(self, user: AppSession, refresh_token: PresentedToken) -> Any:
        """Issue tokens. A narrower scope applies only to the new access token and always includes `openid`."""
        requested = (self.request.payload.scope or refresh_token.get_scope()).split()
        scopes = [part for part in refresh_token.get_scope().split() if part in requested or part == "openid"]
        return self.generate_token(user=user, scope=" ".join(scopes), include_refresh_token=True)

    def revoke_old_credential(self, refresh_token: PresentedToken) -> None:
        """Do nothing: `token_store.issue` consumes the old token when it stores the new ones."""


class S256(CodeChallenge):  # type: ignore[misc]
    """PKCE is required for all apps, including confidential ones, and `plain` is not allowed (RFC 9700 §2.1.1)."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        data = grant.request.payload.data
        if not data.get("code_challenge") or data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("A code_challenge with the method S256 is required.")
        super().validate_code_challenge(grant, redirect_uri)

    def get_authorization_code_challenge(self, authorization_code: AppSession) -> str:
        return authorization_code.challenge

    def get_authorization_code_challenge_method(self, authorization_code: AppSession) -> str:
        return "S256"


class IdToken(OpenIDToken):  # type: ignore[misc]
    def encode_id_token(self, token: dict[str, Any], request: Any) -> str:
        return id_tokens.id_token(services().database, services().settings, request.authorization_code, token["access_token"])


class Issuer(IssuerParameter):  # type: ignore[misc]
    def get_issuer(self) -> str:
        return services().settings.base_url


class Revocation(RevocationEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS = METHODS

    def query_token(self, token_string: str, token_type_hint: str | None) -> PresentedToken | None:
        return token_store.presented_token(services().database, services().settings, token_string)

    def authenticate_token(self, request: Any, client: Client) -> PresentedToken | None:
        """Return None for another app's token, as for an invalid one (RFC 7009 §2.2)."""
        try:
            return super().authenticate_token(request, client)  # type: ignore[no-any-return]
        except InvalidGrantError:
            return None

    def revoke_token(self, token: PresentedToken, request: Any) -> None:
        """End the whole family of the token."""
        token_store.end(services().database, token.family, is_notified=True)


class Introspection(IntrospectionEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]

    def query_token(self, token_string: str, token_type_hint: str | None) -> PresentedToken | None:
        return token_store.presented_token(services().database, services().settings, token_string)

    def check_permission(self, token: PresentedToken, client: Client, request: Any) -> bool:
        """Allow any confidential app of the same business, whose server may receive tokens of its other apps."""
        return token.app.business_id == client.business_id

    def introspect_token(self, token: PresentedToken) -> dict[str, Any]:
        return {
            "active": True,
            "client_id": token.app.id,
            "scope": token.scope,
            "sub": token.family.subject,
            "aud": token.app.id,
            "iss": services().settings.base_url,
            "exp": int(token.token.expires_at.timestamp()),
            "iat": int(token.token.created_at.timestamp()),
            "token_type": "Bearer" if token.token.kind == "access" else "refresh_token",
        }


class EndSession(EndSessionEndpoint):  # type: ignore[misc]
    def _validate_id_token_hint(self, id_token_hint: str) -> dict[str, Any]:
        return self.server.id_token_claims(id_token_hint)  # type: ignore[no-any-return]

    def is_post_logout_redirect_uri_legitimate(self, *_: Any) -> bool:
        return True  # the URI is registered exactly, and the person presses a button before the redirect


class Bearer(BearerTokenValidator):  # type: ignore[misc]
    def authenticate_token(self, token_string: str) -> PresentedToken | None:
        found = token_store.presented_token(services().database, services().settings, token_string)
        return found if found is not None and found.token.kind == "access" else None


def make_server(services_: Services) -> Server:
    server = Server()
    server._query_client = lambda client_id: clients.find(services_.database, services_.settings, client_id)
    server._save_token = _save_token
    server.register_token_generator(
        "default",
        BearerTokenGenerator(
            lambda *_, **__: ids.secret_token(), lambda *_, **__: ids.secret_token(), int(token_store.ACCESS_LIFE.total_seconds())
        ),
    )
    server.register_grant(CodeGrant, [S256(required=True), IdToken()])
    server.register_grant(Rotation)
    server.register_endpoint(Revocation)
    server.register_endpoint(Introspection)
    server.register_endpoint(EndSession)
    server.register_extension(lambda _server: Issuer()(_server))
    server.bearer = ResourceProtector()
    server.bearer.register_token_validator(Bearer())
    return server


def _save_token(token: dict[str, Any], request: Any) -> None:
    given = getattr(request, "authorization_code", None) or request.refresh_token
    token_store.issue(services().database, services().settings, given, token["access_token"], token.get("refresh_token"), token["scope"])
