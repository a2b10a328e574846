"""Loading what another system tells: rows under the ids they have there, in one transaction per batch, as often as one likes.

    with database.open(system(business_id), write=True) as db:
        counts = load(db, "import", records)          → Counts(new, changed, same)

History that is loaded sends no letters and no webhooks: its events are silent. Totals and months of spending are kept.
What exists here and did not come from that source is left alone. `renew` says whether a later telling changes what an
earlier one wrote: a pull does; a file that is read twice does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select

from billing.catalogue import Addon, Collection, Product
from billing.commands.loading import bought, catalogue, keys, paid, parties
from billing.commands.loading.batch import Batch, Counts
from billing.licences import LicenseInstance, LicenseKey
from billing.loaded import KINDS, Record, SourceId
from billing.parties import Customer
from core import clock
from core.db import ScopedSession
from core.scope import Actor

__all__ = ["Counts", "load"]

_PUT: dict[str, Callable[[Batch, list[Record]], None]] = {
    "addon": catalogue.addons, "product": catalogue.products, "collection": catalogue.collections, "customer": parties.customers,
    "payment_method": parties.methods, "subscription": bought.subscriptions, "payment": paid.payments, "refund": paid.refunds,
    "license_key": keys.keys, "license_key_instance": keys.instances,
}

_OURS: dict[str, tuple[Any, str]] = {
    "addon": (Addon, "id"), "product": (Product, "id"), "collection": (Collection, "id"), "customer": (Customer, "customer_id"),
    "license_key": (LicenseKey, "id"), "license_key_instance": (LicenseInstance, "id"),
}
"""Kinds whose rows do not say themselves where they come from."""


def load(
    db: ScopedSession, source: str, records: Sequence[Record], *, renew: bool = False, test_mode: bool = True, actor: Actor | None = None
) -> Counts:
    """Write a batch. What the records refer to is in the database or in the batch. Returns how many were new, changed, the same."""
    counts = Counts()
    latest = {one.source_id: one for one in records}  # told twice in one batch: the last word counts
    known = {row.id: row for row in db.scalars(select(SourceId).where(SourceId.id.in_(list(latest))))}
    batch = Batch(db, source, test_mode, actor)
    for kind in KINDS:
        todo = []
        for one in latest.values():
            seen = known.get(one.source_id)
            if one.kind != kind:
                continue
            if seen is not None and (seen.digest == one.digest or not renew or seen.source != source):
                counts.same += 1
                continue
            todo.append(one)
        if kind in _OURS:  # a row that no source told of was made here
            model, key = _OURS[kind]
            ours = batch.found(model, [one.id for one in todo if one.source_id not in known], key)
            counts.same += len(ours)
            todo = [one for one in todo if one.id not in ours]
        if not todo:
            continue
        _PUT[kind](batch, todo)
        db.flush()
        for one in todo:
            seen = known.get(one.source_id)
            if seen is None:
                db.add(SourceId(business_id=batch.business_id, id=one.source_id, source=source, digest=one.digest, loaded_at=clock.wall()))
                counts.new += 1
            else:
                seen.digest, seen.loaded_at = one.digest, clock.wall()
                counts.changed += 1
    batch.settle()
    db.flush()
    return counts
