"""Imports a file into a business: all lines are checked first, then written in batches, each in one transaction.

Importing is idempotent. After an interruption, run the same command again: rows that were written are recognized by their ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from billing.customers.tax_settings import check_import, replace_setup
from billing.imports import Counts, load
from billing.model.imported_records import KINDS, Record
from billing.model.lifecycle import UNPAID_STATES
from billing.model.payment_accounts import open_account_id
from billing.model.provenance import Origin
from core import clock
from core.db import Database
from core.errors import Invalid
from core.scope import system
from core.settings import Settings
from tenants.imports import existing_rows, tax_shapes
from tenants.imports.index import FileIndex
from tenants.imports.jsonl import parsed, parsed_with_ignored, read

BATCH = 500  # lines per transaction
MAX_ERRORS = 20  # the check stops after this many
MAX_IGNORED = 200  # names of ignored fields in the report
OWED = ("pending", *UNPAID_STATES)

Progress = Callable[[int], None]


@dataclass
class Checked:
    """The result of a check.

    `order`: the kinds to write in each pass over the file; a single pass if every row follows the rows that it refers to.
    `ignored`: name of an ignored field → number of lines that have it. `tax_settings`: those of the file, which belong to the business.
    """

    lines: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    order: list[frozenset[str]] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    tax_settings: dict[str, Any] | None = None


def check(database: Database, business_id: str, path: Path, progress: Progress = lambda done: None, source: str = "import") -> Checked:
    """Check every line, alone, against the other lines and against the database. Raises Invalid with the fields `line N` → reason."""
    found, wrong = Checked(), {}
    with database.open(system(business_id)) as db:
        can_collect = open_account_id(db, business_id) is not None
    with closing(FileIndex()) as index:
        for number, text in read(path, progress):
            found.lines += 1
            try:
                record, ignored_names = parsed_with_ignored(text)
                _check_collectable(record, can_collect)
                if record.kind == tax_shapes.KIND:
                    found.tax_settings = record.values
                    with database.open(system(business_id)) as db:
                        check_import(db, record.values)
                earlier = index.add(record, number)
                if earlier is not None:
                    raise Invalid(fields={earlier[0]: f"line {earlier[1]} already has this value."})
                for name in ignored_names:
                    if name in found.ignored or len(found.ignored) < MAX_IGNORED:
                        found.ignored[name] = found.ignored.get(name, 0) + 1
                found.kinds[record.kind] = found.kinds.get(record.kind, 0) + 1
            except Invalid as problem:
                wrong[f"line {number}"] = "; ".join(f"{name}: {why}" for name, why in problem.fields.items()) or problem.sentence
                if len(wrong) >= MAX_ERRORS:
                    raise Invalid(fields=wrong) from None
        for number, why in islice(_check_references(database, business_id, Origin.of_file(source), index), MAX_ERRORS - len(wrong)):
            wrong.setdefault(f"line {number}", why)
        in_order = index.in_order()
    if wrong:
        raise Invalid(fields=wrong)
    present = [kind for kind in KINDS if kind in found.kinds]
    found.order = [frozenset(present)] if in_order else [frozenset((kind,)) for kind in present]
    return found


def write(
    database: Database,
    settings: Settings,
    business_id: str,
    source: str,
    path: Path,
    found: Checked,
    *,
    progress: Progress = lambda done: None,
) -> Counts:
    """Write a checked file. A batch that fails is rolled back; the batches before it stay."""
    counts = Counts()
    if found.tax_settings is not None:
        with database.open(system(business_id), write=True) as db:
            is_new = check_import(db, found.tax_settings)
            counts += Counts(new=int(is_new), same=int(not is_new))
            if is_new:
                replace_setup(db, found.tax_settings)
    for kinds in found.order:
        lines = read(path, progress)
        while batch := list(islice(lines, BATCH)):
            records = [item for _number, text in batch if (item := parsed(text)).kind in kinds]
            if records:
                with database.open(system(business_id), write=True) as db:
                    counts += load(
                        db,
                        Origin.of_file(source),
                        records,
                        test_mode=settings.is_test,
                        can_collect=open_account_id(db, business_id) is not None,
                    )
    return counts


def _check_references(database: Database, business_id: str, origin: Origin, index: FileIndex) -> Iterator[tuple[int, str]]:
    yield from ((named.line, f"{named.field}: {named.id} belongs to another customer.") for named in index.wrong_owners())
    yield from index.invalid_refunds()
    with database.open(system(business_id)) as db:
        for named in index.unresolved():
            yield from ((item.line, f"{item.field}: {why}") for item, why in existing_rows.missing_references(db, origin, named))
        for rows in index.ids():
            yield from existing_rows.taken_license_keys(db, origin, rows)
        for numbers in index.numbers():
            yield from existing_rows.taken_invoice_numbers(db, origin, numbers)


def _check_collectable(record: Record, can_collect: bool = True) -> None:
    """Check that a subscription that is to be renewed here can be charged here and owes nothing. Raises Invalid.

    `can_collect`: whether the business has an open payment account.
    """
    if not can_collect and record.kind == "payment_method" and record.more["reference"]:
        raise Invalid(
            fields={
                "reference": "This business has no open payment account that could charge this payment method."
                " Leave the reference out: the payment method is then shown but never charged."
            }
        )
    if record.kind != "subscription" or record.more["collected_by"] != "us":
        return
    values, fields = record.values, {}
    if not can_collect:
        fields["collected_by"] = (
            "This business has no open payment account, so it cannot bill subscriptions here. Leave collected_by"
            " out: the system that bills the subscription now continues to bill it."
        )
    if not values["payment_method_id"]:
        fields["payment_method_id"] = "collected_by: us requires a payment method of the business's payment account."
    if values["status"] in OWED:
        fields["status"] = (
            "collected_by: us requires a subscription without unpaid invoices. Unpaid invoices stay with the system that issued them."
        )
    if values["status"] in ("active", "paused") and (values["next_billing_at"] is None or values["next_billing_at"] <= clock.now()):
        fields["next_billing_date"] = "collected_by: us requires a next billing date in the future."
    if record.more["unread_discount"]:
        fields["discounts"] = (
            f"{record.more['unread_discount']}: type, amount and cycles_remaining are required. Without them the renewal would charge the"
            " full price."
        )
    if record.more["on_demand"]:
        fields["on_demand"] = "collected_by: us is not possible for on-demand subscriptions: their renewals have no dates."
    if values["meters"]:
        fields["meters"] = "collected_by: us is not possible for usage-based prices: usage is not counted."
    if fields:
        raise Invalid(fields=fields)
