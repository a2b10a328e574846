"""What the door found out: the accounts (customer rows and their businesses) this request is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import g
from flask_babel import gettext as _

from auth.sessions import CustomerRow
from core.errors import BusinessArchived


@dataclass(frozen=True, slots=True)
class Account:
    """One customer row, and of its business what its customers may see. `name` is the business's: an account passes for a
    business wherever one is drawn or asked (`policy.allows`, `pricing.for_period`, the mark)."""

    business_id: str
    customer_id: str
    customer_name: str
    email: str
    phone: str | None
    locale: str | None
    is_planted: bool  # the person never paid this business and never said "show it" (safety 3.2)
    is_new: bool  # paid under the person's address, by whomever: they have not said yet that it is theirs
    name: str
    seller: str
    support_email: str
    currency: str
    zone: str
    brand: dict[str, Any]
    logo_url: str | None
    settings: dict[str, Any]
    tax_rates: dict[str, Any]
    tax_country: str | None
    tax_id: str | None
    archived_at: datetime | None


def account_of(row: CustomerRow) -> Account:
    face = row.business
    return Account(
        row.business_id, row.customer_id, row.name, row.email, row.phone, row.locale, not row.accepted,
        row.accepted and not row.confirmed, face.name, face.seller, face.support_email, row.currency, face.zone,
        face.brand, face.logo_url if row.accepted else None, row.settings, row.tax_rates, row.tax_country, row.tax_id, face.archived_at,
    )


def settle(accounts: list[Account]) -> None:
    """Called by a door, once, after it knows who came."""
    g.accounts = accounts


def accounts() -> list[Account]:
    found: list[Account] = g.accounts
    return found


def account(business_id: str, customer_id: str | None = None) -> Account:
    """The account a row belongs to. Every row a page can read has one, for the scope was made of them."""
    return next(one for one in accounts() if one.business_id == business_id and customer_id in (None, one.customer_id))


def open_account(business_id: str, customer_id: str | None = None) -> Account:
    """As `account`, for acts. Raises BusinessArchived where nothing can be changed any more."""
    theirs = account(business_id, customer_id)
    if theirs.archived_at:
        raise BusinessArchived(sentence=_("%(business)s has closed its shop here; nothing can be changed any more.", business=theirs.name))
    return theirs


def businesses() -> dict[str, Account]:
    """business_id → one account of it, in the order of their names."""
    out: dict[str, Account] = {}
    for one in accounts():
        out.setdefault(one.business_id, one)
    return out


def is_several() -> bool:
    """Whether a row has to say which business it is from."""
    from core.web import the_door

    return the_door().kind == "unified"
