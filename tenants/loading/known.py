"""What the database has to say to a file before any of it is written: what is there, whose it is, and what is taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import select

from billing.catalogue import Addon, Collection, Product
from billing.licences import LicenseInstance, LicenseKey
from billing.loaded import SourceId
from billing.parties import Business, Customer
from billing.payments import Payment, PaymentMethod, Refund
from billing.subscriptions import Subscription
from core.db import Database, ScopedSession
from core.scope import everything
from tenants.loading.index import Named

MODELS: dict[str, Any] = {
    "addon": Addon, "product": Product, "collection": Collection, "customer": Customer, "payment_method": PaymentMethod,
    "subscription": Subscription, "payment": Payment, "refund": Refund, "license_key": LicenseKey, "license_key_instance": LicenseInstance,
}  # fmt: skip
OTHERS = 200  # businesses asked about at once


def key_of(kind: str) -> Any:
    model = MODELS[kind]
    return model.customer_id if kind == "customer" else model.id


def unanswered(db: ScopedSession, named: list[Named]) -> Iterator[tuple[Named, str]]:
    """(reference, why not) of those that no row of the business answers."""
    for kind in sorted({one.kind for one in named}):
        mine = [one for one in named if one.kind == kind]
        ids = sorted({one.id for one in mine})
        owners: dict[str, str | None] = dict.fromkeys(db.scalars(select(key_of(kind)).where(key_of(kind).in_(ids))))
        if any(one.owner for one in mine):
            query = select(key_of(kind), MODELS[kind].customer_id).where(key_of(kind).in_(ids))
            owners = dict(db.execute(query).tuples().all())
        for one in mine:
            if one.id not in owners:
                yield one, f"there is no {kind.replace('_', ' ')} {one.id}, neither in this file nor here."
            elif one.owner and owners[one.id] != one.owner:
                yield one, f"{one.id} belongs to another customer."
    yield from _overdrawn(db, [one for one in named if one.field == "payment_id" and one.minor])


def _overdrawn(db: ScopedSession, refunds: list[Named]) -> Iterator[tuple[Named, str]]:
    if not refunds:
        return
    rows = db.execute(select(Payment.id, Payment.amount_minor, Payment.currency).where(Payment.id.in_([one.id for one in refunds])))
    for payment_id, amount, currency in rows:
        for one in refunds:
            if one.id == payment_id and (int(one.minor or 0) > amount or (one.currency or currency) != currency):
                yield one, f"more, or in another currency, than the payment of {amount} {currency}."


def taken_here(db: ScopedSession, rows: list[tuple[str, str, int]]) -> Iterator[tuple[int, str]]:
    """(line, why) of licence keys and references that another row of the business has already."""
    keys = {id: line for kind, id, line in rows if kind == "key"}
    loaded = {row.removeprefix("license_key/") for row in db.scalars(
        select(SourceId.id).join(LicenseKey, LicenseKey.business_id == SourceId.business_id)
        .where(LicenseKey.key.in_(list(keys)), SourceId.id == "license_key/" + LicenseKey.id))} if keys else set()
    if keys:
        for key, one in db.execute(select(LicenseKey.key, LicenseKey.id).where(LicenseKey.key.in_(list(keys)))):
            if one not in loaded:
                yield keys[key], f"key: licence key {one} has it already."


def of_others(database: Database, business_id: str, rows: Iterable[tuple[str, str, int]]) -> Iterator[tuple[int, str]]:
    """(line, why) of ids under which another business of this deployment knows something: an id opens one row, or none."""
    by_kind: dict[str, dict[str, int]] = {}
    for kind, id, line in rows:
        if kind in MODELS:
            by_kind.setdefault(kind, {})[id] = line
    with database.open(everything("ids that other businesses have")) as db:
        others = list(db.scalars(select(Business.business_id).where(Business.business_id != business_id)))
        for kind, ids in by_kind.items():
            for start in range(0, len(others), OTHERS):
                theirs = MODELS[kind].business_id.in_(others[start : start + OTHERS])
                for one in db.scalars(select(key_of(kind)).where(theirs, key_of(kind).in_(list(ids)))):
                    yield ids[one], f"{one} is the id of another business's {kind.replace('_', ' ')} here."
