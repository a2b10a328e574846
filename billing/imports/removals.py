"""Removes what an account no longer has. The history stays: a product is archived, and a payment method is no longer shown."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from billing.model.catalogue import Addon, Product
from billing.model.imported_records import SourceId, source_key
from billing.model.payments import PaymentMethod
from billing.model.provenance import Origin
from core import clock
from core.db import ScopedSession

_REMOVED: dict[str, tuple[Any, str]] = {
    "product": (Product, "archived_at"), "addon": (Addon, "archived_at"), "payment_method": (PaymentMethod, "removed_at"),
}  # fmt: skip


def remove(db: ScopedSession, origin: Origin, kind: str, reference: str) -> None:
    """Mark the row of this account as removed, if there is one. Rows of another origin, and other kinds, are not changed."""
    source = db.scalar(select(SourceId).where(SourceId.id == source_key(origin.account_id, kind, reference)))
    if source is None or kind not in _REMOVED:
        return
    model, column = _REMOVED[kind]
    row = db.scalar(select(model).where(model.id == source.row_id, model.account_id == origin.account_id))
    if row is not None and getattr(row, column) is None and getattr(row, "held_by", "") != "us":
        setattr(row, column, clock.now())
        source.digest = ""  # if the account has it again, it is written again
