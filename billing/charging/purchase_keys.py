"""Disables the license keys of a purchase whose money went back in full, and enables them when it returned."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from billing.model import policy
from billing.model.events import emit_about
from billing.model.invoices import InvoiceLine
from billing.model.licenses import LicenseKey, key_status
from billing.model.parties import Business
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from billing.model.withdrawals import Withdrawal
from core import clock
from core.db import ScopedSession


def follow_money(db: ScopedSession, business: Business, payment: Payment, taken_minor: int = 0, why: str = "refunded") -> None:
    """Disable the keys of a purchase if nothing of its money is left, or remove that reason. Keys of a subscription follow it instead.

    `taken_minor`: the part of the payment that lost disputes took. A key that is disabled for another reason stays disabled.
    """
    if payment.refunded_minor + taken_minor < payment.amount_minor:
        _enable(db, payment)
    elif payment.amount_minor and policy.setting(business, "keys_on_full_refund") == "revoke":
        _disable(db, payment, why)


def withdraw_keys(db: ScopedSession, payment: Payment, product_ids: Collection[str]) -> None:
    """Disable the keys of products from which the customer withdrew, whatever the business keeps on refunds. They stay disabled."""
    mine = select(LicenseKey).where(LicenseKey.payment_id == payment.id, LicenseKey.product_id.in_(product_ids))
    for key in db.scalars(mine.where(LicenseKey.revoked_at.is_(None))):
        key.revoked_at = clock.now()
        if key.status == "active":
            key.status = "disabled"
        emit_about(db, key, "license_key.updated", fields=["status"], why="withdrawn")


def _withdrawn_products(db: ScopedSession, payment: Payment) -> set[str]:
    ids = [line_id for lines in db.scalars(select(Withdrawal.line_ids).where(Withdrawal.payment_id == payment.id)) for line_id in lines]
    query = select(InvoiceLine.product_id).where(InvoiceLine.id.in_(ids))
    return {product_id for product_id in db.scalars(query) if product_id} if ids else set()


def _disable(db: ScopedSession, payment: Payment, why: str) -> None:
    for key in db.scalars(select(LicenseKey).where(LicenseKey.payment_id == payment.id, LicenseKey.revoked_at.is_(None))):
        key.revoked_at = clock.now()
        if key.status == "active":
            key.status = "disabled"
        emit_about(db, key, "license_key.updated", fields=["status"], why=why)


def _enable(db: ScopedSession, payment: Payment) -> None:
    withdrawn = _withdrawn_products(db, payment)
    for key in db.scalars(select(LicenseKey).where(LicenseKey.payment_id == payment.id, LicenseKey.revoked_at.is_not(None))):
        if key.product_id in withdrawn:
            continue
        key.revoked_at = None
        subscription = select(Subscription.status).where(Subscription.id == key.subscription_id)
        key.status = key_status(key, db.scalar(subscription) if key.subscription_id else None)
        emit_about(db, key, "license_key.updated", fields=["status"], why="money_returned")
