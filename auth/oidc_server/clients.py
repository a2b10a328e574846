"""An app as an Authlib client: exact redirect URIs, a hashed secret, and only the authorization code flow."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import ClientMixin
from sqlalchemy import select

from auth import tokens
from auth.oidc_server.models import App
from billing.model.parties import Business
from core.db import Database
from core.scope import everything
from core.settings import Settings

SCOPES = ("openid", "profile", "email", "offline_access")


@dataclass(frozen=True)
class Client(ClientMixin):  # type: ignore[misc]
    app: App
    settings: Settings

    @property
    def client_id(self) -> str:
        return self.app.id

    @property
    def business_id(self) -> str:
        return self.app.business_id

    @property
    def client_metadata(self) -> dict[str, Any]:
        return {"post_logout_redirect_uris": self.app.post_logout_uris}

    def get_client_id(self) -> str:
        return self.app.id

    def get_default_redirect_uri(self) -> None:
        return None  # every request must include its redirect URI

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """Return the supported scopes; unknown ones are ignored (OpenID Connect Core §3.1.2.1). None without `openid`."""
        requested = (scope or "").split()
        return " ".join(item for item in SCOPES if item in requested) if "openid" in requested else None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.app.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        shown = tokens.hashes(self.settings, "app-secret", client_secret)
        return any(hmac.compare_digest(item, self.app.secret_hash or "") for item in shown)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        if self.app.is_public:
            return method == "none" and endpoint != "introspection"
        return method in ("client_secret_basic", "client_secret_post")

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in ("authorization_code", "refresh_token")


def find(database: Database, settings: Settings, client_id: str | None) -> Client | None:
    """Return the client, or None if the app does not exist, was removed, or its business is closed."""
    if not client_id or len(client_id) > 100:
        return None
    query = (
        select(App)
        .join(Business, Business.business_id == App.business_id)
        .where(App.id == client_id, App.removed_at.is_(None), Business.archived_at.is_(None))
    )
    with database.open(everything("find an app")) as db:
        app = db.scalar(query)
    return Client(app, settings) if app is not None else None
