"""Records which customers are recognized by the holders of their email addresses (safety 3.2). Writes `Customer.is_recognized`.

A payment counts for the holder of the address under which it was made. It is not certain that the payer reads that mailbox. A business
that is recognized only by a payment is therefore marked as new until the person answers (docs/decisions/0009-who-is-known.md).
"""

from __future__ import annotations

from datetime import datetime

from billing.model.parties import Customer
from billing.model.payments import Payment, PaymentMethod
from core import clock


def record_payment(customer: Customer, payment: Payment, method: PaymentMethod | None) -> None:
    """Record a payment as recognition.

    It does not count if the card was saved, or the payment page opened, before the row got its current address.
    """
    if not payment.amount_minor:
        return
    customer.first_paid_at = customer.first_paid_at or clock.now()
    started_at = payment.created_at if payment.hosted_url is not None or method is None else method.created_at
    _recognize_since(customer, started_at)


def record_external_payment(customer: Customer, payment: Payment) -> None:
    """Record a payment from another system. A renewal counts only without an address change: its card may be old."""
    customer.first_paid_at = min(payment.created_at, customer.first_paid_at or payment.created_at)
    if customer.address_since is None or payment.charge_type == "new":
        _recognize_since(customer, payment.created_at)


def change_address(customer: Customer, email: str, email_key: str) -> None:
    """Record that the business changed the address. The holder of the new address has not accepted anything yet.

    If the old address is restored, its recognition counts again.
    """
    customer.email, customer.email_key = email, email_key
    customer.accepted_at, customer.address_since = None, clock.now()


def change_own_address(customer: Customer, email: str, email_key: str) -> None:
    """Record that the person verified a new address and accepts this business under it."""
    customer.email, customer.email_key = email, email_key
    customer.recognized_key, customer.accepted_at = email_key, customer.accepted_at or clock.now()


def recognize_address(customer: Customer) -> None:
    """Recognize the current address, because the recognized and the new address are verified to belong to one person."""
    customer.recognized_key = customer.email_key


def record_acceptance(customer: Customer) -> None:
    customer.recognized_key, customer.accepted_at = customer.email_key, clock.now()
    customer.declined_key = customer.declined_at = None


def record_decline(customer: Customer) -> None:
    customer.declined_key, customer.declined_at = customer.email_key, clock.now()


def _recognize_since(customer: Customer, started_at: datetime) -> None:
    if customer.address_since is None or started_at >= customer.address_since:
        customer.recognized_key = customer.email_key
