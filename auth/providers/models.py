"""Rows of federated sign-in. Secrets are sealed with the key ring; states and logout tokens are kept as keyed hashes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, BusinessOwned, CustomerOwned, PersonOwned, of_customer


class Connection(Base, BusinessOwned):
    """A business's own provider. One that changed is another row: what the old one proved is worth nothing (safety 6.3)."""

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
    """A subject at an issuer is this person. `id` is a keyed hash of both.

    `address_key`: joined by that address, and opens what it opens; None: added by the signed-in person, and opens everything.
    """

    __tablename__ = "provider_logins"
    __table_args__ = (Index("ix_provider_logins_id", "id"),)

    provider: Mapped[str]  # key of the settings
    issuer: Mapped[str]
    subject: Mapped[str]
    label: Mapped[str]  # what to show: the address or name at the provider
    address_key: Mapped[str | None]
    came_from: Mapped[str | None]  # the account it was in before two became one (auth/merging.py)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]


class ConnectionLogin(Base, CustomerOwned):
    """A subject of a business's connection is this customer, for good. `id` is a keyed hash of both."""

    __tablename__ = "connection_logins"
    __table_args__ = (
        of_customer(), ForeignKeyConstraint(["business_id", "connection_id"], ["connections.business_id", "connections.id"]),
    )

    connection_id: Mapped[str]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]


class ProviderState(Base):
    """Somebody left for a provider: one way back, once, in the same browser, to the same provider, within ten minutes.

    Nonce and code verifier are derived from the state's secret, which is in the browser's address bar and nowhere here.
    """

    __tablename__ = "provider_states"
    __open__ = "open"
    __table_args__ = (Index("ix_provider_states_expires", "expires_at"), UniqueConstraint("state_hash"))

    id: Mapped[str] = mapped_column(primary_key=True)
    state_hash: Mapped[str]
    browser_hash: Mapped[str]
    party: Mapped[str]  # parties.Party.key
    purpose: Mapped[str]  # sign_in, link, test
    identity_id: Mapped[str | None]  # link: who asked
    next: Mapped[str]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    outcome: Mapped[str | None]  # sealed: what the provider's answer proved, once it has come (auth/providers/exchange.py)


class LogoutTokenSeen(Base):
    """A logout token works once. `id` is a keyed hash of party and jti."""

    __tablename__ = "logout_tokens"
    __open__ = "open"

    id: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime]
