"""A file into a business: checked from the first line to the last, then written, whole batches in one transaction each.

Reading it twice writes it once. What broke off half way is taken up by the same command: the batches that were written
are found again by their ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from billing.commands.loading import Counts, load
from billing.loaded import KINDS, Record
from billing.provenance import Origin
from core import clock
from core.db import Database
from core.errors import Invalid
from core.scope import system
from core.settings import Settings
from tenants.loading import known
from tenants.loading.index import Index
from tenants.loading.lines import parsed, read

BATCH = 500  # lines of one transaction
SHOWN = 20  # mistakes told at once
OWED = ("pending", "on_hold", "past_due")

Progress = Callable[[int], None]


@dataclass
class Checked:
    """`order`: which kinds to write in which reading of the file; one reading of all where it stands in order."""

    lines: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    order: list[frozenset[str]] = field(default_factory=list)


def check(
    database: Database, business_id: str, path: Path, progress: Progress = lambda done: None, source: str = "import"
) -> Checked:
    """Every line, and what the lines say of each other and of the database. Raises Invalid; its fields are `line N` → why."""
    found, wrong = Checked(), {}
    with closing(Index()) as index:
        for number, text in read(path, progress):
            found.lines += 1
            try:
                one = parsed(text)
                _fits(one)
                before = index.add(one, number)
                if before is not None:
                    raise Invalid(fields={"id": f"line {before} says this already."})
                found.kinds[one.kind] = found.kinds.get(one.kind, 0) + 1
            except Invalid as problem:
                wrong[f"line {number}"] = "; ".join(f"{name}: {why}" for name, why in problem.fields.items()) or problem.sentence
                if len(wrong) >= SHOWN:
                    raise Invalid(fields=wrong) from None
        for number, why in islice(_together(database, business_id, Origin.of_file(source), index), SHOWN - len(wrong)):
            wrong.setdefault(f"line {number}", why)
        in_order = index.in_order()
    if wrong:
        raise Invalid(fields=wrong)
    present = [kind for kind in KINDS if kind in found.kinds]
    found.order = [frozenset(present)] if in_order else [frozenset((kind,)) for kind in present]
    return found


def write(
    database: Database, settings: Settings, business_id: str, source: str, path: Path, found: Checked,
    progress: Progress = lambda done: None,
) -> Counts:  # fmt: skip
    """What `check` found good. A batch that cannot be written is not written at all; those before it stay."""
    counts = Counts()
    for kinds in found.order:
        lines = read(path, progress)
        while batch := list(islice(lines, BATCH)):
            records = [one for _number, text in batch if (one := parsed(text)).kind in kinds]
            if records:
                with database.open(system(business_id), write=True) as db:
                    counts += load(db, Origin.of_file(source), records, test_mode=settings.is_test)
    return counts


def _together(database: Database, business_id: str, origin: Origin, index: Index) -> Iterator[tuple[int, str]]:
    yield from ((one.line, f"{one.field}: {one.id} belongs to another customer.") for one in index.strangers())
    yield from index.overdrawn()
    with database.open(system(business_id)) as db:
        for named in index.elsewhere():
            yield from ((one.line, f"{one.field}: {why}") for one, why in known.unanswered(db, origin, named))
        for rows in index.ids():
            yield from known.taken_here(db, origin, rows)


def _fits(one: Record) -> None:
    """What is renewed here needs a way to be paid here, and starts with nothing owed. Raises Invalid."""
    if one.kind != "subscription" or one.more["collected_by"] != "us":
        return
    values, fields = one.values, {}
    if not values["payment_method_id"]:
        fields["payment_method_id"] = "What is collected by us needs a payment method of this deployment's gateway."
    if values["status"] in OWED:
        fields["status"] = "What is owed is owed to the system that billed it; only a paid subscription can be collected by us."
    if values["status"] in ("active", "paused") and (values["next_billing_at"] is None or values["next_billing_at"] <= clock.now()):
        fields["next_billing_date"] = "What is collected by us needs a next billing date that is still to come."
    if one.more["unread_discount"]:
        fields["discounts"] = (f"{one.more['unread_discount']}: what it takes off, and for how many more payments, has to be said"
                               " (type, amount, cycles_remaining); otherwise the renewal would charge the full price.")
    if one.more["on_demand"]:
        fields["on_demand"] = "A subscription that is charged on demand cannot be collected by us: its renewals have no dates."
    if values["meters"]:
        fields["meters"] = "Use is not counted here, so what is sold by it cannot be collected by us."
    if fields:
        raise Invalid(fields=fields)


