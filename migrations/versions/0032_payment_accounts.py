"""Add payment accounts of businesses. In test mode each business gets an account at the sandbox, which has all its payments so far.

In live mode no business has an account yet: nothing could be charged before, and the business connects its account in the console.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.engine import Connection

from core.migration_steps import DropUniqueStep, FillStep, IndexStep, RowBatch
from core.models import BusinessOwned, Catalogue, CustomerOwned, JSONType, UTCDateTime
from core.rls import statements

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

KINDS = {
    "payment_accounts": Catalogue,
    "payment_account_details": BusinessOwned,
    "processor_customers": CustomerOwned,
    "processor_calls": BusinessOwned,
}
_IS_TEST = "EXISTS (SELECT 1 FROM deployment WHERE mode = 'test')"


def upgrade() -> None:
    op.create_table(
        "payment_accounts",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("currencies", JSONType, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_payment_accounts_business_id")),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_payment_accounts")),
    )
    op.create_table(
        "payment_account_details",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("sealed_key", sa.String(), nullable=False),
        sa.Column("sealed_webhook_secret", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("api_version", sa.String(), nullable=False),
        sa.Column("last_answer_at", UTCDateTime(), nullable=True),
        sa.Column("last_event_at", UTCDateTime(), nullable=True),
        sa.Column("last_failure_at", UTCDateTime(), nullable=True),
        sa.Column("last_failure", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_payment_account_details_business_id")),
        sa.ForeignKeyConstraint(["business_id", "id"], ["payment_accounts.business_id", "payment_accounts.id"],
                                name=op.f("fk_payment_account_details_business_id_id")),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_payment_account_details")),
    )
    op.create_table(
        "processor_customers",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("payment_account_id", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["business_id", "customer_id"], ["customers.business_id", "customers.customer_id"],
                                name=op.f("fk_processor_customers_business_id_customer_id")),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_processor_customers_business_id")),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_processor_customers")),
        sa.UniqueConstraint("business_id", "customer_id", "payment_account_id",
                            name=op.f("uq_processor_customers_business_id_customer_id_payment_account_id")),
    )
    op.create_table(
        "processor_calls",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("payment_account_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("customer_reference", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("sent_at", UTCDateTime(), nullable=True),
        sa.Column("cancelled_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_processor_calls_business_id")),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_processor_calls")),
    )
    op.create_index("ix_processor_calls_reference", "processor_calls", ["business_id", "payment_account_id", "reference"], unique=False)
    for table in ("payments", "payment_methods", "refunds", "gateway_notifications"):
        op.add_column(table, sa.Column("payment_account_id", sa.String(), nullable=True))
    op.add_column("gateway_notifications", sa.Column("reference", sa.String(), nullable=True))
    op.add_column("payments", sa.Column("hosted_until", UTCDateTime(), nullable=True))
    op.add_column("payments", sa.Column("working_days", sa.BigInteger(), nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        for table, kind in KINDS.items():
            for statement in statements(table, kind):
                op.get_bind().exec_driver_sql(statement)


def _accounts(connection: Connection, batch: RowBatch) -> int:
    """Give each business of a test deployment the account that `add_sandbox_account` gives to new ones."""
    new = f"FROM businesses b WHERE {batch.where} AND {_IS_TEST}"
    lacking = "AND NOT EXISTS (SELECT 1 FROM {} a WHERE a.business_id = b.business_id)"
    id_ = "'pac_' || CASE WHEN substr(b.business_id, 1, 4) = 'bus_' THEN substr(b.business_id, 5) ELSE b.business_id END"
    empty = "'[]'::jsonb" if connection.dialect.name == "postgresql" else "'[]'"
    made = connection.execute(sa.text(
        "INSERT INTO payment_accounts (business_id, id, kind, currencies, state, is_default, created_at)"
        f" SELECT b.business_id, {id_}, 'sandbox', {empty}, 'open', true, b.created_at {new} {lacking.format('payment_accounts')}"),
        batch.params).rowcount
    connection.execute(sa.text(
        "INSERT INTO payment_account_details (business_id, id, label, sealed_key, sealed_webhook_secret, external_id, api_version)"
        f" SELECT b.business_id, {id_}, 'Sandbox', '', '', '', '' {new} {lacking.format('payment_account_details')}"), batch.params)
    return made


def _assign(table: str, condition: str):  # type: ignore[no-untyped-def]
    """Return the change that assigns the rows of a table that were charged here to the account of their business."""

    def change(connection: Connection, batch: RowBatch) -> int:
        account = f"(SELECT a.id FROM payment_accounts a WHERE a.business_id = {table}.business_id AND a.kind = 'sandbox')"
        return connection.execute(sa.text(
            f"UPDATE {table} SET payment_account_id = {account} WHERE {batch.where} AND {condition} AND payment_account_id IS NULL"
            f" AND EXISTS (SELECT 1 FROM payment_accounts a WHERE a.business_id = {table}.business_id AND a.kind = 'sandbox')"),
            batch.params).rowcount

    return change


KEY = ("business_id", "id")
steps = (
    FillStep("accounts", "businesses", ("business_id",), _accounts, size=500),
    FillStep("payments", "payments", KEY, _assign("payments", "account_id IS NULL")),
    FillStep("payment_methods", "payment_methods", KEY, _assign("payment_methods", "held_by = 'us'")),
    FillStep("refunds", "refunds", KEY, _assign("refunds", "account_id IS NULL")),
    IndexStep("uq_payment_methods_account_reference", "payment_methods", ("business_id", "payment_account_id", "reference"), unique=True),
    DropUniqueStep("reference key", "payment_methods", "uq_payment_methods_business_id_reference"),
    IndexStep("ix_payments_reference", "payments", ("business_id", "payment_account_id", "gateway_reference")),
    IndexStep("ix_payments_account", "payments", ("payment_account_id", "is_open")),
)
