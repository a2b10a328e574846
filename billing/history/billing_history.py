"""Read the billing history: payments, refunds, and invoices without a payment, in one dated list. Keyset-paged, one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, cast, exists, func, literal, literal_column, null, or_, select, union_all

from billing.model.invoices import Invoice
from billing.model.payments import Payment, Refund
from core.db import ScopedSession
from core.models import JSONType

STATES = ("paid", "open", "failed", "refunded")


@dataclass(slots=True)
class HistoryEntry:
    """`kind`: payment, refund or invoice. Amounts in minor units; a refund's is positive here and shown with a minus."""

    kind: str
    business_id: str
    id: str
    at: datetime
    what: str
    status: str
    unknown: bool
    minor: int
    refunded_minor: int
    disputed_minor: int
    currency: str
    method: dict[str, Any] | None
    document_id: str | None
    number: str | None
    subscription_id: str | None


@dataclass(frozen=True)
class Filter:
    """Filters of the list. `search`: the rows that a search matched, and an exact document number."""

    business_id: str | None = None
    state: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    subscription_id: str | None = None
    search: SearchTerms | None = None


@dataclass(frozen=True)
class SearchTerms:
    number: str
    business_ids: Sequence[str] = ()
    subscription_ids: Sequence[str] = ()
    payment_ids: Sequence[str] = ()


Mark = tuple[datetime, str]
"""(at, id) of the last entry of a page."""


def entries(
    db: ScopedSession, narrowed: Filter, *, before: Mark | None = None, after: Mark | None = None, limit: int = 25
) -> list[HistoryEntry]:
    """Entries older than `before` or newer than `after`, newest first. Request one more than shown to detect a further page."""
    parts = [query for source in _sources() if (query := _select_entries(source, narrowed, before, after)) is not None]
    rows = union_all(*(select(part.limit(limit).subquery()) for part in parts)).subquery()
    order = (rows.c.at.asc(), rows.c.id.asc()) if after else (rows.c.at.desc(), rows.c.id.desc())
    found = [HistoryEntry(*row) for row in db.execute(select(rows).order_by(*order).limit(limit))]
    return found[::-1] if after else found


@dataclass(frozen=True)
class _Source:
    """One kind of entry: its statement, and the columns for filters and paging.

    `states`: the condition of each state that this kind can have.
    """

    query: Select[Any]
    business_id: Any
    at: Any
    id: Any
    subscription_id: Any
    number: Any
    payment_id: Any | None
    states: dict[str, Any]


def _sources() -> tuple[_Source, ...]:
    return _payments(), _refunds(), _invoices()


def _payments() -> _Source:
    query: Any = (
        select(
            literal("payment").label("kind"),
            Payment.business_id,
            Payment.id,
            Payment.created_at.label("at"),
            func.coalesce(Invoice.description, "").label("what"),
            Payment.status,
            Payment.unknown,
            Payment.amount_minor.label("minor"),
            Payment.refunded_minor,
            Payment.disputed_minor,
            Payment.currency,
            Payment.method,
            Invoice.id.label("document_id"),
            Invoice.number,
            Payment.subscription_id,
        )
        .outerjoin(Invoice, and_(Invoice.business_id == Payment.business_id, Invoice.id == Payment.invoice_id))
        .where(Payment.amount_minor > 0)  # no saved cards and starts of trials: nothing was paid
    )
    states = {
        "paid": Payment.status == "succeeded",
        "open": Payment.is_open.is_(True),
        "failed": Payment.status == "failed",
        "refunded": Payment.refunded_minor > 0,
    }
    return _Source(query, Payment.business_id, Payment.created_at, Payment.id, Payment.subscription_id, Invoice.number, Payment.id, states)


def _refunds() -> _Source:
    query: Any = (
        select(
            literal("refund").label("kind"),
            Refund.business_id,
            Refund.id,
            Refund.created_at.label("at"),
            func.coalesce(Invoice.description, "").label("what"),
            Refund.status,
            literal(False).label("unknown"),
            Refund.amount_minor.label("minor"),
            literal(0).label("refunded_minor"),
            literal(0).label("disputed_minor"),
            Refund.currency,
            Payment.method,
            Refund.id.label("document_id"),
            Refund.number,
            Refund.subscription_id,
        )
        .join(Payment, and_(Payment.business_id == Refund.business_id, Payment.id == Refund.payment_id))
        .outerjoin(Invoice, and_(Invoice.business_id == Refund.business_id, Invoice.id == Refund.invoice_id))
    )
    states = {"failed": Refund.status == "failed", "refunded": Refund.status.in_(("pending", "succeeded"))}
    return _Source(
        query, Refund.business_id, Refund.created_at, Refund.id, Refund.subscription_id, Refund.number, Refund.payment_id, states
    )


def _invoices() -> _Source:
    """Invoices without a payment to list: unpaid, or with nothing to pay."""
    under_way = exists().where(
        Payment.business_id == Invoice.business_id,
        Payment.invoice_id == Invoice.id,
        Payment.amount_minor > 0,
        or_(Payment.is_open.is_(True), Payment.status == "succeeded"),
    )
    query: Any = (
        select(
            literal("invoice").label("kind"),
            Invoice.business_id,
            Invoice.id,
            Invoice.issued_at.label("at"),
            Invoice.description.label("what"),
            Invoice.status,
            literal(False).label("unknown"),
            Invoice.due_minor.label("minor"),
            literal(0).label("refunded_minor"),
            literal(0).label("disputed_minor"),
            Invoice.currency,
            cast(null(), JSONType).label("method"),
            Invoice.id.label("document_id"),
            Invoice.number,
            Invoice.subscription_id,
        ).where(Invoice.paid_minor == literal_column("0"), ~under_way)  # a literal, so that ix_invoices_unpaid is used
    )
    states = {"paid": Invoice.status == "paid", "open": Invoice.status == "open"}
    return _Source(query, Invoice.business_id, Invoice.issued_at, Invoice.id, Invoice.subscription_id, Invoice.number, None, states)


def _select_entries(source: _Source, narrowed: Filter, before: Mark | None, after: Mark | None) -> Select[Any] | None:
    """The source with filters, paging and order. None when no entry of this kind can have the filter's state."""
    query, at = source.query, source.at
    if narrowed.state:
        if narrowed.state not in source.states:
            return None
        query = query.where(source.states[narrowed.state])
    if narrowed.business_id:
        query = query.where(source.business_id == narrowed.business_id)
    if narrowed.subscription_id:
        query = query.where(source.subscription_id == narrowed.subscription_id)
    if narrowed.since:
        query = query.where(at >= narrowed.since)
    if narrowed.until:
        query = query.where(at < narrowed.until)
    if narrowed.search:
        query = query.where(_matches(source, narrowed.search))
    if before:  # the first condition is the range that the index seeks
        query = query.where(at <= before[0], (at < before[0]) | (source.id < before[1]))
    if after:
        query = query.where(at >= after[0], (at > after[0]) | (source.id > after[1]))
    return query.order_by(at.asc(), source.id.asc()) if after else query.order_by(at.desc(), source.id.desc())


def _matches(source: _Source, terms: SearchTerms) -> ColumnElement[bool]:
    return or_(
        source.number.in_({terms.number, terms.number.upper()}),
        source.business_id.in_(terms.business_ids),
        source.subscription_id.in_(terms.subscription_ids),
        *([source.payment_id.in_(terms.payment_ids)] if source.payment_id is not None else []),
    )
