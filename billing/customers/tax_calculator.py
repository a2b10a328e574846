"""Chooses who calculates the tax of a business: the portal's own table, or Stripe Tax at one of its payment accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from billing.charging.payment_processors import PaymentProcessors
from billing.model.parties import Business
from billing.model.payment_accounts import PaymentAccount, PaymentAccountDetails
from billing.pricing.tax_setup import STRIPE, TABLE, setup_of
from core.db import ScopedSession
from core.errors import N_

CALCULATOR_KEYS = ("calculator", "calculator_account")


def stripe_accounts(db: ScopedSession, business_id: str) -> list[tuple[str, str]]:
    """Return (id, label) of the payment accounts at Stripe that take charges, the default one first."""
    at_stripe = (PaymentAccount.business_id == business_id, PaymentAccount.kind == STRIPE, PaymentAccount.state == "open")
    query = (
        select(PaymentAccount.id, PaymentAccountDetails.label)
        .join(
            PaymentAccountDetails,
            (PaymentAccountDetails.business_id == PaymentAccount.business_id) & (PaymentAccountDetails.id == PaymentAccount.id),
        )
        .where(*at_stripe)
        .order_by(PaymentAccount.is_default.desc(), PaymentAccount.created_at.desc(), PaymentAccount.id)
    )
    return [(row.id, row.label) for row in db.execute(query)]


def clean_calculator(db: ScopedSession, business: Business, typed: Mapping[str, Any], problems: dict[str, str]) -> dict[str, Any]:
    """Return the keys of the set-up. Without `calculator` it stays as it is; without an account the default one at Stripe is taken."""
    chosen = typed.get("calculator")
    if not chosen:
        setup = setup_of(business)
        return {name: setup[name] for name in CALCULATOR_KEYS if name in setup}
    if chosen == TABLE:
        return {}
    if chosen != STRIPE:
        problems["calculator"] = N_("Choose an option from the list.")
        return {}
    known = [account_id for account_id, _ in stripe_accounts(db, business.business_id)]
    account_id = typed.get("calculator_account") or next(iter(known), None)
    if account_id is None:
        problems["calculator"] = N_("Stripe Tax needs a payment account at Stripe. Connect one in Settings → Payments.")
    elif account_id not in known:
        problems["calculator_account"] = N_("This is not a payment account at Stripe that takes charges.")
    return {"calculator": STRIPE, "calculator_account": account_id}


def check(accounts: PaymentProcessors, business_id: str, account_id: str) -> Sequence[str]:
    """Ask Stripe whether Stripe Tax can be used at the account. Return what is missing, as sentences in English.

    Makes two network calls: call it outside of transactions. Raises Unavailable if Stripe does not answer.
    """
    service = accounts.taxes(business_id, account_id)
    return service.check() if service else [N_("This is not a payment account at Stripe that takes charges.")]
