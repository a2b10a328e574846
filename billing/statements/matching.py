"""Find the subscription that a statement is about, if what was typed proves it.

The proof: the email address on file of a customer of the business, together with the id, an invoice number or a license key of exactly one
subscription of that customer that has not ended. An address alone, a name or a product's name prove nothing.

Invoice numbers can be guessed. Every statement is acknowledged to the typed address, so that its owner hears of a guess; only the first
NUMBERS numbers of a statement are tried; and after MISSES statements within a day that proved nothing, further ones for the address are
left to staff.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select

from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey, match_key
from billing.model.lifecycle import LIVE
from billing.model.parties import Customer
from billing.model.statements import Statement
from billing.model.subscriptions import Subscription
from core.db import ScopedSession

MISSES = 3
WITHIN = timedelta(days=1)
NUMBERS = 3  # of a typed text that are tried: one statement must not be many guesses


@dataclass(frozen=True)
class Match:
    customer_id: str
    subscription_id: str
    matched_by: str


def find(db: ScopedSession, statement: Statement) -> Match | None:
    """Return the subscription that the statement proves, or None. The session has the scope of the statement's business."""
    if _misses(db, statement) >= MISSES:
        return None
    customers = [row for row in db.scalars(select(Customer).where(Customer.email_key == statement.email_key)) if _may_act(row)]
    if not customers:
        return None
    found: dict[str, Match] = {}
    for customer in customers:
        for match in _proved(db, customer.customer_id, candidates(statement.contract)):
            found.setdefault(match.subscription_id, match)
    return next(iter(found.values())) if len(found) == 1 else None


def candidates(contract: str) -> list[str]:
    """Return the texts that may be a number: the whole of what was typed, and its first words with a digit, `-` or `_`."""
    words = [word.strip(".,;:()[]\"'“”„#") for word in re.split(r"[\s,;]+", contract)]
    numbers = [word for word in words if len(word) >= 3 and re.search(r"[\d_-]", word)]
    return [text for text in dict.fromkeys([contract.strip(), *numbers[:NUMBERS]]) if len(text) >= 3]


def _may_act(customer: Customer) -> bool:
    """Whether the holder of the address is known to be this customer. A business alone cannot say so (safety 3.2)."""
    return customer.is_recognized and not customer.is_declined


def _misses(db: ScopedSession, statement: Statement) -> int:
    earlier = select(func.count()).where(
        Statement.email_key == statement.email_key,
        Statement.received_at > statement.received_at - WITHIN,
        Statement.received_at <= statement.received_at,
        Statement.id != statement.id,
        Statement.matched_by.is_(None),
    )
    return int(db.scalar(earlier) or 0)


def _proved(db: ScopedSession, customer_id: str, texts: list[str]) -> list[Match]:
    live = select(Subscription.id).where(Subscription.customer_id == customer_id, Subscription.status.in_(LIVE))
    numbers = [*texts, *(text.upper() for text in texts)]
    ways = (
        ("subscription", live.where(Subscription.id.in_(texts))),
        ("invoice", live.join(Invoice, Invoice.subscription_id == Subscription.id).where(Invoice.number.in_(numbers))),
        (
            "license_key",
            live.join(LicenseKey, LicenseKey.subscription_id == Subscription.id).where(
                LicenseKey.match_key.in_([match_key(text) for text in texts])
            ),
        ),
    )
    return [Match(customer_id, id, name) for name, query in ways for id in db.scalars(query.distinct())]
