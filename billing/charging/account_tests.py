"""Tests a payment account: a small payment is opened and cancelled there, and its notification has to arrive. Nothing is charged.

A test is requested on a page, sent by a lane of the worker, and seen to arrive by the handler of notifications. `test_result` of the
account holds its state: n, key, currency, began_at, payment (waiting, cancelled, or a problem of `TestPayment`), message, reference,
amount, refused_at (a notification with a wrong signature arrived meanwhile) and event_at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from billing.charging.gateway_operations import GatewayOperations
from billing.charging.payment_accounts import load_account
from billing.model.parties import Business
from billing.model.payment_accounts import PaymentAccount, PaymentAccountDetails
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, PortalError
from core.money import Money
from core.outbox import emit
from core.scope import everything, system

PATIENCE = timedelta(minutes=2)
"""How long the page waits for the notification before it says what to check. One that arrives later still counts."""
GIVEN_UP = timedelta(hours=23)
"""An unanswered test is repeated for as long as processors remember its key."""
WAITING = "waiting"


@dataclass(frozen=True)
class AccountTest:
    """The state of the last test of an account. `payment`: waiting, cancelled, unanswered, or a problem of `TestPayment`."""

    began_at: datetime
    payment: str
    message: str
    reference: str
    amount: Money | None
    event_at: datetime | None
    refused_at: datetime | None

    @property
    def is_running(self) -> bool:
        """The result can still change within the time that the page waits."""
        unfinished = self.payment == WAITING or (self.payment == "cancelled" and self.event_at is None)
        return unfinished and clock.wall() - self.began_at < PATIENCE

    @property
    def has_passed(self) -> bool:
        return self.payment == "cancelled" and self.event_at is not None


def last_test(details: PaymentAccountDetails) -> AccountTest | None:
    found = details.test_result
    if not found:
        return None
    return AccountTest(
        began_at=datetime.fromisoformat(found["began_at"]),
        payment=found["payment"],
        message=found.get("message", ""),
        reference=found.get("reference") or "",
        amount=Money(found["amount"], found["currency"]) if found.get("amount") is not None else None,
        event_at=_moment(found, "event_at"),
        refused_at=_moment(found, "refused_at"),
    )


def request_test(processor: GatewayOperations, db: ScopedSession, account_id: str) -> None:
    """Let the worker test the account. Does nothing while a test is being sent. Raises NotFound, Conflict (the account is closed)."""
    row, details = load_account(db, account_id)
    if row.state == "closed" or row.kind not in processor.accounts.kinds:
        raise Conflict("UNSUPPORTED_ACTION", N_("This account is closed."))
    if details.test_due_at is not None:
        return
    before = details.test_result or {}
    number = int(before.get("n", 0)) + 1
    details.test_result = {
        "n": number,
        "key": processor.key(row.business_id, f"test:{row.id}", number),
        "currency": _currency(db, row),
        "began_at": clock.wall().isoformat(),
        "payment": WAITING,
    }
    details.test_due_at = clock.wall()
    emit(db, "payment_account.test_requested", business_id=row.business_id, noun=row.id, data={"kind": row.kind, "state": row.state})


def run_test(processor: GatewayOperations, business_id: str, account_id: str) -> bool:
    """Send the test that is due and store the result. Returns whether the processor answered. Idempotent, because the key stays."""
    with processor.database.open(system(business_id)) as db:
        details = db.scalar(select(PaymentAccountDetails).where(PaymentAccountDetails.id == account_id))
    if details is None or details.test_due_at is None or not details.test_result:
        return True
    test = details.test_result
    try:
        found = processor.gateway_of((business_id, account_id)).test_payment(test["key"], test["currency"])
    except PortalError:
        if clock.wall() - datetime.fromisoformat(test["began_at"]) >= GIVEN_UP:
            _store(processor, business_id, account_id, test["n"], {"payment": "unanswered"})
        return False
    amount = found.amount
    result: dict[str, Any] = {"payment": found.problem or "cancelled", "message": found.message, "reference": found.reference}
    if amount is not None:
        result |= {"amount": amount.minor, "currency": amount.currency}
    _store(processor, business_id, account_id, test["n"], result)
    return True


def _store(processor: GatewayOperations, business_id: str, account_id: str, number: int, result: Mapping[str, Any]) -> None:
    with processor.database.open(system(business_id), write=True) as db:
        _row, details = load_account(db, account_id)
        if details.test_result and details.test_result["n"] == number:
            details.test_result = {**details.test_result, **result}
            details.test_due_at = None


def note_event(processor: GatewayOperations, hint: Mapping[str, Any]) -> bool:
    """Store that the notification of a test has arrived. Returns whether the hint is about a test."""
    account_id, key = str(hint.get("payment_account_id") or ""), str(hint.get("key") or "")
    if not account_id or f"/test:{account_id}/" not in key:
        return False
    _note(processor, str(hint["business_id"]), account_id, "event_at", key)
    return True


def note_wrong_signature(processor: GatewayOperations, business_id: str, account_id: str) -> None:
    """Store, while a test waits, that a notification could not be verified. At other times anybody could cause the write."""
    with processor.database.open(system(business_id)) as db:
        details = db.scalar(select(PaymentAccountDetails).where(PaymentAccountDetails.id == account_id))
    test = last_test(details) if details is not None else None
    if test is not None and test.is_running and test.refused_at is None:
        _note(processor, business_id, account_id, "refused_at")


def _note(processor: GatewayOperations, business_id: str, account_id: str, name: str, key: str = "") -> None:
    with processor.database.open(system(business_id), write=True) as db:
        _row, details = load_account(db, account_id)
        result = details.test_result
        if result and (not key or result["key"] == key) and not result.get(name):
            details.test_result = {**result, name: clock.wall().isoformat()}


def due_businesses(processor: GatewayOperations, limit: int) -> list[str]:
    """Return the ids of businesses with a test to send, the longest waiting first."""
    due_at = PaymentAccountDetails.test_due_at
    with processor.database.open(everything("businesses with a test of a payment account")) as db:
        found = select(PaymentAccountDetails.business_id).where(due_at <= clock.wall()).group_by(PaymentAccountDetails.business_id)
        return list(db.scalars(found.order_by(func.min(due_at)).limit(limit)))


def due_tests(processor: GatewayOperations, business_id: str) -> list[str]:
    """Return the ids of the accounts of a business with a test to send."""
    with processor.database.open(system(business_id)) as db:
        due = select(PaymentAccountDetails.id).where(PaymentAccountDetails.test_due_at <= clock.wall())
        return list(db.scalars(due.order_by(PaymentAccountDetails.test_due_at)))


def _currency(db: ScopedSession, row: PaymentAccount) -> str:
    """Return the currency of the business, or one of the account if it cannot charge that."""
    own = db.scalar(select(Business.currency)) or "EUR"
    return own if not row.currencies or own in row.currencies else str(row.currencies[0])


def _moment(found: Mapping[str, Any], name: str) -> datetime | None:
    return datetime.fromisoformat(found[name]) if found.get(name) else None
