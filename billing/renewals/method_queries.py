"""Read saved payment methods with the live subscriptions that use them, in one statement."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import and_, select

from billing.model.catalogue import Product
from billing.model.lifecycle import LIVE
from billing.model.payment_accounts import is_chargeable
from billing.model.payments import PaymentMethod
from billing.model.subscriptions import Subscription
from core.db import ScopedSession


@dataclass(slots=True)
class MethodRow:
    business_id: str
    customer_id: str
    id: str
    kind: str
    brand: str | None
    last4: str | None
    expiry_month: int | None
    expiry_year: int | None
    is_default: bool
    last_used_at: datetime | None
    created_at: datetime
    wallet: str | None
    display: str | None
    mandate_reference: str | None
    mandate_at: datetime | None
    bank_code: str | None
    is_chargeable: bool
    """False if its payment account takes no new charges: the customer has to add it again."""
    pays_for: list[tuple[str, str]] = field(default_factory=list)
    """(subscription id, product's name)"""


def methods(db: ScopedSession) -> list[MethodRow]:
    query = (
        select(
            PaymentMethod.business_id,
            PaymentMethod.customer_id,
            PaymentMethod.id,
            PaymentMethod.kind,
            PaymentMethod.brand,
            PaymentMethod.last4,
            PaymentMethod.expiry_month,
            PaymentMethod.expiry_year,
            PaymentMethod.is_default,
            PaymentMethod.last_used_at,
            PaymentMethod.created_at,
            PaymentMethod.wallet,
            PaymentMethod.display,
            PaymentMethod.mandate_reference,
            PaymentMethod.mandate_at,
            PaymentMethod.bank_code,
            is_chargeable(),
            Subscription.id,
            Product.name,
        )
        .outerjoin(
            Subscription,
            and_(
                Subscription.business_id == PaymentMethod.business_id,
                Subscription.customer_id == PaymentMethod.customer_id,
                Subscription.payment_method_id == PaymentMethod.id,
                Subscription.status.in_(LIVE),
            ),
        )
        .outerjoin(Product, and_(Product.business_id == Subscription.business_id, Product.id == Subscription.product_id))
        .where(PaymentMethod.removed_at.is_(None), PaymentMethod.held_by == "us")
        .order_by(PaymentMethod.is_default.desc(), PaymentMethod.created_at.desc(), PaymentMethod.id, Product.name)
        .limit(1000)
    )
    out: dict[tuple[str, str], MethodRow] = {}
    for *columns, subscription_id, name in db.execute(query):
        row = MethodRow(*columns)
        first = out.setdefault((row.business_id, row.id), row)
        if subscription_id:
            first.pays_for.append((subscription_id, name))
    return list(out.values())
