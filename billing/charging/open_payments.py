"""Create the row of a payment (step 1 of a charge).

The gateway's key is derived from `operation` and `attempt`. Without a method, the customer enters one on a hosted page.
`first_check` is the delay until the first look-up, if not the usual one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from billing.charging.gateway_operations import GatewayOperations
from billing.charging.method_details import method_snapshot
from billing.charging.payment_processors import provider_of
from billing.model.authors import author_of
from billing.model.payments import Payment, PaymentMethod
from core import clock
from core.db import ScopedSession
from core.ids import new_id

FIRST_CHARGE_CHECK, FIRST_PAGE_CHECK = timedelta(seconds=30), timedelta(minutes=2)
"""Delay until the reconciler first checks a charge, or a hosted page, whose outcome was not reported."""
_NEW = {"is_open": True, "unknown": False, "refunded_minor": 0, "fence": 0}


def open_payment(
    processor: GatewayOperations,
    db: ScopedSession,
    *,
    business_id: str,
    customer_id: str,
    brand_id: str,
    charge_type: str,
    operation: str,
    attempt: int = 1,
    amount_minor: int,
    tax_minor: int,
    currency: str,
    method: PaymentMethod | None,
    off_session: bool = False,
    payment_id: str | None = None,
    subscription_id: str | None = None,
    invoice_id: str | None = None,
    return_url: str | None = None,
    cart: Sequence[dict[str, Any]] = (),
    discounts: Sequence[dict[str, Any]] = (),
    billing: dict[str, Any] | None = None,
    intent: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    first_check: timedelta | None = None,
    customer_type: str | None = None,
) -> Payment:
    """Add an open payment that was not sent yet. Raises Conflict, see `PaymentProcessors.for_new` and `for_method`."""
    account = processor.accounts.for_payment(db, business_id, currency, method)
    payment = Payment(
        business_id=business_id,
        customer_id=customer_id,
        id=payment_id or new_id("pay"),
        invoice_id=invoice_id,
        subscription_id=subscription_id,
        brand_id=brand_id,
        charge_type=charge_type,
        amount_minor=amount_minor, tax_minor=tax_minor, currency=currency,
        status="processing" if method else "requires_payment_method",
        key=processor.key(business_id, operation, attempt),
        attempt=attempt,
        off_session=off_session,
        payment_method_id=method.id if method else None,
        method=method_snapshot(method) if method else {},
        payment_account_id=account.id,
        gateway=provider_of(account.kind),
        return_url=return_url,
        intent=intent or {},
        cart=list(cart),
        discounts=list(discounts),
        billing=billing or {},
        meta=metadata or {},
        customer_type=customer_type,
        **_NEW,
        author=author_of(db),
        check_at=clock.wall() + (first_check or (FIRST_CHARGE_CHECK if method else FIRST_PAGE_CHECK)),
        **dict.fromkeys(("created_at", "updated_at"), clock.now()),
    )  # fmt: skip
    db.add(payment)
    return payment
