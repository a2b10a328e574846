"""Checks a file against the database before it is written: missing references, owners, and values that are taken."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import and_, select

from billing.imports.references import MODELS, key_of
from billing.model.imported_records import SourceId
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey
from billing.model.payments import Payment
from billing.model.provenance import Origin
from core.db import Database, ScopedSession
from core.scope import system
from tenants.imports.index import Named


def missing_references(db: ScopedSession, origin: Origin, named: list[Named]) -> Iterator[tuple[Named, str]]:
    """Yield (reference, reason) for references without a matching row in the business."""
    customers = _rows(db, origin, "customer", {item.owner for item in named if item.owner})
    for kind in sorted({item.kind for item in named}):
        of_kind = [item for item in named if item.kind == kind]
        rows = _rows(db, origin, kind, {item.id for item in of_kind})
        owners: dict[str, str] = {}
        if any(item.owner for item in of_kind):
            model = MODELS[kind]
            owners = dict(db.execute(select(key_of(kind), model.customer_id).where(key_of(kind).in_(sorted(rows.values())))).tuples().all())
        for item in of_kind:
            if item.id not in rows:
                yield item, f"{kind.replace('_', ' ')} {item.id} does not exist, neither in this file nor in the business."
            elif item.owner and owners.get(rows[item.id]) != customers.get(item.owner):
                yield item, f"{item.id} belongs to another customer."
    yield from _invalid_refunds(
        db, origin, [item for item in named if item.kind == "payment" and item.field == "payment_id" and item.owner is None]
    )


def _rows(db: ScopedSession, origin: Origin, kind: str, references: set[str]) -> dict[str, str]:
    """Return {reference: id} of rows that were imported from this source, or that have the reference as their id."""
    wanted = sorted(references)
    found = {id: id for id in db.scalars(select(key_of(kind)).where(key_of(kind).in_(wanted)))} if kind in MODELS else {}
    imported = select(SourceId.reference, SourceId.row_id).where(
        SourceId.account_id == origin.account_id, SourceId.kind == kind, SourceId.reference.in_(wanted)
    )
    return found | dict(db.execute(imported).tuples().all())


def _invalid_refunds(db: ScopedSession, origin: Origin, refunds: list[Named]) -> Iterator[tuple[Named, str]]:
    """Yield refunds that exceed their payment or have another currency, and refunds of payments from another source."""
    if not refunds:
        return
    rows = _rows(db, origin, "payment", {refund.id for refund in refunds})
    paid = {
        row[0]: row[1:]
        for row in db.execute(
            select(Payment.id, Payment.amount_minor, Payment.currency, Payment.account_id).where(Payment.id.in_(sorted(rows.values())))
        )
    }
    for refund in refunds:
        if refund.id not in rows:
            continue
        amount, currency, account_id = paid[rows[refund.id]]
        if account_id != origin.account_id:
            yield refund, f"{refund.id} was not imported from this source. Refund it in the system where it was made."
        elif int(refund.minor or 0) > amount or (refund.currency or currency) != currency:
            yield refund, f"the refund exceeds the payment of {amount} {currency}, or is in another currency."


def imported_ids(database: Database, business_id: str, account_id: str, size: int = 1000) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, reference, id) of every row that was imported from one source. Reads `size` rows at a time."""
    after = ""
    while True:
        query = (
            select(SourceId.id, SourceId.kind, SourceId.reference, SourceId.row_id)
            .where(SourceId.account_id == account_id, SourceId.id > after)
            .order_by(SourceId.id)
            .limit(size)
        )
        with database.open(system(business_id)) as db:
            rows = db.execute(query).all()
        if not rows:
            return
        yield from ((row[1], row[2], row[3]) for row in rows)
        after = rows[-1][0]


def taken_license_keys(db: ScopedSession, origin: Origin, rows: list[tuple[str, str, int]]) -> Iterator[tuple[int, str]]:
    """Yield (line, reason) of license keys that another row of the business already has."""
    keys = {id: line for kind, id, line in rows if kind == "key"}
    if not keys:
        return
    found = db.execute(select(LicenseKey.key, LicenseKey.id, LicenseKey.account_id).where(LicenseKey.key.in_(sorted(keys))))
    for key, id, account_id in found:
        if account_id != origin.account_id:
            yield keys[key], f"key: license key {id} already has this key."


def taken_invoice_numbers(db: ScopedSession, origin: Origin, numbers: list[tuple[str, str, int]]) -> Iterator[tuple[int, str]]:
    """Yield (line, reason) of invoice numbers that another invoice of the business has. `numbers`: (number, payment, line)."""
    query = (
        select(Invoice.number, SourceId.reference)
        .outerjoin(Payment, and_(Payment.business_id == Invoice.business_id, Payment.invoice_id == Invoice.id))
        .outerjoin(
            SourceId,
            and_(
                SourceId.business_id == Invoice.business_id,
                SourceId.account_id == origin.account_id,
                SourceId.kind == "payment",
                SourceId.row_id == Payment.id,
            ),
        )
        .where(Invoice.number.in_([number for number, _payment, _line in numbers]))
    )
    payments: dict[str, set[str | None]] = {}
    for number, reference in db.execute(query):
        payments.setdefault(number, set()).add(reference)
    for number, payment, line in numbers:
        if number in payments and payment not in payments[number]:
            yield line, f"invoice_id: another invoice already has the number {number}."
