"""The accounts (customer rows with their businesses) of the current request."""

from __future__ import annotations

from flask import g
from flask_babel import gettext as _

from auth.visit_rows import Account
from core.errors import BusinessArchived


def set_accounts(accounts: list[Account]) -> None:
    """Set the accounts of this request, once the visitor is known."""
    g.accounts = accounts


def accounts() -> list[Account]:
    found: list[Account] = g.accounts
    return found


def account(business_id: str, customer_id: str | None = None) -> Account:
    """Return the account of a row. Every readable row has one, because the database scope is made from the accounts."""
    return next(
        candidate for candidate in accounts() if candidate.business_id == business_id and customer_id in (None, candidate.customer_id)
    )


def open_account(business_id: str, customer_id: str | None = None) -> Account:
    """Return the account of a row that is to be changed. Raises BusinessArchived if the business has closed."""
    theirs = account(business_id, customer_id)
    if theirs.archived_at:
        raise BusinessArchived(sentence=_("%(business)s has closed. Nothing can be changed anymore.", business=theirs.name))
    return theirs


def businesses() -> dict[str, Account]:
    """Return one account per business, by business_id, in the order of the names."""
    out: dict[str, Account] = {}
    for account in accounts():
        out.setdefault(account.business_id, account)
    return out


def is_several() -> bool:
    """Return whether rows name their business, as in the unified portal."""
    from core.request_context import current_door

    return current_door().kind == "unified"
