"""Data of a visit: the customer rows it can see and its grants."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import aliased

from billing.model.business_profile import PROFILE_COLUMNS, BusinessProfile, profile_of
from billing.model.customer_types import CustomerType, type_for_purchase
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
    profile page lists it. `tax_country` and `tax_id` are the business's. `own_type`: consumer or business, if the customer
    said so. `customer_type`: what counts for contracts from before this was stored with them.
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
    own_type: str | None = None
    customer_type: CustomerType = "consumer"

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
    query, unaccepted_ids = _QUERY, _UNACCEPTED_IDS
    if business_id is not None:
        query = query.where(Customer.business_id == business_id)
        unaccepted_ids = unaccepted_ids.where(_Unaccepted.business_id == business_id)
    else:  # a declined business must not ask again through another row, nor use up the limit
        unaccepted_ids = unaccepted_ids.where(_IS_FROM_UNDECLINED)
    query = query.where(or_(_IS_DECIDED, Customer.customer_id.in_(unaccepted_ids.limit(MAX_UNACCEPTED))))
    with services().database.open(scope) as db:
        return [_account(row) for row in db.execute(query)]


_Unaccepted, _Declined = aliased(Customer), aliased(Customer)
_IS_DECIDED = Customer.is_recognized | Customer.is_declined
_IS_FROM_UNDECLINED = _Unaccepted.business_id.not_in(select(_Declined.business_id).where(_Declined.is_declined))
_UNACCEPTED_IDS = (
    select(_Unaccepted.customer_id).where(~_Unaccepted.is_recognized, ~_Unaccepted.is_declined).order_by(_Unaccepted.created_at)
)
_QUERY = (
    # columns, not entities: this runs on every request, and entities cost several times as much
    select(
        *(getattr(Customer, name).label(f"customer_{name}") for name in ("name", "email", "locale")),
        Customer.customer_id,
        Customer.phone,
        Customer.email_key,
        Customer.recognized_key,
        Customer.declined_key,
        Customer.accepted_at,
        Customer.first_paid_at,
        Customer.customer_type,
        Customer.customer_type_by,
        Customer.tax_id.label("customer_tax_id"),
        *(getattr(Business, name) for name in PROFILE_COLUMNS),
        Business.currency,
        Business.tax_setup,
        Business.tax_rates,
        Business.tax_id,
    )
    .join(Business, Business.business_id == Customer.business_id)
    .order_by(Business.name, Customer.business_id, Customer.created_at)
)


def _account(row: Any) -> Account:
    """Return a row of `_QUERY` as an account."""
    return Account(
        business=profile_of(row),
        customer_id=row.customer_id,
        customer_name=row.customer_name,
        email=row.customer_email,
        phone=row.phone,
        locale=row.customer_locale,
        accepted=row.recognized_key == row.email_key,
        confirmed=row.accepted_at is not None,
        declined=row.declined_key == row.email_key,
        first_paid_at=row.first_paid_at,
        currency=row.currency,
        settings=dict(row.settings or {}),
        tax_setup=row.tax_setup,
        tax_rates=dict(row.tax_rates or {}),
        tax_country=(row.address or {}).get("country") or None,
        tax_id=row.tax_id,
        own_type=row.customer_type if row.customer_type_by == "customer" else None,
        customer_type=type_for_purchase(row, row.customer_tax_id),
    )


def rows_of(scope: Scope, business_id: str) -> list[Account]:
    """Return the customer rows of a scope at one business, without declined ones."""
    return [row for row in load_customers(scope, business_id) if not row.declined]
