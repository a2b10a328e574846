"""Payment accounts: where the payments of a business are charged. A business has one or several, and may change them over time.

The row that customers of the business may read (which account is open) is apart from the secrets and the health of the account.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Index, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column

from billing.model.payments import PaymentMethod
from core import clock
from core.db import ScopedSession
from core.models import Base, BusinessOwned, Catalogue, CustomerOwned, of_customer, within_business

SANDBOX = "sandbox"
"""The kind of the built-in test processor, which moves no money."""


class PaymentAccount(Base, Catalogue):
    """An account of a business at a payment processor. `currencies`: what it charges; empty means every currency.

    `default_currencies`: those in which payments without a saved method are charged here. `is_default`: the same for all other currencies.
    `external_id` and the secrets are in `PaymentAccountDetails`.
    """

    __tablename__ = "payment_accounts"

    kind: Mapped[str]
    currencies: Mapped[list[Any]] = mapped_column(default=list)
    state: Mapped[str] = mapped_column(default="open")  # see lifecycle.PAYMENT_ACCOUNT
    is_default: Mapped[bool] = mapped_column(default=False)
    default_currencies: Mapped[list[Any] | None]
    created_at: Mapped[datetime]

    def takes(self, currency: str) -> bool:
        """Return whether the account charges in a currency."""
        return not self.currencies or currency in self.currencies


class PaymentAccountDetails(Base, BusinessOwned):
    """The part of an account that only its business may read: label, encrypted secrets and health (wall clock). `id`: of the account.

    `key_set_at`: when the key was replaced, None since the account was connected. The former webhook secret is valid until
    `former_webhook_secret_until`, see `billing/charging/account_keys.py`.
    `test_due_at`: a test of the account waits to be sent. `test_result`: of the last test, see `billing/charging/account_tests.py`.
    """

    __tablename__ = "payment_account_details"
    __table_args__ = (within_business("id", "payment_accounts"),)

    label: Mapped[str]
    sealed_key: Mapped[str] = mapped_column(default="")
    sealed_webhook_secret: Mapped[str] = mapped_column(default="")
    external_id: Mapped[str] = mapped_column(default="")
    api_version: Mapped[str] = mapped_column(default="")
    last_answer_at: Mapped[datetime | None]
    last_event_at: Mapped[datetime | None]
    last_failure_at: Mapped[datetime | None]
    last_failure: Mapped[str | None]
    key_set_at: Mapped[datetime | None]
    sealed_former_webhook_secret: Mapped[str | None]
    former_webhook_secret_until: Mapped[datetime | None]
    test_due_at: Mapped[datetime | None]
    test_result: Mapped[dict[str, Any] | None]


class ProcessorCustomer(Base, CustomerOwned):
    """The id (`reference`) that a customer has at a payment account."""

    __tablename__ = "processor_customers"
    __table_args__ = (of_customer(), UniqueConstraint("business_id", "customer_id", "payment_account_id"))

    payment_account_id: Mapped[str]
    reference: Mapped[str]


class ProcessorCall(Base, BusinessOwned):
    """An operation that was, or is about to be, sent to a processor. Committed before the call. `id`: the key of the operation.

    `sent_at`: of the first request (wall clock). `cancelled_at`: a cancellation was sent, so the operation is not sent again.
    """

    __tablename__ = "processor_calls"
    __table_args__ = (Index("ix_processor_calls_reference", "business_id", "payment_account_id", "reference"),)

    payment_account_id: Mapped[str]
    kind: Mapped[str]  # charge, refund, collect
    customer_reference: Mapped[str] = mapped_column(default="")
    reference: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]


def sandbox_account_id(business_id: str) -> str:
    """Return the id of the sandbox account that a business of a test deployment gets when it is created."""
    return f"pac_{business_id.removeprefix('bus_')}"


def open_account_id(db: ScopedSession, business_id: str) -> str | None:
    """Return the id of the account for payments without a saved method, None if the business has none that is open."""
    open_here = select(PaymentAccount.id).where(PaymentAccount.business_id == business_id, _is_open(db.settings.processor_kinds))
    return db.scalar(open_here.order_by(PaymentAccount.is_default.desc(), PaymentAccount.created_at.desc()).limit(1))


def takes_charges(db: ScopedSession, table: Any) -> ColumnElement[bool]:
    """Return the condition that the business of a row has an account for new charges. `table`: has the column `business_id`."""
    return takes_charges_of(db.settings.processor_kinds, table)


def takes_charges_of(kinds: Sequence[str], table: Any) -> ColumnElement[bool]:
    """Return the condition of `takes_charges`, for a deployment with these kinds of payment processors."""
    open_here = select(PaymentAccount.id).where(PaymentAccount.business_id == table.business_id, _is_open(kinds))
    return open_here.correlate(table).exists()


def _is_open(kinds: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that an account takes new charges: it is open, and this deployment has its kind of processor."""
    return (PaymentAccount.state == "open") & PaymentAccount.kind.in_(kinds)


def add_sandbox_account(db: ScopedSession, business_id: str) -> None:
    """Give a new business of a test deployment its account at the sandbox."""
    row_id, at = sandbox_account_id(business_id), clock.wall()
    db.add(PaymentAccount(business_id=business_id, id=row_id, kind=SANDBOX, currencies=[], state="open", is_default=True, created_at=at))
    db.flush()
    db.add(PaymentAccountDetails(business_id=business_id, id=row_id, label="Sandbox"))


def is_chargeable() -> ColumnElement[bool]:
    """Return the condition that a saved payment method can be charged: not removed, ours, and its account takes new charges."""
    return (
        PaymentMethod.removed_at.is_(None)
        & (PaymentMethod.held_by == "us")
        & select(PaymentAccount.id)
        .where(
            PaymentAccount.business_id == PaymentMethod.business_id,
            PaymentAccount.id == PaymentMethod.payment_account_id,
            PaymentAccount.state == "open",
        )
        .correlate(PaymentMethod)
        .exists()
    )
