"""Provider configuration. Each provider has its own callback URL, which prevents mix-up attacks (safety 6.1)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from auth.oidc_client.models import Connection
from core.db import Database
from core.domain_names import BadDomain, ascii_domain
from core.encryption import unseal
from core.scope import everything
from core.settings import Settings


@dataclass(frozen=True)
class ProviderConfig:
    """`key` is "op/<name>" or "<business>/<connection>"; `path` is the URL path of its pages; `claim` as in Connection."""

    key: str
    label: str
    issuer: str
    client_id: str
    client_secret: str
    path: str
    trust: tuple[str, ...] = ()
    trust_hosted_domain: bool = False
    business_id: str | None = None
    connection_id: str | None = None
    claim: str = "email"
    is_enabled: bool = True  # nothing is fetched for a disabled provider

    def redirect_uri(self, settings: Settings) -> str:
        return f"{settings.base_url}{self.path}/callback"

    def vouches_for(self, address_key: str, hosted_domain: str | None) -> bool:
        """Return whether this issuer is trusted to verify that (folded) address."""
        domain = address_key.rpartition("@")[2]
        if "*" in self.trust or domain in self.trust:
            return True
        try:
            return self.trust_hosted_domain and bool(hosted_domain) and domain == ascii_domain(str(hosted_domain))
        except BadDomain:
            return False


def of_operator(settings: Settings) -> list[ProviderConfig]:
    return [
        ProviderConfig(
            f"op/{oidc_provider.key}",
            oidc_provider.label,
            oidc_provider.issuer,
            oidc_provider.client_id,
            oidc_provider.client_secret,
            f"/login/with/{oidc_provider.key}",
            oidc_provider.trust,
            oidc_provider.trust_hosted_domain,
        )
        for oidc_provider in settings.oidc_providers
    ]


def named(settings: Settings, key: str) -> ProviderConfig | None:
    return next((item for item in of_operator(settings) if item.key == f"op/{key}"), None)


def of_business(database: Database, settings: Settings, business_id: str, *, also_disabled: bool = False) -> ProviderConfig | None:
    """Return the business's provider, or None if it has none. Disabled ones only with `also_disabled`."""
    with database.open(everything("load a business's provider")) as db:
        row = db.scalar(select(Connection).where(Connection.business_id == business_id, Connection.removed_at.is_(None)))
    if row is None or not (row.is_enabled or also_disabled):
        return None
    return from_connection(settings, row)


def from_connection(settings: Settings, row: Connection) -> ProviderConfig:
    secret = unseal(settings.secret_keys, secret_purpose(row.business_id, row.id), row.client_secret) if row.client_secret else ""
    return ProviderConfig(
        f"{row.business_id}/{row.id}",
        row.label,
        row.issuer,
        row.client_id,
        secret,
        f"/login/{row.business_id}/with/sso",
        business_id=row.business_id,
        connection_id=row.id,
        claim=row.claim,
        is_enabled=row.is_enabled,
    )


def secret_purpose(business_id: str, connection_id: str) -> str:
    return f"provider client secret, {business_id}/{connection_id}"
