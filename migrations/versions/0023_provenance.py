"""Record the source account of imported rows, and map the ids of that account to ids of this portal."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from core.ids import new_id
from core.models import UTCDateTime

revision = "0023"
down_revision = "0021"
branch_labels = None
depends_on = None

TABLES = ("addons", "products", "collections", "customers", "payment_methods", "subscriptions", "payments", "refunds", "invoices",
          "license_keys", "license_instances", "scheduled_changes")
BY_REFERENCE = {"addon": ("addons", "id"), "product": ("products", "id"), "collection": ("collections", "id"),
                "customer": ("customers", "customer_id"), "license_key": ("license_keys", "id"),
                "license_key_instance": ("license_instances", "id")}
"""Kinds of which `source_ids` never named a row that was made here."""
CHECKS = (  # table, name, what has to hold
    ("subscriptions", "mirrored", "collected_by <> 'us' OR account_id IS NULL OR substr(account_id, 1, 4) <> 'acc_'"),
    ("payment_methods", "mirrored", "held_by <> 'us' OR account_id IS NULL OR substr(account_id, 1, 4) <> 'acc_'"),
    ("payments", "loaded", "account_id IS NULL OR NOT is_open"),
)


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("account_id", sa.String(), nullable=True))
    op.add_column("elsewhere_accounts", sa.Column("account_id", sa.String(), nullable=True))
    op.add_column("elsewhere_hooks", sa.Column("kind", sa.String(), nullable=False, server_default=""))
    op.add_column("elsewhere_hooks", sa.Column("noun", sa.String(), nullable=False, server_default=""))
    op.add_column("elsewhere_hooks", sa.Column("due_at", UTCDateTime(), nullable=True))
    op.add_column("elsewhere_hooks", sa.Column("attempts", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("ix_elsewhere_hooks_due", "elsewhere_hooks", ["due_at"], unique=False)
    for name in ("account_id", "kind", "reference", "row_id"):
        op.add_column("source_ids", sa.Column(name, sa.String(), nullable=True))
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
    _fill(connection)
    with op.batch_alter_table("elsewhere_accounts") as accounts:
        accounts.alter_column("account_id", existing_type=sa.String(), nullable=False)
    with op.batch_alter_table("source_ids") as ids:
        ids.drop_constraint(op.f("uq_source_ids_business_id_source_id"), type_="unique")
        for name in ("account_id", "kind", "reference", "row_id"):
            ids.alter_column(name, existing_type=sa.String(), nullable=False)
        ids.drop_column("source")
        ids.create_unique_constraint(op.f("uq_source_ids_business_id_account_id_kind_reference"),
                                     ["business_id", "account_id", "kind", "reference"])
        ids.create_unique_constraint(op.f("uq_source_ids_business_id_kind_row_id"), ["business_id", "kind", "row_id"])
    _check(connection)


def _fill(connection: Any) -> None:
    """Assign the source by what the rows themselves say. Existing rows keep their ids; local rows get no source."""
    run = connection.exec_driver_sql
    for business_id, system in run("SELECT business_id, id FROM elsewhere_accounts").all():
        accounts = sa.table("elsewhere_accounts", *(sa.column(name) for name in ("business_id", "id", "account_id")))
        connection.execute(sa.update(accounts).where(accounts.c.business_id == business_id, accounts.c.id == system)
                           .values(account_id=new_id("acc")))
    at = "strpos(id, '/')" if connection.dialect.name == "postgresql" else "instr(id, '/')"
    run(f"UPDATE source_ids SET kind = substr(id, 1, {at} - 1), reference = substr(id, {at} + 1), account_id = {_account('source_ids.source')}")
    run("UPDATE source_ids SET row_id = reference, id = account_id || '/' || kind || '/' || reference")
    for kind, (table, key) in BY_REFERENCE.items():
        run(f"UPDATE {table} SET account_id = (SELECT s.account_id FROM source_ids s WHERE s.business_id = {table}.business_id"  # noqa: S608
            f" AND s.kind = '{kind}' AND s.row_id = {table}.{key})")
    for table, column in (("subscriptions", "collected_by"), ("payment_methods", "held_by")):
        run(f"UPDATE {table} SET account_id = {_account(f'{table}.{column}')} WHERE {column} <> 'us'")  # noqa: S608
    for table, kind in (("payments", "payment"), ("refunds", "refund")):
        run(f"UPDATE {table} SET account_id = (SELECT s.account_id FROM source_ids s WHERE s.business_id = {table}.business_id"  # noqa: S608
            f" AND s.kind = '{kind}' AND s.row_id = {table}.id AND {table}.key = s.source || '/' || {table}.id)")
    run("UPDATE invoices SET account_id = (SELECT max(p.account_id) FROM payments p WHERE p.business_id = invoices.business_id"
        " AND p.invoice_id = invoices.id AND substr(invoices.operation, 1, length(p.gateway) + 1) = p.gateway || ':')")
    run("UPDATE scheduled_changes SET account_id = (SELECT s.account_id FROM subscriptions s WHERE s.id = scheduled_changes.subscription_id"
        " AND s.business_id = scheduled_changes.business_id)")
    for kind, table in (("subscription", "subscriptions"), ("payment", "payments"), ("refund", "refunds")):  # told of, and made here
        run(f"DELETE FROM source_ids WHERE kind = '{kind}' AND substr(account_id, 1, 4) = 'acc_' AND row_id IN (SELECT t.id"  # noqa: S608
            f" FROM {table} t WHERE t.business_id = source_ids.business_id AND t.account_id IS NULL)")
    for kind, table in (("payment_method", "payment_methods"), ("scheduled_change", "scheduled_changes")):
        run("INSERT INTO source_ids (business_id, id, source, account_id, kind, reference, row_id, digest, loaded_at)"  # noqa: S608
            f" SELECT t.business_id, t.account_id || '/{kind}/' || t.id, '', t.account_id, '{kind}', t.id, t.id, '', t.created_at"
            f" FROM {table} t WHERE t.account_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM source_ids s"
            f" WHERE s.business_id = t.business_id AND s.kind = '{kind}' AND s.row_id = t.id)")


def _account(system: str) -> str:
    """Return the connected account of that system, or for a file its source."""
    business = system.partition(".")[0]
    return (f"coalesce((SELECT a.account_id FROM elsewhere_accounts a WHERE a.business_id = {business}.business_id"  # noqa: S608
            f" AND a.id = {system}), {system})")


def _check(connection: Any) -> None:
    """Add constraints on PostgreSQL. SQLite cannot add one to a referenced table, so triggers check the same there."""
    for table, name, rule in CHECKS:
        if connection.dialect.name == "postgresql":
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, rule)
            continue
        for verb in ("INSERT", "UPDATE"):
            new = rule
            for column in ("account_id", "collected_by", "held_by", "is_open"):
                new = new.replace(column, f"NEW.{column}")
            connection.exec_driver_sql(f"CREATE TRIGGER {table}_{name}_{verb.lower()} BEFORE {verb} ON {table} WHEN NOT ({new}) "
                                       f"BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: ck_{table}_{name}'); END")
