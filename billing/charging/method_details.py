"""Saves payment methods as the gateway describes them, and copies their details to payments."""

from __future__ import annotations

from sqlalchemy import select

from billing.charging.ports import MethodDetails
from billing.model.payments import Payment, PaymentMethod
from core import clock
from core.db import ScopedSession
from core.ids import new_id
from core.outbox import emit


def save_method(db: ScopedSession, payment: Payment, details: MethodDetails) -> PaymentMethod:
    """Save a method of the payment's account and set it on the payment. The same reference at one account is the same row."""
    found = db.scalar(
        select(PaymentMethod).where(
            PaymentMethod.payment_account_id == payment.payment_account_id, PaymentMethod.reference == details.reference
        )
    )
    if found is None:
        first = (
            db.scalar(
                select(PaymentMethod.id)
                .where(PaymentMethod.customer_id == payment.customer_id, PaymentMethod.removed_at.is_(None))
                .limit(1)
            )
            is None
        )
        found = PaymentMethod(
            business_id=payment.business_id,
            customer_id=payment.customer_id,
            id=new_id("pm"),
            payment_account_id=payment.payment_account_id,
            reference=details.reference,
            kind=details.kind,
            brand=details.brand,
            last4=details.last4,
            expiry_month=details.expiry_month,
            expiry_year=details.expiry_year,
            holder=details.holder,
            country=details.country,
            recurring=details.recurring,
            is_default=first,
            created_at=clock.now(),
        )
        db.add(found)
        emit(
            db,
            "payment_method.added",
            business_id=payment.business_id,
            customer_id=payment.customer_id,
            noun=found.id,
            data={"brand": found.brand, "last4": found.last4},
        )
    payment.payment_method_id = found.id
    payment.method = method_snapshot(found)
    found.last_used_at = clock.now()
    return found


def method_snapshot(method: PaymentMethod) -> dict[str, object]:
    """Return the details of a method that are copied to its payments."""
    return {
        "kind": method.kind,
        "brand": method.brand,
        "last4": method.last4,
        "expiry_month": method.expiry_month,
        "expiry_year": method.expiry_year,
        "holder": method.holder,
        "country": method.country,
    }


def method_label(method: dict[str, object]) -> str | None:
    """Return brand and last four digits, such as `visa 4242`, or None."""
    parts = [str(method[name]) for name in ("brand", "last4") if method.get(name)]
    return " ".join(parts) or None
