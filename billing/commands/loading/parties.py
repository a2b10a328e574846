"""Loading who buys, and what is told of the ways they pay. Never a number: brand, last four, expiry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from billing import knowing
from billing.commands.loading.batch import Batch
from billing.loaded import Record
from billing.parties import Customer
from billing.payments import PaymentMethod
from core.outbox import emit
from core.scope import Actor

FACTS = ("kind", "brand", "last4", "expiry_month", "expiry_year", "holder", "country")


def customers(batch: Batch, records: list[Record]) -> None:
    rows = batch.found(Customer, [one.id for one in records], "customer_id")
    for one in records:
        row = rows.get(one.id)
        if row is None:
            batch.write(Customer, one, None, billing={})
        else:
            if row.email_key != one.values["email_key"]:
                # not silent as the rest: whoever had the old one reads here no more, and is told so (safety 3.3)
                emit(batch.db, "customer.email_changed", business_id=batch.business_id, customer_id=row.customer_id, noun=row.customer_id,
                     data={"old": row.email}, private={"known": row.is_known}, actor=batch.actor or Actor("system"))
                knowing.moved(row, one.values["email"], one.values["email_key"])
            batch.write(Customer, one, row)


def methods(batch: Batch, records: list[Record]) -> None:
    """A method with a reference is one of our own gateway's, and can be charged; any other belongs to its source."""
    rows = batch.found(PaymentMethod, [one.id for one in records])
    for one in records:
        row, reference = rows.get(one.id), None if batch.origin.is_mirror else one.more.get("reference")
        if row is not None and (row.held_by == "us" or row.customer_id != one.customer_id):
            continue
        batch.write(PaymentMethod, one, row, customer_id=one.customer_id, reference=reference or f"{batch.origin.account_id}:{one.id}",
                    held_by="us" if reference else batch.source, is_default=bool(reference))


def mention(batch: Batch, told: Mapping[str, tuple[str, dict[str, Any]]]) -> dict[str, PaymentMethod]:
    """Methods that subscriptions and payments name: {id: (customer_id, facts)}. What is not known yet is noted down,
    with as much as is said of it. Returns the rows, without those of another customer."""
    rows = batch.found(PaymentMethod, told)
    for method_id, (customer_id, facts) in told.items():
        row = rows.get(method_id)
        if row is None:
            known = {name: facts.get(name) for name in FACTS}
            rows[method_id] = row = PaymentMethod(
                business_id=batch.business_id, account_id=batch.origin.account_id, id=method_id, customer_id=customer_id,
                reference=f"{batch.origin.account_id}:{method_id}",
                **{**known, "kind": known["kind"] or "card"}, recurring=True, held_by=batch.source, is_default=False, created_at=batch.at,
            )
            batch.db.add(row)
        elif row.account_id == batch.origin.account_id and row.held_by != "us" and row.last4 is None and facts.get("last4"):
            for name in FACTS:
                setattr(row, name, facts.get(name) or getattr(row, name))
    batch.db.flush()
    return {one: row for one, row in rows.items() if row.customer_id == told[one][0]}
