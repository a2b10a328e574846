"""List the consents of a business for the API."""

from __future__ import annotations

from sqlalchemy import select

from billing.history.api_lists import ListPage, paged
from billing.model.consents import Consent
from core.db import ScopedSession


def page_of_consents(
    db: ScopedSession, page: ListPage, *, customer_id: str | None = None, subscription_id: str | None = None, payment_id: str | None = None
) -> list[Consent]:
    """Return a page of consents, those recorded last first."""
    query = select(Consent)
    for column, value in ((Consent.customer_id, customer_id), (Consent.subscription_id, subscription_id), (Consent.payment_id, payment_id)):
        query = query if value is None else query.where(column == value)
    return list(db.scalars(paged(query, Consent.recorded_at, Consent.id, page)))
