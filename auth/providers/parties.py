"""What a sign-in needs to know of a provider. Each has its own way back (safety 6.1), so that no other can be mixed in."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from auth.providers.models import Connection
from core.db import Database
from core.domain_names import BadDomain, ascii_domain
from core.scope import everything
from core.secrets import unseal
from core.settings import Settings


@dataclass(frozen=True)
class Party:
    """`key` is "op/<name>" or "<business>/<connection>"; `path` is where its pages live; `claim` as in Connection."""

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
    is_enabled: bool = True  # what is not switched on has nothing fetched for it

    def redirect_uri(self, settings: Settings) -> str:
        return f"{settings.base_url}{self.path}/callback"

    def vouches_for(self, address_key: str, hosted_domain: str | None) -> bool:
        """Whether this issuer is believed about that (folded) address."""
        domain = address_key.rpartition("@")[2]
        if "*" in self.trust or domain in self.trust:
            return True
        try:
            return self.trust_hosted_domain and bool(hosted_domain) and domain == ascii_domain(str(hosted_domain))
        except BadDomain:
            return False


def of_operator(settings: Settings) -> list[Party]:
    return [Party(f"op/{one.key}", one.label, one.issuer, one.client_id, one.client_secret, f"/login/with/{one.key}", one.trust,
                  one.trust_hosted_domain) for one in settings.oidc_providers]


def named(settings: Settings, key: str) -> Party | None:
    return next((one for one in of_operator(settings) if one.key == f"op/{key}"), None)


def of_business(database: Database, settings: Settings, business_id: str, *, also_disabled: bool = False) -> Party | None:
    """The business's own provider; None where it has none (or, unless asked for, has not switched it on)."""
    with database.open(everything("a business's provider")) as db:
        row = db.scalar(select(Connection).where(Connection.business_id == business_id, Connection.removed_at.is_(None)))
    if row is None or not (row.is_enabled or also_disabled):
        return None
    return party_of(settings, row)


def party_of(settings: Settings, row: Connection) -> Party:
    secret = unseal(settings.secret_keys, secret_purpose(row.business_id, row.id), row.client_secret) if row.client_secret else ""
    return Party(f"{row.business_id}/{row.id}", row.label, row.issuer, row.client_id, secret, f"/login/{row.business_id}/with/sso",
                 business_id=row.business_id, connection_id=row.id, claim=row.claim,
                 is_enabled=row.is_enabled)


def secret_purpose(business_id: str, connection_id: str) -> str:
    return f"provider client secret, {business_id}/{connection_id}"
