"""Rows of custom domains."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, BusinessOwned


class Domain(Base, BusinessOwned):
    """A custom host of a business's portal. It is served while `verified_at` is set and `removed_at` is not.

    `token` must be in its DNS record. It is unique but not secret.
    """

    __tablename__ = "domains"
    __table_args__ = (Index("ix_domains_host", "host"),)

    host: Mapped[str]
    token: Mapped[str]
    created_at: Mapped[datetime]
    verified_at: Mapped[datetime | None]
    checked_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]


class DomainCode(Base):
    """A code that carries a sign-in to a domain. It works once, there, within a minute, in the same browser."""

    __tablename__ = "domain_codes"

    id: Mapped[str] = mapped_column(primary_key=True)  # keyed hash of the code
    domain_id: Mapped[str]
    business_id: Mapped[str] = mapped_column(ForeignKey("businesses.business_id"))
    grant_id: Mapped[str]
    state: Mapped[str]
    next: Mapped[str]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class DomainSession(Base):
    """A browser session at a domain. It depends on a grant of the session here and ends with it, on the next request."""

    __tablename__ = "domain_sessions"
    __table_args__ = (Index("ix_domain_sessions_domain", "domain_id"),)

    id: Mapped[str] = mapped_column(primary_key=True)  # keyed hash of the cookie's secret
    domain_id: Mapped[str]
    business_id: Mapped[str] = mapped_column(ForeignKey("businesses.business_id"))
    grant_id: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
