"""Add receipts of what customers, or businesses on their behalf, did with a subscription."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.models import CustomerOwned, JSONType, UTCDateTime
from core.rls import statements

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "receipts",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subscription_id", sa.String(), nullable=True),
        sa.Column("content", JSONType, nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("issued_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_receipts_business_id")),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id"],
            ["customers.business_id", "customers.customer_id"],
            name=op.f("fk_receipts_business_id_customer_id"),
        ),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id", "subscription_id"],
            ["subscriptions.business_id", "subscriptions.customer_id", "subscriptions.id"],
            name=op.f("fk_receipts_business_id_customer_id_subscription_id"),
        ),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_receipts")),
        sa.UniqueConstraint("business_id", "number", name=op.f("uq_receipts_business_id_number")),
    )
    op.create_index(
        "ix_receipts_subscription", "receipts", ["business_id", "subscription_id", "issued_at", "id"], unique=False
    )
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in statements("receipts", CustomerOwned):
            connection.exec_driver_sql(statement)
