"""Read subscriptions as pages show them: with product, payment method, open invoice and open payment."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select

from billing.model.catalogue import Product
from billing.model.invoices import Invoice
from billing.model.lifecycle import ENDED, LIVE
from billing.model.provenance import made_here_first
from billing.model.subscriptions import Subscription
from billing.subscriptions.row_query import select_rows
from billing.subscriptions.subscription_row import SubscriptionRow
from core.db import ScopedSession
from core.errors import NotFound

SHOWN = (*LIVE, "pending")
OLDEST_INVOICE = (Invoice.issued_at, Invoice.id)
"""The order of the open invoices of a subscription. `external_pages.external_invoices` has the same."""


def live(db: ScopedSession, limit: int = 500) -> list[SubscriptionRow]:
    """Subscriptions that have not ended, by next billing date. One statement, whatever the number of businesses."""
    query = (
        select_rows(db)
        .where(Subscription.status.in_(SHOWN))
        .order_by(Subscription.next_billing_at, Subscription.id, *OLDEST_INVOICE)
        .limit(limit)
    )
    return unique_rows(db.execute(query))


def past(db: ScopedSession, before: tuple[datetime, str] | None = None, limit: int = 25) -> list[SubscriptionRow]:
    """Subscriptions that have ended, newest first. `before`: (created_at, id) of the last row seen."""
    query = select_rows(db).where(Subscription.status.in_(ENDED))
    query = query.order_by(Subscription.created_at.desc(), Subscription.id.desc(), *OLDEST_INVOICE).limit(limit)
    if before:
        at, item = before
        query = query.where((Subscription.created_at < at) | ((Subscription.created_at == at) & (Subscription.id < item)))
    return unique_rows(db.execute(query))


def get_subscription(db: ScopedSession, subscription_id: str) -> SubscriptionRow:
    """The subscription of an id. Raises NotFound for an unknown id and for another customer's."""
    rows = unique_rows(
        db.execute(
            select_rows(db)
            .where(Subscription.id == subscription_id)
            .order_by(made_here_first(Subscription), Subscription.business_id, *OLDEST_INVOICE)
        )
    )
    if not rows:
        raise NotFound()
    return rows[0]


def product_of(db: ScopedSession, business_id: str, product_id: str) -> Product:
    """The product of a subscription, with its picture and download. Raises NotFound."""
    found = db.scalar(select(Product).where(Product.business_id == business_id, Product.id == product_id))
    if found is None:
        raise NotFound()
    return found


def unique_rows(rows: Any) -> list[SubscriptionRow]:
    """Convert rows, keeping the first of each subscription: several open invoices repeat it, the oldest first."""
    found: dict[tuple[str, str], SubscriptionRow] = {}
    for subscription_row in (SubscriptionRow(*row) for row in rows):
        found.setdefault((subscription_row.business_id, subscription_row.id), subscription_row)
    return list(found.values())
