"""Who somebody is, and what their browser has proved. Secrets are here as keyed hashes only.

Tables that are read before anybody is known (sessions, challenges, links, budgets) are open: they hold no secret that
could be used, and nothing of a business but ids.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, JSONType, PersonOwned, of_customer


class Identity(Base, PersonOwned):
    """A person. Customers are found by this person's verified addresses, never stored here."""

    __tablename__ = "identities"

    identity_id: Mapped[str] = mapped_column(primary_key=True)
    id = None  # type: ignore[assignment]  # the identity is its own key
    name: Mapped[str] = mapped_column(default="")
    locale: Mapped[str | None]
    zone: Mapped[str | None]
    created_at: Mapped[datetime]


class IdentityEmail(Base, PersonOwned):
    """A verified address. `email_key` is folded and belongs to one person at most."""

    __tablename__ = "identity_emails"

    email: Mapped[str]
    email_key: Mapped[str] = mapped_column(unique=True)
    is_primary: Mapped[bool] = mapped_column(default=False)
    verified_at: Mapped[datetime]
    came_from: Mapped[str | None]  # the account it was in before two became one (auth/merging.py)


class BrowserSession(Base):
    """One signed-in browser. Its cookie holds a random reference; `secret_hash` is what we keep of it."""

    __tablename__ = "browser_sessions"
    __open__ = "open"

    id: Mapped[str] = mapped_column(primary_key=True)
    secret_hash: Mapped[str] = mapped_column(unique=True)
    identity_id: Mapped[str | None] = mapped_column(ForeignKey("identities.identity_id"), index=True)
    device: Mapped[str]
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    proved_at: Mapped[datetime | None]  # the newest proof of the person; a merchant's link never sets it
    proof: Mapped[str | None]


class Grant(Base):
    """What a session may open: everything of proved addresses (`unified`), or one customer of one business."""

    __tablename__ = "session_grants"
    __open__ = "open"
    __table_args__ = (of_customer(), Index("ix_session_grants_party", "party"))

    id: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("browser_sessions.id"), index=True)
    door: Mapped[str]  # unified, business
    business_id: Mapped[str | None]
    customer_id: Mapped[str | None]
    proof: Mapped[str]  # email, link, passkey, provider, sso
    address_key: Mapped[str | None] = mapped_column(index=True)
    link_id: Mapped[str | None]
    return_url: Mapped[str | None]
    party: Mapped[str | None]  # the provider that proved it, and what its logout finds it by (keyed hashes)
    party_session: Mapped[str | None]
    party_subject: Mapped[str | None]
    passkey_id: Mapped[str | None]  # the passkey that proved it; none for those from before it was written down
    proved_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class Challenge(Base):
    """Somebody asked to prove an address. Link and code are derived from `id` when the letter is written."""

    __tablename__ = "challenges"
    __open__ = "open"
    __table_args__ = (
        Index("ix_challenges_browser", "browser_hash", "created_at"),
        Index("ix_challenges_address", "address_key", "expires_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    purpose: Mapped[str] = mapped_column(default="sign_in")  # sign_in, add_address, change_email
    browser_hash: Mapped[str]
    identity_id: Mapped[str | None]  # add_address, change_email: who asked
    address_key: Mapped[str]
    email: Mapped[str]
    door: Mapped[str]
    business_id: Mapped[str | None]
    link_hash: Mapped[str] = mapped_column(unique=True)
    code_hash: Mapped[str]
    tries: Mapped[int] = mapped_column(default=0)
    device: Mapped[str]
    locale: Mapped[str]
    next: Mapped[str]
    joins: Mapped[dict | None] = mapped_column(JSONType)  # sign_in: a provider's subject; change_email: whose records
    created_at: Mapped[datetime]
    send_at: Mapped[datetime | None]  # when its email is due: later than asked where the address had another email just before
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class DynamicLink(Base):
    """A merchant vouches: one click opens this one customer of this one business, for 24 hours, once."""

    __tablename__ = "dynamic_links"
    __open__ = "open"
    __table_args__ = (of_customer(), Index("ix_dynamic_links_customer", "business_id", "customer_id", "created_at"))

    id: Mapped[str] = mapped_column(primary_key=True)
    business_id: Mapped[str]
    customer_id: Mapped[str]
    token_hash: Mapped[str] = mapped_column(unique=True)
    return_url: Mapped[str | None]
    mailed: Mapped[bool] = mapped_column(default=False)
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Budget(Base):
    """How often something was done since `window_start`. Keys hold hashes, never an address."""

    __tablename__ = "budgets"
    __open__ = "open"

    key: Mapped[str] = mapped_column(primary_key=True)
    window_start: Mapped[datetime]
    count: Mapped[int] = mapped_column(default=0)


class NeverAgain(Base):
    """An address that wants no letter about purchases it does not have."""

    __tablename__ = "never_again"
    __open__ = "open"

    address_hash: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
