"""Data of a visit: the customer rows it can see and its grants."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import aliased

from billing.model.business_profile import BusinessProfile, profile_of
from billing.model.parties import Business, Customer
from core.request_context import services
from core.scope import Scope

MAX_UNACCEPTED = 100
"""Unaccepted customer rows that one visit loads at most."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """A customer row of this visit, with the public profile of its business.

    It can be used as a business in `policy.allows`, `prices.for_period` and `mark_tag`: `name` is the name of the business.
    `accepted`: the person paid or approved it. `confirmed`: they approved it. `declined`: they said "not mine"; only their
    profile page lists it. `tax_country` and `tax_id` are the business's.
    """

    business: BusinessProfile
    customer_id: str
    customer_name: str
    email: str
    phone: str | None
    locale: str | None
    accepted: bool
    confirmed: bool
    declined: bool
    first_paid_at: datetime | None
    currency: str
    settings: dict[str, Any]
    tax_setup: dict[str, Any] | None = None
    tax_rates: dict[str, Any] = field(default_factory=dict)
    tax_country: str | None = None
    tax_id: str | None = None

    @property
    def is_pending_acceptance(self) -> bool:
        """Never paid and not approved by the person (safety 3.2)."""
        return not self.accepted

    @property
    def is_new(self) -> bool:
        """Paid with the person's email address, but not yet confirmed by them."""
        return self.accepted and not self.confirmed

    @property
    def business_id(self) -> str:
        return self.business.business_id

    @property
    def name(self) -> str:
        return self.business.name

    @property
    def seller(self) -> str:
        return self.business.seller

    @property
    def support_email(self) -> str:
        return self.business.support_email

    @property
    def zone(self) -> str:
        return self.business.zone

    @property
    def brand(self) -> dict[str, Any]:
        return self.business.brand

    @property
    def logo_url(self) -> str | None:
        return self.business.logo_url if self.accepted else None

    @property
    def archived_at(self) -> datetime | None:
        return self.business.archived_at


@dataclass(frozen=True)
class VisitGrant:
    id: str
    door: str
    business_id: str | None
    customer_id: str | None
    sign_in_method: str
    address_key: str | None
    link_id: str | None
    return_url: str | None
    proved_at: datetime
    expires_at: datetime
    party: str | None = None  # the provider that proved it


def load_customers(scope: Scope, business_id: str | None = None) -> list[Account]:
    """Return the customer rows of a scope, with at most a hundred unaccepted ones.

    Unaccepted rows cost a business nothing. The limit keeps pages fast if a business creates very many with the same address.
    """
    unaccepted = aliased(Customer)
    unaccepted_ids = (
        select(unaccepted.customer_id)
        .where(~unaccepted.is_recognized, ~unaccepted.is_declined)
        .order_by(unaccepted.created_at)
        .limit(MAX_UNACCEPTED)
    )
    query = (
        select(Customer, Business)
        .join(Business, Business.business_id == Customer.business_id)
        .order_by(Business.name, Customer.business_id, Customer.created_at)
    )
    if business_id is not None:
        query = query.where(Customer.business_id == business_id)
        unaccepted_ids = unaccepted_ids.where(unaccepted.business_id == business_id)
    else:  # a declined business must not ask again through another row, nor use up the limit
        declined = aliased(Customer)
        unaccepted_ids = unaccepted_ids.where(unaccepted.business_id.not_in(select(declined.business_id).where(declined.is_declined)))
    query = query.where(Customer.is_recognized | Customer.is_declined | Customer.customer_id.in_(unaccepted_ids))
    with services().database.open(scope) as db:
        return [_account(customer, business) for customer, business in db.execute(query)]


def _account(customer: Customer, business: Business) -> Account:
    return Account(
        business=profile_of(business),
        customer_id=customer.customer_id,
        customer_name=customer.name,
        email=customer.email,
        phone=customer.phone,
        locale=customer.locale,
        accepted=customer.is_recognized,
        confirmed=customer.accepted_at is not None,
        declined=customer.is_declined,
        first_paid_at=customer.first_paid_at,
        currency=business.currency,
        settings=dict(business.settings or {}),
        tax_setup=business.tax_setup,
        tax_rates=dict(business.tax_rates or {}),
        tax_country=business.tax_country,
        tax_id=business.tax_id,
    )


def rows_of(scope: Scope, business_id: str) -> list[Account]:
    """Return the customer rows of a scope at one business, without declined ones."""
    return [row for row in load_customers(scope, business_id) if not row.declined]
