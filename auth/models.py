"""Identities, sessions and proofs. Secrets are stored only as keyed hashes.

Tables that are read before the visitor is known (sessions, challenges, links, rate limits) are open: they contain no usable
secret, and only ids of businesses.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, JSONType, PersonOwned, of_customer


class Identity(Base, PersonOwned):
    """A person. Their customer rows are found by verified address and are not stored here."""

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
    came_from: Mapped[str | None]  # the account it belonged to before a merge (auth/account_merge.py)


class BrowserSession(Base):
    """One signed-in browser. Its cookie holds a random secret; `secret_hash` is its hash."""

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
    proved_at: Mapped[datetime | None]  # the newest proof of the person; a portal link never sets it
    sign_in_method: Mapped[str | None]


class Grant(Base):
    """Access of a session: everything of the proved addresses (`unified`), or one customer of one business."""

    __tablename__ = "session_grants"
    __open__ = "open"
    __table_args__ = (of_customer(), Index("ix_session_grants_party", "party"))

    id: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("browser_sessions.id"), index=True)
    door: Mapped[str]  # unified, business
    business_id: Mapped[str | None]
    customer_id: Mapped[str | None]
    sign_in_method: Mapped[str]  # email, link, passkey, provider, sso
    address_key: Mapped[str | None] = mapped_column(index=True)
    link_id: Mapped[str | None]
    return_url: Mapped[str | None]
    party: Mapped[str | None]  # the provider that proved it, and keyed hashes by which its logout finds the grant
    party_session: Mapped[str | None]
    party_subject: Mapped[str | None]
    passkey_id: Mapped[str | None]  # the passkey that proved it; None for grants from before this column existed
    proved_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class Challenge(Base):
    """A request to prove an address. Link and code are derived from `id` when the email is sent."""

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
    # sign_in: the provider account to link; change_email: the customers to change
    joins: Mapped[dict[str, Any] | None] = mapped_column(JSONType)
    created_at: Mapped[datetime]
    send_at: Mapped[datetime | None]  # when its email is due: delayed if the address got another email just before
    sent_at: Mapped[datetime | None]  # when its email was handed to the mail server
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class DynamicLink(Base):
    """A portal link: works once within 24 hours and opens one customer of one business."""

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


class AccessToken(Base):
    """A bearer token of a customer-facing API client, valid for 24 hours.

    Without a session it opens one customer of one business, who was vouched for by a business. With a session it opens what that
    session opens: everything, or, with `business_id`, one business of it. It ends with the session, and with the key that made it.
    """

    __tablename__ = "access_tokens"
    __open__ = "open"
    __table_args__ = (
        of_customer(),
        Index("ix_access_tokens_session", "session_id"),
        Index("ix_access_tokens_creator", "business_id", "created_by"),
        Index("ix_access_tokens_expiry", "expires_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[str]  # read, or "read act"
    session_id: Mapped[str | None] = mapped_column(ForeignKey("browser_sessions.id"))
    business_id: Mapped[str | None]
    customer_id: Mapped[str | None]  # only without a session: who it is follows from the session otherwise
    created_by: Mapped[str]  # "api_key:<id>", "staff:<id>", "session", or "token:<id>" of the same session
    label: Mapped[str]  # shown in the list of sessions
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class RateLimitCount(Base):
    """Number of actions since `window_start`. Keys contain hashes, never an address."""

    __tablename__ = "rate_limit_counts"
    __open__ = "open"

    key: Mapped[str] = mapped_column(primary_key=True)
    window_start: Mapped[datetime]
    count: Mapped[int] = mapped_column(default=0)


class EmailOptOut(Base):
    """An address that opted out of emails about missing purchases."""

    __tablename__ = "email_opt_outs"
    __open__ = "open"

    address_hash: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]


class Merge(Base):
    """A pending merge: a person of `into_id` proved `email`, an address of `from_id`. Complete when both sides agreed."""

    __tablename__ = "account_merges"

    id: Mapped[str] = mapped_column(primary_key=True)
    into_id: Mapped[str] = mapped_column(index=True)
    from_id: Mapped[str] = mapped_column(index=True)
    email: Mapped[str]
    email_key: Mapped[str]
    into_agreed_at: Mapped[datetime | None]
    from_agreed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
