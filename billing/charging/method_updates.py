"""Follows what a processor tells about a saved method, such as a card that the bank renewed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from billing.charging.gateway_operations import GatewayOperations
from billing.charging.method_details import event_data, renew_details
from billing.model.events import emit_about
from billing.model.payments import PaymentMethod
from core.scope import system


def follow_up(processor: GatewayOperations, hint: Mapping[str, Any]) -> None:
    """Look up the method that a notification of an account is about, and take over what changed. Unknown ones are ignored.

    Raises Unavailable if the processor does not answer: the worker repeats it.
    """
    business_id, account_id = str(hint["business_id"]), str(hint["payment_account_id"])
    known = select(PaymentMethod).where(
        PaymentMethod.payment_account_id == account_id,
        PaymentMethod.reference == str(hint["reference"]),
        PaymentMethod.held_by == "us",
        PaymentMethod.removed_at.is_(None),
    )
    with processor.database.open(system(business_id)) as db:
        if db.scalar(known) is None:
            return
    details = processor.gateway_of((business_id, account_id)).describe(str(hint["reference"]))
    if details is None:  # it was removed at the processor; the next charge is declined, and the customer is told
        return
    with processor.database.open(system(business_id), write=True) as db:
        method = db.scalar(known.with_for_update())
        if method is not None and renew_details(method, details):
            emit_about(db, method, "payment_method.renewed", **event_data(method))


def forget_former(processor: GatewayOperations, business_id: str, method_id: str, reference: str) -> None:
    """Make the processor unable to charge the earlier reference of a method that was added again. Repeated after an error."""
    with processor.database.open(system(business_id)) as db:
        method = db.scalar(select(PaymentMethod).where(PaymentMethod.id == method_id))
    if method is not None and method.reference != reference and method.payment_account_id is not None:
        processor.gateway_of((business_id, method.payment_account_id)).forget(reference)
