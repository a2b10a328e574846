"""What a visit holds: the customer rows it may see, and the grants it goes by."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from auth.faces import Face


@dataclass(frozen=True)
class CustomerRow:
    """A customer row of this visit, with the public face of its business. `accepted`: they paid, or said "show it";
    `confirmed`: they said so; `declined`: they said "not mine", and no page but their profile has it."""

    business_id: str
    customer_id: str
    name: str
    email: str
    phone: str | None
    locale: str | None
    accepted: bool
    confirmed: bool
    declined: bool
    first_paid_at: datetime | None
    business: Face
    currency: str
    settings: dict[str, Any]
    tax_rates: dict[str, Any] = field(default_factory=dict)
    tax_country: str | None = None  # of the business, as its VAT id
    tax_id: str | None = None

    @property
    def business_name(self) -> str:
        return self.business.name

    @property
    def brand(self) -> dict[str, Any]:
        return self.business.brand

    @property
    def zone(self) -> str:
        return self.business.zone

    @property
    def support_email(self) -> str:
        return self.business.support_email

    @property
    def archived_at(self) -> datetime | None:
        return self.business.archived_at


@dataclass(frozen=True)
class GrantView:
    id: str
    door: str
    business_id: str | None
    customer_id: str | None
    proof: str
    address_key: str | None
    link_id: str | None
    return_url: str | None
    proved_at: datetime
    expires_at: datetime
    party: str | None = None  # the provider that proved it
