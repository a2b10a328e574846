"""Imports customers and their payment methods: brand, last four digits and expiry, never the card number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from billing.charging import recognition
from billing.imports.batch import ImportBatch
from billing.model.imported_records import Record
from billing.model.parties import Customer
from billing.model.payment_accounts import open_account_id
from billing.model.payments import PaymentMethod
from core.errors import N_, Invalid
from core.outbox import Event, emit
from core.scope import Actor

MOST_CHANGES = 2
"""Maximum changes of a customer's address by a mirrored account in 24 hours: a change and its reversal."""
FACTS = ("kind", "brand", "last4", "expiry_month", "expiry_year", "holder", "country")


def customers(batch: ImportBatch, records: list[Record]) -> None:
    rows = batch.found(Customer, [record.id for record in records], "customer_id")
    for record in records:
        row = rows.get(record.id)
        record = _with_type(record, row)
        if row is None:
            batch.write(Customer, record, None, billing={})
        else:
            if row.email_key != record.values["email_key"] and _has_too_many_changes(batch, row):
                batch.postponed.add(row.customer_id)
                record = replace(record, values={**record.values, "email": row.email, "email_key": row.email_key})
            elif row.email_key != record.values["email_key"]:
                # not silent like other import events: the holder of the old address loses access and is informed (safety 3.3)
                emit(
                    batch.db,
                    "customer.email_changed",
                    business_id=batch.business_id,
                    customer_id=row.customer_id,
                    noun=row.customer_id,
                    data={"old": row.email},
                    private={"recognized": row.is_recognized},
                    actor=batch.actor or Actor("system"),
                )
                recognition.change_address(row, record.values["email"], record.values["email_key"])
            batch.write(Customer, record, row)


def _with_type(record: Record, row: Customer | None) -> Record:
    """Return the record with who said the customer's type: the business. What the customer said about themselves stays."""
    if "customer_type" not in record.values:
        return record
    if row is not None and row.customer_type_by == "customer":
        return replace(record, values={name: value for name, value in record.values.items() if name != "customer_type"})
    return replace(record, values={**record.values, "customer_type_by": "business" if record.values["customer_type"] else None})


def _has_too_many_changes(batch: ImportBatch, row: Customer) -> bool:
    """Return whether a mirrored customer's address changed so often in the last 24 hours that it has to stay for now.

    Each change sends an email to the previous address and removes its access. A later pull reads the account again.
    """
    if not batch.origin.is_mirror:
        return False
    changes = (
        select(func.count())
        .select_from(Event)
        .where(
            Event.business_id == batch.business_id,
            Event.noun_id == row.customer_id,
            Event.type == "customer.email_changed",
            Event.at > batch.at - timedelta(days=1),
        )
    )
    return (batch.db.scalar(changes) or 0) >= MOST_CHANGES


def methods(batch: ImportBatch, records: list[Record]) -> None:
    """Import payment methods. A method with a `reference` can be charged at the business's account; any other belongs to its source.

    Raises Invalid for a reference without an open payment account.
    """
    rows = batch.found(PaymentMethod, [record.id for record in records])
    account_id = open_account_id(batch.db, batch.business_id)
    for record in records:
        row, reference = rows.get(record.id), None if batch.origin.is_mirror else record.more.get("reference")
        if reference and account_id is None:
            raise Invalid(fields={"reference": N_("This business has no open payment account, so nothing can be charged here.")})
        if row is not None and (row.held_by == "us" or row.customer_id != record.customer_id):
            continue
        batch.write(
            PaymentMethod,
            record,
            row,
            customer_id=record.customer_id,
            payment_account_id=account_id if reference else None,
            reference=reference or f"{batch.origin.account_id}:{record.id}",
            held_by="us" if reference else batch.source,
            is_default=bool(reference),
        )


def ensure_methods(batch: ImportBatch, mentioned: Mapping[str, tuple[str, dict[str, Any]]]) -> dict[str, PaymentMethod]:
    """Add the missing payment methods that subscriptions and payments mention: {id: (customer_id, facts)}.

    Returns the rows, without those of another customer.
    """
    rows = batch.found(PaymentMethod, mentioned)
    for method_id, (customer_id, facts) in mentioned.items():
        row = rows.get(method_id)
        if row is None:
            known = {name: facts.get(name) for name in FACTS}
            rows[method_id] = row = PaymentMethod(
                business_id=batch.business_id,
                account_id=batch.origin.account_id,
                id=method_id,
                customer_id=customer_id,
                reference=f"{batch.origin.account_id}:{method_id}",
                **{**known, "kind": known["kind"] or "card"},
                recurring=True,
                held_by=batch.source,
                is_default=False,
                created_at=batch.at,
            )
            batch.db.add(row)
        elif row.account_id == batch.origin.account_id and row.held_by != "us" and row.last4 is None and facts.get("last4"):
            for name in FACTS:
                setattr(row, name, facts.get(name) or getattr(row, name))
    batch.db.flush()
    return {item: row for item, row in rows.items() if row.customer_id == mentioned[item][0]}
