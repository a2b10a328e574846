"""Add statements: cancellations declared without signing in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.models import BusinessOwned, UTCDateTime
from core.rls import statements

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "statements",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("email_key", sa.String(), nullable=False),
        sa.Column("contract", sa.String(), nullable=False),
        sa.Column("is_for_cause", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("wanted_at", UTCDateTime(), nullable=True),
        sa.Column("declared", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("received_at", UTCDateTime(), nullable=False),
        sa.Column("answer_by", UTCDateTime(), nullable=False),
        sa.Column("matched_by", sa.String(), nullable=True),
        sa.Column("customer_id", sa.String(), nullable=True),
        sa.Column("subscription_id", sa.String(), nullable=True),
        sa.Column("ends_at", UTCDateTime(), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("decided_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_statements_business_id")),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id", "subscription_id"],
            ["subscriptions.business_id", "subscriptions.customer_id", "subscriptions.id"],
            name=op.f("fk_statements_business_id_customer_id_subscription_id"),
        ),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_statements")),
        sa.UniqueConstraint("business_id", "number", name=op.f("uq_statements_business_id_number")),
    )
    op.create_index("ix_statements_received", "statements", ["business_id", "received_at", "id"], unique=False)
    op.create_index("ix_statements_status", "statements", ["business_id", "status", "received_at"], unique=False)
    op.create_index("ix_statements_planned", "statements", ["status", "business_id"], unique=False)
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in statements("statements", BusinessOwned):
            connection.exec_driver_sql(statement)
