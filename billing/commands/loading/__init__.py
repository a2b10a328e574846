"""Loading what another system tells: rows under ids of ours, in one transaction per batch, as often as one likes.

    with database.open(system(business_id), write=True) as db:
        counts = load(db, Origin.of_file("import"), records)          → Counts(new, changed, same)

History that is loaded sends no emails and no webhooks: its events are silent. Totals and months of spending are kept.
A load changes rows of its own account only, and a mirrored account sets what `allowed.py` lists. `renew` says whether a later
telling changes what an earlier one wrote: a pull does; a file that is read twice does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from billing.commands.loading import bought, catalogue, keys, paid, parties
from billing.commands.loading.allowed import picked
from billing.commands.loading.batch import Batch, Counts
from billing.commands.loading.names import Names
from billing.loaded import KINDS, Record
from billing.provenance import Origin
from core import clock
from core.db import ScopedSession
from core.scope import Actor

__all__ = ["Counts", "load", "ours"]

_PUT: dict[str, Callable[[Batch, list[Record]], None]] = {
    "addon": catalogue.addons, "product": catalogue.products, "collection": catalogue.collections, "customer": parties.customers,
    "payment_method": parties.methods, "subscription": bought.subscriptions, "payment": paid.payments, "refund": paid.refunds,
    "license_key": keys.keys, "license_key_instance": keys.instances,
}


def load(
    db: ScopedSession, origin: Origin, records: Sequence[Record], *, renew: bool = False, test_mode: bool = True, actor: Actor | None = None
) -> Counts:
    """Write a batch. What the records refer to is in the database or in the batch. Returns how many were new, changed, the same.

    Raises Invalid (a reference that leads nowhere), ScopeError (a row of another account would change).
    """
    counts = Counts()
    latest = {one.source_id: one for one in records}  # told twice in one batch: the last word counts
    batch = Batch(db, origin, test_mode, actor)
    names = batch.names = Names(db, origin, batch.business_id, list(latest.values()))
    with batch.guarded():
        for kind in KINDS:
            todo = []
            for one in latest.values():
                if one.kind != kind:
                    continue
                seen = names.seen(one)
                known = seen is not None and seen.digest and (seen.digest == one.digest or not renew)
                if known or (seen is None and names.is_local(one)):  # a row that this source never told of was made here
                    counts.same += 1
                else:
                    todo.append(one)
            if not todo:
                continue
            told = [picked(one) if origin.is_mirror else one for one in todo]
            _PUT[kind](batch, [names.translated(one) for one in told])
            db.flush()
            for one in todo:
                seen = names.seen(one)
                assert seen is not None
                counts.new, counts.changed = counts.new + (not seen.digest), counts.changed + bool(seen.digest)
                seen.digest, seen.loaded_at = one.digest, clock.wall()
        batch.settle()
        db.flush()
    return counts


def ours(db: ScopedSession, origin: Origin, business_id: str, records: Sequence[Record]) -> list[Record]:
    """Records of rows that are loaded, with our ids in place of theirs."""
    names = Names(db, origin, business_id, records)
    return [names.translated(one, is_new=False) for one in records]
