"""Imports records of another billing system, from a file or over the network, in one transaction per batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from billing.imports import catalogue, keys, open_invoices, parties
from billing.imports import payments as import_payments
from billing.imports import subscriptions as import_subscriptions
from billing.imports.allowed_fields import picked
from billing.imports.batch import Counts, ImportBatch
from billing.imports.references import Names
from billing.model.imported_records import KINDS, Record
from billing.model.provenance import Origin
from core import clock
from core.db import ScopedSession
from core.scope import Actor

__all__ = ["Counts", "load", "ours"]

POSTPONED = "postponed"  # stored instead of a digest
_WRITERS: dict[str, Callable[[ImportBatch, list[Record]], None]] = {
    "addon": catalogue.addons,
    "product": catalogue.products,
    "collection": catalogue.collections,
    "customer": parties.customers,
    "payment_method": parties.methods,
    "subscription": import_subscriptions.subscriptions,
    "invoice": open_invoices.invoices,
    "payment": import_payments.payments,
    "refund": import_payments.refunds,
    "license_key": keys.keys,
    "license_key_instance": keys.instances,
}


def load(
    db: ScopedSession, origin: Origin, records: Sequence[Record], *, renew: bool = False, test_mode: bool = True,
    actor: Actor | None = None, can_collect: bool = True,
) -> Counts:  # fmt: skip
    """Write a batch of records. Returns how many were new, changed or the same.

    The rows that the records refer to are in the database or in the batch. Imported records send no emails and no webhooks, because their
    events are silent. Totals and monthly amounts are updated.
    `renew`: compare records that were imported before and update their rows. A pull does this; reading a file again does not.
    `can_collect`: the business has an open payment account. Without one, `collected_by: us` is refused.
    Raises Invalid (unknown reference, a subscription that cannot be collected here), ScopeError (a row of another account would change).
    """
    counts = Counts()
    latest = {record.source_id: record for record in records}  # if a batch has a record twice, the last one counts
    batch = ImportBatch(db, origin, test_mode, actor, can_collect)
    names = batch.names = Names(db, origin, batch.business_id, list(latest.values()))
    with batch.guarded():
        for kind in KINDS:
            todo = []
            for item in latest.values():
                if item.kind != kind:
                    continue
                seen = names.seen(item)
                known = seen is not None and seen.digest and (seen.digest == item.digest or not renew)
                if known or (seen is None and names.is_local(item)):  # rows that are not from this source were made here
                    counts.same += 1
                else:
                    todo.append(item)
            if not todo:
                continue
            allowed = [picked(item) if origin.is_mirror else item for item in todo]
            _WRITERS[kind](batch, [names.translated(item) for item in allowed])
            db.flush()
            for item in todo:
                seen = names.seen(item)
                assert seen is not None
                if seen.row_id in batch.postponed:  # so that the record is processed again next time
                    seen.digest, seen.loaded_at = POSTPONED, clock.wall()
                    counts.same += 1
                    continue
                counts.new, counts.changed = counts.new + (not seen.digest), counts.changed + bool(seen.digest)
                seen.digest, seen.loaded_at = item.digest, clock.wall()
        batch.settle()
        db.flush()
    return counts


def ours(db: ScopedSession, origin: Origin, business_id: str, records: Sequence[Record]) -> list[Record]:
    """Return the records of imported rows, with the ids of this portal instead of the source's ids."""
    names = Names(db, origin, business_id, records)
    return [names.translated(record, is_new=False) for record in records]
