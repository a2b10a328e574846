"""Saves payment methods as the gateway describes them, and copies their details to payments."""

from __future__ import annotations

from typing import Any

import structlog
from sqlalchemy import select

from billing.charging.ports import MethodDetails
from billing.model.payments import WALLETS, Payment, PaymentMethod
from core import clock
from core.db import ScopedSession
from core.ids import new_id
from core.outbox import emit

log = structlog.get_logger()

DETAILS = (
    "kind", "brand", "last4", "expiry_month", "expiry_year", "holder", "country", "wallet", "display", "bank_code", "mandate",
    "mandate_reference", "mandate_at", "fingerprint",
)  # fmt: skip
"""Fields that a processor tells about a method, named alike in `MethodDetails` and `PaymentMethod`."""
COPIED = ("kind", "brand", "last4", "expiry_month", "expiry_year", "holder", "country", "wallet", "display")
"""Those that are copied to payments."""
NAMES: dict[str, str] = {
    "acss_debit": "Pre-Authorized Debit",
    "amazon_pay": "Amazon Pay",
    "au_becs_debit": "BECS Direct Debit",
    "bacs_debit": "Bacs Direct Debit",
    "cashapp": "Cash App Pay",
    "ideal": "iDEAL",
    "link": "Link",
    "nz_bank_account": "BECS Direct Debit NZ",
    "paypal": "PayPal",
    "revolut_pay": "Revolut Pay",
    "sepa_debit": "SEPA Direct Debit",
    "us_bank_account": "ACH Direct Debit",
}
"""Kind → its name, which is the same in every language."""


def save_method(db: ScopedSession, payment: Payment, details: MethodDetails) -> PaymentMethod | None:
    """Save a method of the payment's account and set it on the payment.

    The same reference at one account is the same row, and so is a card that this customer added there before (`fingerprint`).
    A reference that another customer has here is not saved for a second one: it is only named on the payment, and None is returned.
    """
    found = _saved(db, payment, details.reference) or _added_before(db, payment, details)
    if found is not None and found.customer_id != payment.customer_id:
        log.error("payment method of another customer", payment=payment.id, method=found.id)
        payment.method = {name: getattr(details, name) for name in COPIED}
        return None
    if found is None:
        found = _add(db, payment, details)
    else:
        renew_details(found, details)
    payment.payment_method_id = found.id
    payment.method = method_snapshot(found)
    found.last_used_at = clock.now()
    return found


def _saved(db: ScopedSession, payment: Payment, reference: str) -> PaymentMethod | None:
    return db.scalar(
        select(PaymentMethod).where(PaymentMethod.payment_account_id == payment.payment_account_id, PaymentMethod.reference == reference)
    )


def _added_before(db: ScopedSession, payment: Payment, details: MethodDetails) -> PaymentMethod | None:
    """Return the row of a method that the customer added again, now with the new reference. The processor forgets the earlier one.

    None while an open payment uses that row: it may be sent again, with the reference that it was sent with before.
    """
    if not details.fingerprint or not details.recurring:  # one that cannot be charged again would replace one that can
        return None
    found = db.scalar(
        select(PaymentMethod)
        .where(
            PaymentMethod.customer_id == payment.customer_id,
            PaymentMethod.payment_account_id == payment.payment_account_id,
            PaymentMethod.kind == details.kind,
            PaymentMethod.fingerprint == details.fingerprint,
            PaymentMethod.wallet.is_(None) if details.wallet is None else PaymentMethod.wallet == details.wallet,
            PaymentMethod.held_by == "us",
            PaymentMethod.removed_at.is_(None),
        )
        .order_by(PaymentMethod.created_at.desc(), PaymentMethod.id)
        .limit(1)
        .with_for_update()
    )
    if found is None:
        return None
    in_use = select(Payment.id).where(Payment.payment_method_id == found.id, Payment.is_open, Payment.id != payment.id).limit(1)
    if db.scalar(in_use) is not None:
        return None
    _emit(db, "payment_method.added_again", found, private={"former_reference": found.reference})
    found.reference, found.recurring = details.reference, True
    return found


def _add(db: ScopedSession, payment: Payment, details: MethodDetails) -> PaymentMethod:
    others = select(PaymentMethod.id).where(PaymentMethod.customer_id == payment.customer_id, PaymentMethod.removed_at.is_(None))
    found = PaymentMethod(
        business_id=payment.business_id,
        customer_id=payment.customer_id,
        id=new_id("pm"),
        payment_account_id=payment.payment_account_id,
        reference=details.reference,
        recurring=details.recurring,
        is_default=db.scalar(others.limit(1)) is None,
        created_at=clock.now(),
        **{name: getattr(details, name) for name in DETAILS},
    )
    db.add(found)
    _emit(db, "payment_method.added", found)
    return found


def renew_details(method: PaymentMethod, details: MethodDetails) -> bool:
    """Take over what the processor tells now. Returns whether brand, last four digits or expiry changed."""
    before = (method.brand, method.last4, method.expiry_month, method.expiry_year)
    for name in DETAILS:
        if getattr(details, name) is not None:
            setattr(method, name, getattr(details, name))
    return before != (method.brand, method.last4, method.expiry_month, method.expiry_year)


def _emit(db: ScopedSession, type: str, method: PaymentMethod, private: dict[str, object] | None = None) -> None:
    emit(db, type, business_id=method.business_id, customer_id=method.customer_id, noun=method.id, data=event_data(method), private=private)


def event_data(method: PaymentMethod) -> dict[str, Any]:
    """Return how events name a method."""
    return {"brand": method.brand or NAMES.get(method.kind), "last4": method.last4}


def method_snapshot(method: PaymentMethod) -> dict[str, object]:
    """Return the details of a method that are copied to its payments."""
    return {name: getattr(method, name) for name in COPIED}


def method_label(method: dict[str, object]) -> str | None:
    """Return brand, or else the name of the kind, and last four digits, such as `visa 4242` or `SEPA Direct Debit 3000`; or None."""
    brand = method.get("brand") or NAMES.get(str(method.get("kind")))
    parts = [str(part) for part in (brand, method.get("last4")) if part]
    return " ".join(parts) or None


def receipt_label(method: dict[str, object]) -> str | None:
    """Return the label for receipts, which also names the wallet that a card was paid with: `visa 4242, Apple Pay`."""
    label, wallet = method_label(method), WALLETS.get(str(method.get("wallet")))
    return f"{label}, {wallet}" if label and wallet else label
