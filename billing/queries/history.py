"""Billing history: payments, refunds, and the invoices no payment stands for, in one dated list. Keyset-paged, one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, cast, exists, func, literal, literal_column, null, or_, select, union_all

from billing.invoices import Invoice
from billing.payments import Payment, Refund
from core.db import ScopedSession
from core.models import JSONType

STATES = ("paid", "open", "failed", "refunded")


@dataclass(slots=True)
class Entry:
    """`kind`: payment, refund, invoice. Amounts in minor units; a refund's is positive here and shown with a minus."""

    kind: str
    business_id: str
    id: str
    at: datetime
    what: str
    status: str
    unknown: bool
    minor: int
    refunded_minor: int
    currency: str
    method: dict[str, Any] | None
    document_id: str | None
    number: str | None
    subscription_id: str | None


@dataclass(frozen=True)
class Filter:
    """What the list is narrowed to. `words`: matched subscriptions, products' payments, businesses or an exact number."""

    business_id: str | None = None
    state: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    subscription_id: str | None = None
    words: Words | None = None


@dataclass(frozen=True)
class Words:
    number: str
    business_ids: Sequence[str] = ()
    subscription_ids: Sequence[str] = ()
    payment_ids: Sequence[str] = ()


Mark = tuple[datetime, str]
"""(at, id) of an entry: where a page ends."""


def entries(db: ScopedSession, narrowed: Filter, *, before: Mark | None = None, after: Mark | None = None, limit: int = 25) -> list[Entry]:
    """Newest first. `before` → older ones, `after` → newer ones (still newest first). Ask for one more than shown to know of more."""
    rows = union_all(*(select(part.limit(limit).subquery()) for part in _parts(narrowed, before, after))).subquery()
    order = (rows.c.at.asc(), rows.c.id.asc()) if after else (rows.c.at.desc(), rows.c.id.desc())
    found = [Entry(*row) for row in db.execute(select(rows).order_by(*order).limit(limit))]
    return found[::-1] if after else found


def _parts(narrowed: Filter, before: Mark | None, after: Mark | None) -> list[Select[Any]]:
    paid = (
        select(literal("payment").label("kind"), Payment.business_id, Payment.id, Payment.created_at.label("at"),
               func.coalesce(Invoice.description, "").label("what"), Payment.status, Payment.unknown, Payment.amount_minor.label("minor"),
               Payment.refunded_minor, Payment.currency, Payment.method, Invoice.id.label("document_id"), Invoice.number,
               Payment.subscription_id)
        .outerjoin(Invoice, and_(Invoice.business_id == Payment.business_id, Invoice.id == Payment.invoice_id))
        .where(Payment.amount_minor > 0)  # a card that was saved, the start of a trial: nothing was paid
    )
    back = (
        select(literal("refund").label("kind"), Refund.business_id, Refund.id, Refund.created_at.label("at"),
               func.coalesce(Invoice.description, "").label("what"), Refund.status, literal(False).label("unknown"),
               Refund.amount_minor.label("minor"), literal(0).label("refunded_minor"), Refund.currency, Payment.method,
               Refund.id.label("document_id"), Refund.number, Refund.subscription_id)
        .join(Payment, and_(Payment.business_id == Refund.business_id, Payment.id == Refund.payment_id))
        .outerjoin(Invoice, and_(Invoice.business_id == Refund.business_id, Invoice.id == Refund.invoice_id))
    )
    # An invoice speaks for itself only where no payment does: nobody has paid it, or nothing was to be paid.
    under_way = exists().where(Payment.business_id == Invoice.business_id, Payment.invoice_id == Invoice.id,
                               Payment.amount_minor > 0, or_(Payment.is_open.is_(True), Payment.status == "succeeded"))
    issued = (
        select(literal("invoice").label("kind"), Invoice.business_id, Invoice.id, Invoice.issued_at.label("at"),
               Invoice.description.label("what"), Invoice.status, literal(False).label("unknown"), Invoice.due_minor.label("minor"),
               literal(0).label("refunded_minor"), Invoice.currency, cast(null(), JSONType).label("method"),
               Invoice.id.label("document_id"), Invoice.number, Invoice.subscription_id)
        .where(Invoice.paid_minor == literal_column("0"), ~under_way)  # a literal, so that ix_invoices_unpaid serves it
    )
    states = {
        "paid": (Payment.status == "succeeded", None, Invoice.status == "paid"),
        "open": (Payment.is_open.is_(True), None, Invoice.status == "open"),
        "failed": (Payment.status == "failed", Refund.status == "failed", None),
        "refunded": (Payment.refunded_minor > 0, Refund.status.in_(("pending", "succeeded")), None),
    }
    out: list[Any] = []
    for n, (query, owner, at, noun) in enumerate((
        (paid, Payment.business_id, Payment.created_at, Payment.id), (back, Refund.business_id, Refund.created_at, Refund.id),
        (issued, Invoice.business_id, Invoice.issued_at, Invoice.id),
    )):
        if narrowed.state:
            condition = states[narrowed.state][n]
            if condition is None:
                continue
            query = query.where(condition)
        subscription = (Payment, Refund, Invoice)[n].subscription_id
        if narrowed.business_id:
            query = query.where(owner == narrowed.business_id)
        if narrowed.subscription_id:
            query = query.where(subscription == narrowed.subscription_id)
        if narrowed.since:
            query = query.where(at >= narrowed.since)
        if narrowed.until:
            query = query.where(at < narrowed.until)
        if narrowed.words:
            said = narrowed.words
            own = Payment.id if n == 0 else Refund.payment_id if n == 1 else None
            number = Refund.number if n == 1 else Invoice.number
            query = query.where(or_(number.in_({said.number, said.number.upper()}), owner.in_(said.business_ids),
                                    subscription.in_(said.subscription_ids),
                                    *([own.in_(said.payment_ids)] if own is not None else [])))
        if before:
            query = query.where(at <= before[0], (at < before[0]) | (noun < before[1]))  # the first part is the range that the index seeks
        if after:
            query = query.where(at >= after[0], (at > after[0]) | (noun > after[1]))
        out.append(query.order_by(at.asc(), noun.asc()) if after else query.order_by(at.desc(), noun.desc()))
    return out
