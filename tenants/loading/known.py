"""What the database has to say to a file before any of it is written: what is there, whose it is, and what is taken."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select

from billing.commands.loading.names import MODELS, key_of
from billing.licences import LicenseKey
from billing.loaded import SourceId
from billing.payments import Payment
from billing.provenance import Origin
from core.db import Database, ScopedSession
from core.scope import system
from tenants.loading.index import Named


def unanswered(db: ScopedSession, origin: Origin, named: list[Named]) -> Iterator[tuple[Named, str]]:
    """(reference, why not) of those that no row of the business answers."""
    buyers = _rows(db, origin, "customer", {one.owner for one in named if one.owner})
    for kind in sorted({one.kind for one in named}):
        mine = [one for one in named if one.kind == kind]
        rows = _rows(db, origin, kind, {one.id for one in mine})
        owners: dict[str, str] = {}
        if any(one.owner for one in mine):
            model = MODELS[kind]
            owners = dict(db.execute(select(key_of(kind), model.customer_id).where(key_of(kind).in_(sorted(rows.values())))).tuples().all())
        for one in mine:
            if one.id not in rows:
                yield one, f"there is no {kind.replace('_', ' ')} {one.id}, neither in this file nor here."
            elif one.owner and owners.get(rows[one.id]) != buyers.get(one.owner):
                yield one, f"{one.id} belongs to another customer."
    yield from _overdrawn(db, origin, [one for one in named if one.kind == "payment" and one.field == "payment_id" and one.owner is None])


def _rows(db: ScopedSession, origin: Origin, kind: str, references: set[str]) -> dict[str, str]:
    """Reference → id here: of what the same source told before, else of what is in the business under that very id."""
    wanted = sorted(references)
    found = {id: id for id in db.scalars(select(key_of(kind)).where(key_of(kind).in_(wanted)))} if kind in MODELS else {}
    told = select(SourceId.reference, SourceId.row_id).where(SourceId.account_id == origin.account_id, SourceId.kind == kind,
                                                             SourceId.reference.in_(wanted))
    return found | dict(db.execute(told).tuples().all())


def _overdrawn(db: ScopedSession, origin: Origin, refunds: list[Named]) -> Iterator[tuple[Named, str]]:
    """Refunds that do not fit their payment, and those of payments that this source did not tell of."""
    if not refunds:
        return
    rows = _rows(db, origin, "payment", {one.id for one in refunds})
    paid = {row[0]: row[1:] for row in db.execute(
        select(Payment.id, Payment.amount_minor, Payment.currency, Payment.account_id).where(Payment.id.in_(sorted(rows.values()))))}
    for one in refunds:
        if one.id not in rows:
            continue
        amount, currency, account_id = paid[rows[one.id]]
        if account_id != origin.account_id:
            yield one, f"{one.id} was not loaded from this source; it is refunded where it was made."
        elif int(one.minor or 0) > amount or (one.currency or currency) != currency:
            yield one, f"more, or in another currency, than the payment of {amount} {currency}."


def told(database: Database, business_id: str, account_id: str, size: int = 1000) -> Iterator[tuple[str, str, str]]:
    """(kind, reference, id here) of everything that was loaded from one source, in portions."""
    after = ""
    while True:
        query = select(SourceId.id, SourceId.kind, SourceId.reference, SourceId.row_id).where(
            SourceId.account_id == account_id, SourceId.id > after).order_by(SourceId.id).limit(size)
        with database.open(system(business_id)) as db:
            rows = db.execute(query).all()
        if not rows:
            return
        yield from ((row[1], row[2], row[3]) for row in rows)
        after = rows[-1][0]


def taken_here(db: ScopedSession, origin: Origin, rows: list[tuple[str, str, int]]) -> Iterator[tuple[int, str]]:
    """(line, why) of license keys that another row of the business has already."""
    keys = {id: line for kind, id, line in rows if kind == "key"}
    if not keys:
        return
    found = db.execute(select(LicenseKey.key, LicenseKey.id, LicenseKey.account_id).where(LicenseKey.key.in_(sorted(keys))))
    for key, id, account_id in found:
        if account_id != origin.account_id:
            yield keys[key], f"key: license key {id} has it already."
