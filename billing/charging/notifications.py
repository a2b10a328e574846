"""Receives the notifications of payment accounts and acts on them. They are hints: state and amount come from a look-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import select

from billing.charging import account_keys, account_tests, disputes, method_updates, processor_refunds
from billing.charging.payment_processor import PaymentProcessor
from billing.charging.processor_refunds import ProcessorObject
from billing.model.gateway_notifications import GatewayNotification
from billing.model.payment_accounts import SANDBOX, PaymentAccount, ProcessorCall
from billing.model.payments import Payment, Refund
from core import clock
from core.db import ScopedSession
from core.errors import NotFound, Unauthorized
from core.handlers import Handlers
from core.outbox import emit
from core.scope import everything

Row = tuple[str, str]
"""(business id, id)"""


def register(handlers: Handlers, processor: PaymentProcessor) -> None:
    """Register the work that follows from notifications of processors, and what processors have to be told."""
    handlers.on("gateway.notified", lambda work: process(processor, work.data), "gateway.follow_up")
    handlers.on(
        "payment_method.removed", lambda work: processor.forget_method(str(work.business_id), str(work.noun_id)), "payment_method.forget"
    )
    handlers.on(
        "payment_method.added_again",
        lambda work: method_updates.forget_former(processor, str(work.business_id), str(work.noun_id), str(work.data["former_reference"])),
        "payment_method.forget_former",
    )


def of_sandbox(processor: PaymentProcessor) -> Callable[[dict[str, str], bytes], None]:
    """Return the receiver of the sandbox, which runs in this process and does not send HTTP requests to it."""
    return lambda headers, body: receive(processor, SANDBOX, headers.get("sandbox-account", ""), headers, body)


def receive(processor: PaymentProcessor, kind: str, payment_account_id: str, headers: Mapping[str, str], body: bytes) -> None:
    """Verify a notification with the secret of this account, or the one before, and store it once for the worker.

    Raises NotFound for an account that does not exist or is of another kind, Unauthorized for a wrong signature.
    """
    with processor.database.open(everything("find the account of a notification")) as db:
        found = select(PaymentAccount.business_id).where(PaymentAccount.id == payment_account_id, PaymentAccount.kind == kind)
        business_id = db.scalar(found)
    if business_id is None or kind not in processor.accounts.kinds:
        raise NotFound()
    try:
        hint = account_keys.read_notification(processor.accounts, business_id, payment_account_id, headers, body)
    except Unauthorized:
        account_tests.note_wrong_signature(processor, business_id, payment_account_id)
        raise
    with processor.database.open(everything("store a gateway notification"), write=True) as db:
        notification_id = f"{payment_account_id}:{hint.id}"
        if db.get(GatewayNotification, notification_id) is None:
            db.add(
                GatewayNotification(
                    id=notification_id,
                    payment_account_id=payment_account_id,
                    key=hint.key or "",
                    kind=hint.noun,
                    reference=hint.reference,
                    received_at=clock.wall(),
                )
            )
            data = {
                "business_id": business_id,
                "payment_account_id": payment_account_id,
                "key": hint.key,
                "kind": hint.noun,
                "reference": hint.reference,
            }
            emit(db, "gateway.notified", data=data)
    processor.accounts.note_health(business_id, payment_account_id, event=True)


def process(processor: PaymentProcessor, hint: Mapping[str, Any]) -> None:
    """Look up what a notification is about, at its account, and record the outcome.

    Refunds and disputes that are not known here were made in the processor's dashboard, or by the customer's bank, and are recorded.
    What is not of this account is ignored. A notification that was stored by an earlier version names no account.
    """
    if account_tests.note_event(processor, hint):
        return
    account_id, reference = hint.get("payment_account_id"), hint.get("reference")
    found = ProcessorObject(str(hint["business_id"]), account_id, reference) if account_id and reference else None
    if found is not None and hint.get("kind") in ("dispute", "method"):
        if hint.get("kind") == "dispute":
            disputes.record_dispute(processor, found)
        else:
            method_updates.follow_up(processor, hint)
        return
    if hint.get("kind") == "dispute":
        return
    payment, refund = find(processor, hint)
    if payment is not None:
        processor.follow_up(*payment)
    elif refund is not None:
        processor.follow_up_refund(*refund)
    elif hint.get("kind") == "refund" and found is not None:
        processor_refunds.record_processor_refund(processor, found)


def find(processor: PaymentProcessor, hint: Mapping[str, Any]) -> tuple[Row | None, Row | None]:
    """Return (business id, id) of the payment or of the refund that a notification of an account is about."""
    with processor.database.open(everything("find the payment or refund of a notification")) as db:
        payment = _find_payment(db, hint)
        return payment, None if payment else _find_refund(db, hint)


def _find_payment(db: ScopedSession, hint: Mapping[str, Any]) -> Row | None:
    query = select(Payment.business_id, Payment.id).where(Payment.account_id.is_(None), Payment.payment_account_id.is_not(None))
    if hint.get("payment_account_id"):
        query = query.where(Payment.business_id == hint["business_id"], Payment.payment_account_id == hint["payment_account_id"])
    if hint.get("key"):
        return db.execute(query.where(Payment.key == hint["key"])).tuples().first()
    if hint.get("reference") and hint.get("payment_account_id"):
        return db.execute(query.where(Payment.gateway_reference == hint["reference"]).order_by(Payment.created_at)).tuples().first()
    return None


def _find_refund(db: ScopedSession, hint: Mapping[str, Any]) -> Row | None:
    query = select(Refund.business_id, Refund.id).where(Refund.account_id.is_(None), Refund.payment_account_id.is_not(None))
    account, key = hint.get("payment_account_id"), hint.get("key")
    if account:
        query = query.where(Refund.business_id == hint["business_id"], Refund.payment_account_id == account)
    if not key and account and hint.get("reference"):
        calls = select(ProcessorCall.id).where(
            ProcessorCall.business_id == hint["business_id"],
            ProcessorCall.payment_account_id == account,
            ProcessorCall.reference == hint["reference"],
        )
        key = db.scalar(calls.limit(1))
    return db.execute(query.where(Refund.key == key)).tuples().first() if key else None
