"""Authlib's authorization server with our parts in it: the code grant with PKCE S256, refresh tokens that rotate, userinfo,
introspection (RFC 7662), revocation (RFC 7009), logout (RP-Initiated 1.0), and `iss` in every answer (RFC 9207)."""

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

from auth.provider import clients, issuing, keys, saying
from auth.provider.clients import Client
from auth.provider.issuing import Held
from auth.provider.models import AppSession
from core import ids
from core.web import House, house

METHODS = ["client_secret_basic", "client_secret_post", "none"]


class Server(AuthorizationServer):  # type: ignore[misc]
    def create_oauth2_request(self, request: Any) -> OAuth2Request:
        """The URL as settings say it, never as the request does. Whether plain http is served at all is settled at start-up
        (core/settings.py), so Authlib's own check of it is answered by https."""
        parts = urlsplit(house().settings.base_url)
        one = FlaskOAuth2Request.__new__(FlaskOAuth2Request)
        OAuth2Request.__init__(one, method=flask_request.method, uri=f"https://{parts.netloc}{flask_request.full_path}",
                               headers=flask_request.headers)
        one._request, one.payload = flask_request, FlaskOAuth2Payload(flask_request)
        return one

    def hinted(self, hint: str) -> dict[str, Any]:
        """The claims of an ID token of ours, however old it is (RP-Initiated Logout 1.0 §2); what else our keys sign is none (RFC 8725
        §3.11, §3.12). Raises InvalidRequestError."""
        try:
            read = jwt.decode(hint, keys.ring(house().database, house().settings).key_set, algorithms=[keys.ALGORITHM])
        except (JoseError, ValueError, RecursionError) as odd:
            raise InvalidRequestError("The id_token_hint is none of ours.") from odd
        said = read.claims
        if read.header.get("typ") != saying.ID_TOKEN or said.get("iss") != house().settings.base_url or not all(
                isinstance(said.get(name), str) for name in ("sub", "aud")):
            raise InvalidRequestError("The id_token_hint is none of ours.")
        return said

    def subject_of(self, hint: str, client: Client) -> str:
        """Whom an ID token of ours for this app names. Raises InvalidRequestError."""
        said = self.hinted(hint)
        if said["aud"] != client.client_id:
            raise InvalidRequestError("The id_token_hint is another app's.")
        return str(said["sub"])


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def generate_authorization_code(self) -> str:
        return ids.secret_token()

    def save_authorization_code(self, code: str, request: Any) -> None:
        said = request.payload.data
        issuing.begin(house().database, house().settings, request.client, request.user, code, scope=request.scope,
                      redirect_uri=request.payload.redirect_uri, challenge=said["code_challenge"], nonce=said.get("nonce"))

    def query_authorization_code(self, code: str, client: Client) -> AppSession | None:
        return issuing.of_code(house().database, house().settings, client, code)

    def delete_authorization_code(self, authorization_code: AppSession) -> None:
        """Used up together with writing the tokens down (`issuing.issue`)."""

    def authenticate_user(self, authorization_code: AppSession) -> AppSession:
        return authorization_code

    def generate_token(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["include_refresh_token"] = self.request.authorization_code.is_offline
        return super().generate_token(*args, **kwargs)


class Rotation(RefreshTokenGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> Held | None:
        found = issuing.held(house().database, house().settings, refresh_token)
        if found is None or found.token.kind != "refresh" or not found.check_client(self.request.client):
            return None
        if found.token.used_at is not None:  # somebody else has it too
            issuing.end(house().database, found.family)
        return None if found.is_expired() or found.is_revoked() else found

    def authenticate_user(self, refresh_token: Held) -> AppSession:
        return refresh_token.family

    def issue_token(self, user: AppSession, refresh_token: Held) -> Any:
        """A narrower scope is for the new access token alone, and keeps `openid`."""
        asked = (self.request.payload.scope or refresh_token.get_scope()).split()
        kept = [one for one in refresh_token.get_scope().split() if one in asked or one == "openid"]
        return self.generate_token(user=user, scope=" ".join(kept), include_refresh_token=True)

    def revoke_old_credential(self, refresh_token: Held) -> None:
        """Used up together with writing the new ones down (`issuing.issue`)."""


class S256(CodeChallenge):  # type: ignore[misc]
    """PKCE for everybody, confidential apps too, and never `plain` (RFC 9700 §2.1.1)."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        said = grant.request.payload.data
        if not said.get("code_challenge") or said.get("code_challenge_method") != "S256":
            raise InvalidRequestError("A code_challenge with the method S256 is needed.")
        super().validate_code_challenge(grant, redirect_uri)

    def get_authorization_code_challenge(self, authorization_code: AppSession) -> str:
        return authorization_code.challenge

    def get_authorization_code_challenge_method(self, authorization_code: AppSession) -> str:
        return "S256"


class IdToken(OpenIDToken):  # type: ignore[misc]
    def encode_id_token(self, token: dict[str, Any], request: Any) -> str:
        return saying.id_token(house().database, house().settings, request.authorization_code, token["access_token"])


class Issuer(IssuerParameter):  # type: ignore[misc]
    def get_issuer(self) -> str:
        return house().settings.base_url


class Revocation(RevocationEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS = METHODS

    def query_token(self, token_string: str, token_type_hint: str | None) -> Held | None:
        return issuing.held(house().database, house().settings, token_string)

    def authenticate_token(self, request: Any, client: Client) -> Held | None:
        """Another app's token is none (RFC 7009 §2.2 answers alike)."""
        try:
            return super().authenticate_token(request, client)  # type: ignore[no-any-return]
        except InvalidGrantError:
            return None

    def revoke_token(self, token: Held, request: Any) -> None:
        """A token goes with its family: what one of them opened, none opens now."""
        issuing.end(house().database, token.family, told=True)


class Introspection(IntrospectionEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]

    def query_token(self, token_string: str, token_type_hint: str | None) -> Held | None:
        return issuing.held(house().database, house().settings, token_string)

    def check_permission(self, token: Held, client: Client, request: Any) -> bool:
        """Any app of the same business that keeps a secret: its server is asked with what its other apps hold."""
        return token.app.business_id == client.business_id

    def introspect_token(self, token: Held) -> dict[str, Any]:
        return {
            "active": True, "client_id": token.app.id, "scope": token.scope, "sub": token.family.subject, "aud": token.app.id,
            "iss": house().settings.base_url, "exp": int(token.token.expires_at.timestamp()),
            "iat": int(token.token.created_at.timestamp()),
            "token_type": "Bearer" if token.token.kind == "access" else "refresh_token",
        }


class EndSession(EndSessionEndpoint):  # type: ignore[misc]
    def _validate_id_token_hint(self, id_token_hint: str) -> dict[str, Any]:
        return self.server.hinted(id_token_hint)  # type: ignore[no-any-return]

    def is_post_logout_redirect_uri_legitimate(self, *_: Any) -> bool:
        return True  # the address is the app's own to the letter, and the person presses a button before anybody goes there


class Bearer(BearerTokenValidator):  # type: ignore[misc]
    def authenticate_token(self, token_string: str) -> Held | None:
        found = issuing.held(house().database, house().settings, token_string)
        return found if found is not None and found.token.kind == "access" else None


def make_server(one: House) -> Server:
    server = Server()
    server._query_client = lambda client_id: clients.find(one.database, one.settings, client_id)
    server._save_token = _save
    server.register_token_generator("default", BearerTokenGenerator(
        lambda *_, **__: ids.secret_token(), lambda *_, **__: ids.secret_token(), int(issuing.ACCESS_LIFE.total_seconds())))
    server.register_grant(CodeGrant, [S256(required=True), IdToken()])
    server.register_grant(Rotation)
    server.register_endpoint(Revocation)
    server.register_endpoint(Introspection)
    server.register_endpoint(EndSession)
    server.register_extension(lambda _server: Issuer()(_server))
    server.bearer = ResourceProtector()
    server.bearer.register_token_validator(Bearer())
    return server


def _save(token: dict[str, Any], request: Any) -> None:
    given = getattr(request, "authorization_code", None) or request.refresh_token
    issuing.issue(house().database, house().settings, given, token["access_token"], token.get("refresh_token"), token["scope"])
