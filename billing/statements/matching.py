"""Find the contract that a statement is about, if what was typed proves it.

The proof: the email address on file of a customer of the business, together with the id, an invoice number or a license key of exactly one
subscription of that customer that has not ended; for a withdrawal also of a one-time purchase.
 An address alone, a name or a product's name prove nothing.

Invoice numbers can be guessed. Every statement is acknowledged to the typed address, so that its owner hears of a guess; only the first
NUMBERS numbers of a statement are tried; and after MISSES statements within a day that proved nothing, further ones for the address are
left to staff.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select

from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey, match_key
from billing.model.lifecycle import LIVE
from billing.model.parties import Customer
from billing.model.payments import Payment
from billing.model.statements import Statement
from billing.model.subscriptions import Subscription
from core.db import ScopedSession

MISSES = 3
WITHIN = timedelta(days=1)
WITHDRAWABLE = (*LIVE, "cancelled")
"""States of a subscription from which the customer can withdraw. One that was cancelled may still be paid back."""
NUMBERS = 3  # of a typed text that are tried: one statement must not be many guesses


@dataclass(frozen=True)
class Match:
    """The contract that is proven: a subscription, or for a withdrawal a one-time purchase. `matched_by`: what proved it."""

    customer_id: str
    subscription_id: str | None
    payment_id: str | None
    matched_by: str

    @property
    def id(self) -> str:
        return self.subscription_id or self.payment_id or ""


def find(db: ScopedSession, statement: Statement) -> Match | None:
    """Return the contract that the statement proves, or None. The session has the scope of the statement's business."""
    if _misses(db, statement) >= MISSES:
        return None
    customers = [row for row in db.scalars(select(Customer).where(Customer.email_key == statement.email_key)) if _may_act(row)]
    if not customers:
        return None
    found: dict[str, Match] = {}
    for customer in customers:
        texts = candidates(statement.contract)
        for match in (
            *_proved(db, customer.customer_id, texts, WITHDRAWABLE if statement.kind == "withdraw" else LIVE),
            *(_proved_purchases(db, customer.customer_id, texts) if statement.kind == "withdraw" else ()),
        ):
            found.setdefault(match.id, match)
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


def _proved(db: ScopedSession, customer_id: str, texts: list[str], states: Sequence[str]) -> list[Match]:
    live = select(Subscription.id).where(Subscription.customer_id == customer_id, Subscription.status.in_(states))
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
    return [Match(customer_id, id, None, name) for name, query in ways for id in db.scalars(query.distinct())]


def _proved_purchases(db: ScopedSession, customer_id: str, texts: list[str]) -> list[Match]:
    """Return the one-time purchases that an invoice number, a payment's id or a license key proves."""
    mine = select(Payment.id).where(
        Payment.customer_id == customer_id,
        Payment.subscription_id.is_(None),
        Payment.charge_type != "method",
        Payment.status == "succeeded",
    )
    numbers = [*texts, *(text.upper() for text in texts)]
    keys = [match_key(text) for text in texts]
    ways = (
        ("payment", mine.where(Payment.id.in_(texts))),
        ("invoice", mine.join(Invoice, Invoice.id == Payment.invoice_id).where(Invoice.number.in_(numbers))),
        ("license_key", mine.join(LicenseKey, LicenseKey.payment_id == Payment.id).where(LicenseKey.match_key.in_(keys))),
    )
    return [Match(customer_id, None, id, name) for name, query in ways for id in db.scalars(query.distinct())]
