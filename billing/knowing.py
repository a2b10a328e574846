"""Whom a business may pass for somebody's seller with (safety 3.2): the writing half of `Customer.is_known`.

A payment counts for the holder of the address it was made under. Nobody can tell whether the payer reads that mailbox, so
who is known by money alone is shown with "New here" until the person has answered (docs/decisions/0009-who-is-known.md).
"""

from __future__ import annotations

from datetime import datetime

from billing.parties import Customer
from billing.payments import Payment, PaymentMethod
from core import clock


def paid(customer: Customer, payment: Payment, method: PaymentMethod | None) -> None:
    """Money came. A card that was saved, or a page that was opened, before the row got its address proves nothing of its holder."""
    if not payment.amount_minor:
        return
    customer.first_paid_at = customer.first_paid_at or clock.now()
    began = payment.created_at if payment.hosted_url is not None or method is None else method.created_at
    _known_by(customer, began)


def paid_elsewhere(customer: Customer, payment: Payment) -> None:
    """Another system says that money came: of a renewal it says nothing about whose card it was."""
    customer.first_paid_at = min(payment.created_at, customer.first_paid_at or payment.created_at)
    if customer.address_since is None or payment.charge_type == "new":
        _known_by(customer, payment.created_at)


def moved(customer: Customer, email: str, email_key: str) -> None:
    """The business gave the row another address: whoever holds that one has said nothing yet. Given the old one back, what was
    proved under it holds again."""
    customer.email, customer.email_key = email, email_key
    customer.accepted_at, customer.address_since = None, clock.now()


def moved_by_themselves(customer: Customer, email: str, email_key: str) -> None:
    """The person proved the new address, and wants this business there."""
    customer.email, customer.email_key = email, email_key
    customer.known_key, customer.accepted_at = email_key, customer.accepted_at or clock.now()


def same_person(customer: Customer) -> None:
    """Both addresses, the known one and the new, are proved to be one person's."""
    customer.known_key = customer.email_key


def accepted(customer: Customer) -> None:
    customer.known_key, customer.accepted_at = customer.email_key, clock.now()
    customer.declined_key = customer.declined_at = None


def declined(customer: Customer) -> None:
    customer.declined_key, customer.declined_at = customer.email_key, clock.now()


def _known_by(customer: Customer, began: datetime) -> None:
    if customer.address_since is None or began >= customer.address_since:
        customer.known_key = customer.email_key
