"""Rows of the OpenID Connect provider. Codes and tokens are stored as keyed hashes, private keys encrypted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, BusinessOwned, CustomerOwned, of_customer, within_business, within_customer


class SigningKey(Base):
    """One key pair. Published but unused while `signs_from` is empty; signs until `signs_until`; stays published after that."""

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(primary_key=True)  # kid
    public: Mapped[dict[str, Any]]  # JWK (RFC 7517)
    sealed: Mapped[str]  # the private JWK, sealed with the key ring
    created_at: Mapped[datetime]
    signs_from: Mapped[datetime | None]
    signs_until: Mapped[datetime | None]


class App(Base, BusinessOwned):
    """An app of a business: an OAuth client. `id` is its client_id. A public app has no secret."""

    __tablename__ = "apps"
    __table_args__ = (Index("ix_apps_id", "id"),)

    name: Mapped[str]
    secret_hash: Mapped[str | None]
    redirect_uris: Mapped[list[Any]]
    post_logout_uris: Mapped[list[Any]]
    backchannel_uri: Mapped[str | None]
    created_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]

    @property
    def is_public(self) -> bool:
        return self.secret_hash is None


class AppSubject(Base, CustomerOwned):
    """The subject id of a customer for the business's apps. `id` is random, never changed and never reused."""

    __tablename__ = "app_subjects"
    __table_args__ = (of_customer(), UniqueConstraint("business_id", "customer_id"))

    created_at: Mapped[datetime]


class AppConsent(Base, CustomerOwned):
    """A consent of a person for an app. `app_name`: as shown at that time.

    `given_by`: the identity, or "sso" if the business's own provider identified the person. It is not valid for anyone else.
    """

    __tablename__ = "app_consents"
    __table_args__ = (of_customer(), within_business("app_id", "apps"), UniqueConstraint("business_id", "customer_id", "app_id"))

    app_id: Mapped[str]
    app_name: Mapped[str]
    scopes: Mapped[list[Any]]
    given_by: Mapped[str | None]
    given_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class AppSession(Base, CustomerOwned):
    """A sign-in to an app: one code and the family of tokens issued for it. `id` is the claim `sid`.

    It depends on `grant_id`, the grant of the browser's session here. When that ends, the app is notified (`left_at`) and the tokens
    end, except offline ones (`is_offline`), which last until `expires_at`. `ended_at` ends all of them at once.
    """

    __tablename__ = "app_sessions"
    __table_args__ = (
        of_customer(),
        within_business("app_id", "apps"),
        UniqueConstraint("business_id", "customer_id", "id"),
        Index("ix_app_sessions_code", "code_hash"),
        Index("ix_app_sessions_left", "left_at", "expires_at"),
        Index("ix_app_sessions_logout", "business_id", "app_id", "logout_due_at"),
    )

    app_id: Mapped[str]
    identity_id: Mapped[str | None]  # None: the business's own provider proved the customer
    grant_id: Mapped[str]
    subject: Mapped[str]
    scope: Mapped[str]
    is_offline: Mapped[bool]
    auth_time: Mapped[datetime]
    redirect_uri: Mapped[str]
    challenge: Mapped[str]  # PKCE, S256
    nonce: Mapped[str | None]
    code_hash: Mapped[str]
    code_expires_at: Mapped[datetime]
    code_used_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    left_at: Mapped[datetime | None]
    logout_due_at: Mapped[datetime | None]  # when the app is notified next; None: already notified, or not ended
    logout_attempts: Mapped[int] = mapped_column(default=0)

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


class AppToken(Base, CustomerOwned):
    """An access or refresh token. `id` is its keyed hash. A used refresh token stays, because its second use indicates theft."""

    __tablename__ = "app_tokens"
    __table_args__ = (
        of_customer(),
        within_customer("app_session_id", "app_sessions"),
        Index("ix_app_tokens_id", "id"),
        Index("ix_app_tokens_expires", "expires_at"),
    )

    app_session_id: Mapped[str]
    kind: Mapped[str]  # access, refresh
    scope: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
