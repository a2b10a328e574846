"""Helpers for stories about withdrawing."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from billing.model.parties import Customer
from billing.model.statements import Statement
from billing.model.withdrawals import Withdrawal
from billing.statements.signed_in import add_statement
from billing.statements.withdraw import Contract, withdraw
from billing.statements.withdrawal_queries import purchase_quote, subscription_quote
from core.db import ScopedSession
from core.scope import customer_of
from tests.stories.business_and_buyer import Site


def withdraws(site: Site, contract: Contract, shown_minor: int | None = None) -> str:
    """Confirm a withdrawal as the site's customer, by default with what the page would show now. Returns the statement's id."""
    if shown_minor is None:
        shown_minor = quote(site, contract).refund_minor
    return withdraw(
        site.processor,
        customer_of(site.business_id, site.customer_id),
        contract,
        business_id=site.business_id,
        statement=lambda db: statement(db, site),
        shown_minor=shown_minor,
    )


def statement(db: ScopedSession, site: Site) -> Statement:
    customer = db.scalars(select(Customer).where(Customer.customer_id == site.customer_id)).one()
    return add_statement(db, customer, contract="Team", sentence="I withdraw from Team.", language="en", zone="Europe/London", item="Team")


def quote(site: Site, contract: Contract) -> Any:
    if contract.subscription_id:
        return subscription_quote(site.database, site.business_id, contract.subscription_id)
    return purchase_quote(site.database, site.business_id, contract.payment_id or "", contract.line_ids)


def withdrawal(site: Site) -> Withdrawal:
    [row] = site.rows(Withdrawal)
    assert isinstance(row, Withdrawal)
    return row
