"""Tables, columns and stored names follow the glossary (docs/glossary.md). docs/operations/upgrade.md lists old and new names.

Renaming changes the catalog and reads no rows. The names that rows store are rewritten in steps. Events are append-only; here only
their names change, and the names of events in their data.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.engine import Connection

from core import clock
from core.migration_steps import FillStep, RowBatch
from core.models import JSONType, UTCDateTime
from migrations.former_names import RENAMED_IN_0031

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

COLUMNS = (  # table, old, new
    ("browser_sessions", "proof", "sign_in_method"),
    ("session_grants", "proof", "sign_in_method"),
    ("customers", "known_key", "recognized_key"),
    ("customer_exports", "words", "search_text"),
    ("customer_exports", "asked_by", "requested_by"),
    ("delegated_actions", "wish", "parameters"),
    ("mail_servers", "asked_at", "checked_at"),
)
EVENTS = {
    "auth.challenge_asked": "auth.challenge_requested",
    "auth.recovery_asked": "auth.recovery_requested",
    "customers.export_asked": "customers.export_requested",
    "elsewhere.told": "external_webhook.received",
    "money.parked": "reconciliation_exception.opened",
    "money.settled_by_hand": "reconciliation_exception.closed",
    "owners.told": "owners.notified",
    "person.export_asked": "person.export_requested",
    "portal_link.asked": "portal_link.requested",
    "subscription.asked_elsewhere": "subscription.action_delegated",
    "subscription.refused_elsewhere": "subscription.action_refused",
    "subscription.unanswered_elsewhere": "subscription.action_unanswered",
}
DATA = {  # event (present name) → old and new name of a value in its data
    "customer.email_changed": ("known", "recognized"),
    "customers.export_requested": ("words", "search_text"),
    "subscription.action_delegated": ("act_id", "action_id"),
    "subscription.action_refused": ("act_id", "action_id"),
    "subscription.action_unanswered": ("act_id", "action_id"),
}
ABOUT = ("email.refused", "email.withheld")  # events whose `about` is the name of an event
HANDLERS = (  # beginnings of names in `outbox.done`; those of 0.1 first. A handler that is done is not repeated under its new name
    ("auth.letters.SignInLetters.", "auth.emails.SignInEmails."),
    ("auth.notices.", "auth.account_emails."),
    ("portal.act_letters.ActDesk.refused_elsewhere", "portal.emails.actions.ActionEmails.refused_externally"),
    ("portal.act_letters.ActDesk.unanswered_elsewhere", "portal.emails.actions.ActionEmails.unanswered_externally"),
    ("portal.act_letters.ActDesk.", "portal.emails.actions.ActionEmails."),
    ("portal.address_letters.Desk.", "portal.emails.address_change.AddressChangeEmails."),
    ("portal.letters.Desk.", "portal.emails.purchases.PurchaseEmails."),
    ("tenants.letters.Desk.money_parked", "tenants.emails.StaffEmails.money_exceptions"),
    ("tenants.letters.Desk.", "tenants.emails.StaffEmails."),
    ("auth.emails.SignInEmails.challenge_asked", "auth.emails.SignInEmails.challenge_requested"),
    ("auth.emails.SignInEmails.portal_link_asked", "auth.emails.SignInEmails.portal_link_requested"),
    ("elsewhere.wake", "external.wake"),
    ("tenants.emails.StaffEmails.owners_told", "tenants.emails.StaffEmails.owners_notified"),
    ("till.follow", "gateway.follow_up"),
)
JOBS = {"sweep webhooks": "old webhook deliveries"}
LANES = {"accounts elsewhere: ": "external accounts: "}
LIMITS = {"ask:": "sign_in:", "asks:unproven": "unchecked", "letter:": "email:", "licence:": "license:", "planted:": "acceptance:"}  # beginnings of keys


def upgrade() -> None:
    connection = op.get_bind()
    rename = _rename_on_postgresql if connection.dialect.name == "postgresql" else _rename_on_sqlite
    for old, new in RENAMED_IN_0031.items():
        rename(connection, old, new)
    for table, old, new in COLUMNS:
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
        if connection.dialect.name == "postgresql":
            _rename_constraints(connection, table, f"{table}_{old}_not_null", f"{table}_{new}_not_null")
    _rename_index(connection, "ix_webhook_deliveries_swept", "ix_webhook_deliveries_created_at")
    for old, new in JOBS.items():
        for table in ("job_runs", "leases"):
            connection.execute(sa.text(f"UPDATE {table} SET name = :new WHERE name = :old"), {"old": old, "new": new})
    for old, new in LANES.items():
        connection.execute(sa.text("UPDATE leases SET name = :new || substr(name, :rest) WHERE substr(name, 1, :size) = :old"),
                           {"old": old, "new": new, "size": len(old), "rest": len(old) + 1})


def _rename_on_postgresql(connection: Connection, old: str, new: str) -> None:
    """Rights and policies belong to the table; constraints and indexes have names of their own."""
    connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")
    _rename_constraints(connection, new, old, new)
    names = connection.execute(sa.text("SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = :new"),
                               {"new": new}).scalars().all()
    for name in names:
        if old in name:
            connection.exec_driver_sql(f"ALTER INDEX {name} RENAME TO {name.replace(old, new)}")


def _rename_constraints(connection: Connection, table: str, old: str, new: str) -> None:
    """Primary and foreign keys and, since PostgreSQL 18, NOT NULL. The index of a key is renamed with it."""
    names = connection.execute(sa.text("SELECT conname FROM pg_constraint WHERE conrelid = to_regclass(:name)"), {"name": table})
    for name in names.scalars().all():
        if old in name:
            connection.exec_driver_sql(f"ALTER TABLE {table} RENAME CONSTRAINT {name} TO {name.replace(old, new)}")


def _rename_on_sqlite(connection: Connection, old: str, new: str) -> None:
    """Copy the table: ALTER TABLE RENAME would keep the old name in the names of its constraints and indexes."""
    made = connection.execute(sa.text("SELECT type, sql FROM sqlite_master WHERE tbl_name = :old AND sql IS NOT NULL"), {"old": old}).all()
    [table] = [sql for kind, sql in made if kind == "table"]
    connection.exec_driver_sql(table.replace(old, new))
    connection.exec_driver_sql(f"INSERT INTO {new} SELECT * FROM {old}")
    connection.exec_driver_sql(f"DROP TABLE {old}")
    for sql in (sql for kind, sql in made if kind == "index"):
        connection.exec_driver_sql(sql.replace(old, new))


def _rename_index(connection: Connection, old: str, new: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ALTER INDEX {old} RENAME TO {new}")
        return
    sql = connection.execute(sa.text("SELECT sql FROM sqlite_master WHERE type = 'index' AND name = :old"), {"old": old}).scalar_one()
    connection.exec_driver_sql(f"DROP INDEX {old}")
    connection.exec_driver_sql(sql.replace(old, new))


# --- names that rows store

_EVENTS = sa.table("events", *(sa.column(name) for name in ("business_id", "id", "type")), sa.column("data", JSONType))
_OUTBOX = sa.table("outbox", *(sa.column(name) for name in ("id", "business_id", "type", "state", "noun_id")), sa.column("at", UTCDateTime),
                   sa.column("data", JSONType), sa.column("done", JSONType))
_WEBHOOKS = sa.table("external_webhooks", *(sa.column(name) for name in ("business_id", "id", "type", "kind", "noun", "attempts")),
                     *(sa.column(name, UTCDateTime) for name in ("received_at", "due_at")))


def _renamed(type: str, data: Any) -> dict[str, Any]:
    """The new values of an event or of its work: `type` and `data`."""
    if type in ABOUT and isinstance(data, dict) and data.get("about") in EVENTS:
        data = {**data, "about": EVENTS[data["about"]]}
    type = EVENTS.get(type, type)
    old, new = DATA.get(type, ("", ""))
    if isinstance(data, dict) and old in data:
        data = {new if name == old else name: value for name, value in data.items()}
    return {"type": type, "data": data}


def _of(batch: RowBatch) -> Any:
    return sa.text(batch.where).bindparams(**batch.params)


def _rename_events(connection: Connection, batch: RowBatch) -> int:
    found = connection.execute(sa.select(_EVENTS).where(_of(batch), _EVENTS.c.type.in_([*EVENTS, *ABOUT]))).all()
    changes = [(row, new) for row in found if (new := _renamed(row.type, row.data)) != {"type": row.type, "data": row.data}]
    if changes:
        _allow_updates(connection)
        for row, new in changes:
            key = (_EVENTS.c.business_id == row.business_id, _EVENTS.c.id == row.id)
            connection.execute(sa.update(_EVENTS).where(*key).values(**new))
        _refuse_updates(connection)
    return len(changes)


def _allow_updates(connection: Connection) -> None:
    """In this transaction only: nobody else sees the changed trigger, and a rollback restores it."""
    if connection.dialect.name == "postgresql":  # replacing the function locks no table; disabling the trigger would
        connection.exec_driver_sql(_FUNCTION.format("RETURN NULL;"))
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver does not begin a transaction before DDL
        connection.exec_driver_sql("DROP TRIGGER events_stay_update")


def _refuse_updates(connection: Connection) -> None:
    """As in revision 0002."""
    refusal = "events are append-only"
    connection.exec_driver_sql(
        _FUNCTION.format(f"RAISE EXCEPTION '{refusal}';") if connection.dialect.name == "postgresql" else
        f"CREATE TRIGGER events_stay_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, '{refusal}'); END")


_FUNCTION = "CREATE OR REPLACE FUNCTION events_stay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} END $$"


def _rename_work(connection: Connection, batch: RowBatch) -> int:
    changed = 0
    for row in connection.execute(sa.select(_OUTBOX).where(_of(batch))).all():
        new = _renamed(row.type, row.data) | {"state": "given_up" if row.state == "parked" else row.state, "done": _handlers(row.done)}
        if row.type == "elsewhere.told" and row.state == "pending":
            _queue_webhook(connection, row)
            new["state"] = "done"
        if new != {"type": row.type, "data": row.data, "state": row.state, "done": row.done}:
            connection.execute(sa.update(_OUTBOX).where(_OUTBOX.c.id == row.id).values(**new))
            changed += 1
    return changed


def _handlers(names: Iterable[str]) -> list[str]:
    out = []
    for name in names:
        for old, new in HANDLERS:
            if name.startswith(old):
                name = new + name.removeprefix(old)
        out.append(name)
    return out


def _queue_webhook(connection: Connection, row: Any) -> None:
    """Version 0.1 read the object of a webhook as work of the outbox; since revision 0023 the webhooks are the queue."""
    at = clock.wall()
    connection.execute(sa.insert(_WEBHOOKS).values(
        business_id=row.business_id, id=f"{row.data['system']}/{row.id}", type=EVENTS[row.type], kind=row.data["kind"], noun=row.noun_id,
        received_at=at, due_at=at, attempts=0))


def _rename_kinds(connection: Connection, batch: RowBatch) -> int:
    cases = " ".join(f"WHEN '{old}' THEN '{new}'" for old, new in EVENTS.items())
    return connection.execute(sa.text(f"UPDATE email_log SET kind = CASE kind {cases} END WHERE {batch.where}"
                                      f" AND kind IN ({', '.join(repr(old) for old in EVENTS)})"), batch.params).rowcount


def _rename_outcomes(connection: Connection, batch: RowBatch) -> int:
    return connection.execute(sa.text(f"UPDATE quotes SET outcome = 'delegated' WHERE {batch.where} AND outcome = 'forwarded'"),
                              batch.params).rowcount


def _rename_limits(connection: Connection, batch: RowBatch) -> int:
    """A new name would otherwise begin a new count. A count that has begun under the new name stays."""
    new_key = "CAST(:new AS VARCHAR) || substr(key, :rest)"
    return sum(connection.execute(
        sa.text(f"UPDATE rate_limit_counts SET key = {new_key} WHERE {batch.where} AND substr(key, 1, :size) = :old"
                f" AND NOT EXISTS (SELECT 1 FROM rate_limit_counts other WHERE other.key = {new_key.replace('(key', '(rate_limit_counts.key')})"),
        {**batch.params, "old": old, "new": new, "size": len(old), "rest": len(old) + 1}).rowcount for old, new in LIMITS.items())


steps = (
    FillStep("names of work", "outbox", ("id",), _rename_work),
    FillStep("names of events", "events", ("business_id", "id"), _rename_events),
    FillStep("names in the email log", "email_log", ("id",), _rename_kinds),
    FillStep("names of limits", "rate_limit_counts", ("key",), _rename_limits),
    FillStep("outcomes of quotes", "quotes", ("business_id", "id"), _rename_outcomes),
)
