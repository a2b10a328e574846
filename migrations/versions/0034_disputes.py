"""Add disputes, what a refund was allocated to, and when a refund failed that had succeeded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.models import CustomerOwned, JSONType, UTCDateTime
from core.rls import statements

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("refunds", sa.Column("allocated", JSONType, nullable=True))
    op.add_column("refunds", sa.Column("failed_at", UTCDateTime(), nullable=True))
    op.add_column("payments", sa.Column("disputed_minor", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "disputes",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("payment_id", sa.String(), nullable=False),
        sa.Column("invoice_id", sa.String(), nullable=True),
        sa.Column("subscription_id", sa.String(), nullable=True),
        sa.Column("brand_id", sa.String(), nullable=False),
        sa.Column("payment_account_id", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("is_debit_return", sa.Boolean(), nullable=False),
        sa.Column("answer_by", UTCDateTime(), nullable=True),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("withdrawn", JSONType, nullable=True),
        sa.Column("taken_minor", sa.BigInteger(), nullable=False),
        sa.Column("taken_at", UTCDateTime(), nullable=True),
        sa.Column("has_paused", sa.Boolean(), nullable=False),
        sa.Column("closed_at", UTCDateTime(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_disputes_amount")),
        sa.CheckConstraint("taken_minor >= 0 AND taken_minor <= amount_minor", name=op.f("ck_disputes_taken")),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_disputes_business_id")),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id"],
            ["customers.business_id", "customers.customer_id"],
            name=op.f("fk_disputes_business_id_customer_id"),
        ),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id", "payment_id"],
            ["payments.business_id", "payments.customer_id", "payments.id"],
            name=op.f("fk_disputes_business_id_customer_id_payment_id"),
        ),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id", "invoice_id"],
            ["invoices.business_id", "invoices.customer_id", "invoices.id"],
            name=op.f("fk_disputes_business_id_customer_id_invoice_id"),
        ),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id", "subscription_id"],
            ["subscriptions.business_id", "subscriptions.customer_id", "subscriptions.id"],
            name=op.f("fk_disputes_business_id_customer_id_subscription_id"),
        ),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_disputes")),
        sa.UniqueConstraint("business_id", "payment_account_id", "reference", name=op.f("uq_disputes_business_id_payment_account_id_reference")),
    )
    op.create_index("ix_disputes_created", "disputes", ["business_id", "created_at", "id"], unique=False)
    op.create_index("ix_disputes_payment", "disputes", ["business_id", "payment_id"], unique=False)
    op.create_index("ix_disputes_customer", "disputes", ["business_id", "customer_id", "created_at"], unique=False)
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in statements("disputes", CustomerOwned):
            connection.exec_driver_sql(statement)
