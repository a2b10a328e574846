"""Ask for the check of a VAT ID, and record its answer. VIES itself is asked by the worker, outside transactions (tenants/vies/).

Only VAT IDs of EU states are checked. Until there is an answer, an ID with the right form and check digits counts as valid. An ID that
VIES does not know is marked in the buyer's address (`tax_id_check`), and its holder is taxed like a consumer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from billing.model.lifecycle import LIVE
from billing.model.parties import Customer
from billing.model.subscriptions import Subscription
from billing.model.tax_id_checks import INVALID, UNAVAILABLE, VALID, WAITING, TaxIdCheck
from billing.pricing.taxes import full_vat_id
from core import clock
from core.db import ScopedSession
from core.outbox import emit

FRESH = timedelta(days=1)
"""How long an answer is used before the same ID is asked for again."""
AGAIN = timedelta(days=30)
"""After how long the ID of a running subscription is checked again."""
RETRIES = (timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(hours=6), timedelta(hours=24))
"""Pauses after a try without an answer. The last one repeats."""


@dataclass(frozen=True)
class RegisterAnswer:
    """An answer of VIES. `valid` None: no answer, for the reason `error`."""

    valid: bool | None
    consultation: str | None = None
    name: str | None = None
    error: str | None = None


def request_check(db: ScopedSession, business_id: str, customer_id: str, tax_id: str | None, country: str | None) -> str | None:
    """Queue the check of a VAT ID, unless its answer is fresh. Return its known status, None for an ID that is not checked."""
    number = full_vat_id(tax_id, country)
    if number is None:
        return None
    row = check_of(db, business_id, customer_id, number)
    at = clock.wall()
    if row is None:
        row = TaxIdCheck(
            business_id=business_id, customer_id=customer_id, id=f"{customer_id}:{number}", number=number, status=WAITING, attempts=0,
            due_at=at, created_at=at,
        )  # fmt: skip
        db.add(row)
        db.flush()
    elif row.due_at is None or (row.status in (VALID, INVALID) and row.checked_at is not None and row.checked_at < at - FRESH):
        row.due_at = at
    return row.status


def check_of(db: ScopedSession, business_id: str, customer_id: str, number: str | None) -> TaxIdCheck | None:
    """Return the latest check of a VAT ID with its prefix."""
    if number is None:
        return None
    found: TaxIdCheck | None = db.scalar(
        select(TaxIdCheck).where(TaxIdCheck.business_id == business_id, TaxIdCheck.id == f"{customer_id}:{number}")
    )
    return found


def marked(address: dict[str, Any], status: str | None) -> dict[str, Any]:
    """Return the address with the result of the check: only an invalid ID is marked."""
    plain = {name: value for name, value in address.items() if name != "tax_id_check"}
    return {**plain, "tax_id_check": INVALID} if status == INVALID else plain


def is_marked_invalid(address: dict[str, Any]) -> bool:
    """Return whether the tax ID used with this address was found invalid."""
    return address.get("tax_id_check") == INVALID


def record_answer(db: ScopedSession, check_id: str, answer: RegisterAnswer) -> None:
    """Store an answer of VIES, and mark the running subscriptions of this customer with this ID. Idempotent."""
    customer_id = db.scalar(select(TaxIdCheck.customer_id).where(TaxIdCheck.id == check_id))
    subscriptions = _locked_subscriptions(db, customer_id)  # before the check, as changes of billing details lock them
    row = db.scalar(select(TaxIdCheck).where(TaxIdCheck.id == check_id).with_for_update())
    if row is None:
        return
    at = clock.wall()
    if answer.valid is None:
        row.error, row.attempts = (answer.error or "")[:200], row.attempts + 1
        row.due_at = at + RETRIES[min(row.attempts, len(RETRIES)) - 1]
        if row.status == WAITING:
            row.status = UNAVAILABLE
        return
    before = row.status
    row.status, row.checked_at, row.error, row.attempts = VALID if answer.valid else INVALID, at, None, 0
    row.consultation, row.name = answer.consultation, (answer.name or "")[:200] or None
    row.due_at = at + AGAIN if _mark_subscriptions(db, row, subscriptions) else None
    if row.status != before:
        valid, invalid = "customer.tax_id_valid", "customer.tax_id_invalid"
        data = {"number": row.number, "consultation": row.consultation}
        event = valid if answer.valid else invalid
        emit(db, event, business_id=row.business_id, customer_id=row.customer_id, noun=row.customer_id, data=data)


def record_unused(db: ScopedSession, check_id: str, status: str) -> None:
    """Record that the ID will not be checked, because this deployment does not use VIES."""
    row = db.scalar(select(TaxIdCheck).where(TaxIdCheck.id == check_id).with_for_update())
    if row is not None:
        row.status, row.due_at = row.status if row.checked_at else status, None


def _locked_subscriptions(db: ScopedSession, customer_id: str | None) -> list[Subscription]:
    """Lock the running subscriptions that are charged here. Another billing system decides about the tax of its own."""
    query = select(Subscription).where(
        Subscription.customer_id == customer_id,
        Subscription.status.in_(LIVE),
        Subscription.collected_by == "us",
        Subscription.tax_id.is_not(None),
    )
    return list(db.scalars(query.order_by(Subscription.id).with_for_update()))


def _mark_subscriptions(db: ScopedSession, check: TaxIdCheck, subscriptions: list[Subscription]) -> bool:
    """Mark the addresses of the running subscriptions with this ID. Return whether anything still uses the ID."""
    users = [row for row in subscriptions if full_vat_id(row.tax_id, (row.billing or {}).get("country")) == check.number]
    for row in users:
        if (new := marked(row.billing or {}, check.status)) != row.billing:
            row.billing = new
    customer = db.scalar(select(Customer).where(Customer.customer_id == check.customer_id))
    own = full_vat_id(customer.tax_id, (customer.billing or {}).get("country")) if customer else None
    return bool(users) or own == check.number
