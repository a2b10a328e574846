"""Rows of federated sign-in. Secrets are encrypted with the key ring; states and logout tokens are stored as keyed hashes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, BusinessOwned, CustomerOwned, PersonOwned, of_customer


class Connection(Base, BusinessOwned):
    """A business's own provider. A change creates a new row and invalidates what the old one proved (safety 6.3)."""

    __tablename__ = "connections"

    issuer: Mapped[str]
    client_id: Mapped[str]
    client_secret: Mapped[str]  # sealed
    label: Mapped[str]
    claim: Mapped[str]  # which claim names the customer: "email", or one that holds our customer id
    is_enabled: Mapped[bool] = mapped_column(default=False)
    tested_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]


class ProviderLogin(Base, PersonOwned):
    """Links a subject at an issuer to a person. `id` is a keyed hash of both.

    `address_key`: linked by that address, and opens only what the address opens. None: added by the signed-in person, and opens
    everything.
    """

    __tablename__ = "provider_logins"
    __table_args__ = (Index("ix_provider_logins_id", "id"),)

    provider: Mapped[str]  # key of the settings
    issuer: Mapped[str]
    subject: Mapped[str]
    label: Mapped[str]  # display text: the address or name at the provider
    address_key: Mapped[str | None]
    came_from: Mapped[str | None]  # the account it belonged to before a merge (auth/account_merge.py)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]


class ConnectionLogin(Base, CustomerOwned):
    """Permanently links a subject of a business's connection to a customer. `id` is a keyed hash of both."""

    __tablename__ = "connection_logins"
    __table_args__ = (of_customer(), ForeignKeyConstraint(["business_id", "connection_id"], ["connections.business_id", "connections.id"]))

    connection_id: Mapped[str]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]


class ProviderState(Base):
    """State of a redirect to a provider. It is valid once, for the same browser and provider, within ten minutes.

    Nonce and code verifier are derived from the state's secret, which exists only in the redirect URL and is not stored.
    """

    __tablename__ = "provider_states"
    __open__ = "open"
    __table_args__ = (Index("ix_provider_states_expires", "expires_at"), UniqueConstraint("state_hash"))

    id: Mapped[str] = mapped_column(primary_key=True)
    state_hash: Mapped[str]
    browser_hash: Mapped[str]
    party: Mapped[str]  # ProviderConfig.key
    purpose: Mapped[str]  # sign_in, link, test
    identity_id: Mapped[str | None]  # link: who asked
    next: Mapped[str]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    outcome: Mapped[str | None]  # encrypted result of the token request (auth/oidc_client/exchange.py)


class LogoutTokenSeen(Base):
    """A used logout token; each works once. `id` is a keyed hash of party and jti."""

    __tablename__ = "logout_tokens"
    __open__ = "open"

    id: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime]
