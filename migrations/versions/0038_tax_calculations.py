"""Add what a hosted tax calculator calculated for sales, and what it is told about them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.models import BusinessOwned, CustomerOwned, JSONType, UTCDateTime
from core.rls import statements

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tax_calculations",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("operation", sa.String(), nullable=False),
        sa.Column("payment_account_id", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("lines", JSONType, nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_tax_calculations_business_id")),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id"],
            ["customers.business_id", "customers.customer_id"],
            name=op.f("fk_tax_calculations_business_id_customer_id"),
        ),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_tax_calculations")),
        sa.UniqueConstraint("business_id", "operation", name=op.f("uq_tax_calculations_business_id_operation")),
    )
    op.create_table(
        "tax_reports",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("calculation_id", sa.String(), nullable=False),
        sa.Column("noun_id", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("line_references", JSONType, nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("reported_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_tax_reports_business_id")),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_tax_reports")),
    )
    op.create_index("ix_tax_reports_due", "tax_reports", ["business_id", "reported_at", "created_at"], unique=False)
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in (*statements("tax_calculations", CustomerOwned), *statements("tax_reports", BusinessOwned)):
            connection.exec_driver_sql(statement)
