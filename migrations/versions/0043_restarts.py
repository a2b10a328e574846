"""Add restarts of ended subscriptions, and the product that succeeds one that is no longer sold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.models import CustomerOwned, UTCDateTime
from core.rls import statements

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("products", sa.Column("successor_id", sa.String(), nullable=True))
    op.create_table(
        "restarts",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("subscription_id", sa.String(), nullable=False),
        sa.Column("new_subscription_id", sa.String(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("failed_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_restarts_business_id")),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id"],
            ["customers.business_id", "customers.customer_id"],
            name=op.f("fk_restarts_business_id_customer_id"),
        ),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id", "new_subscription_id"],
            ["subscriptions.business_id", "subscriptions.customer_id", "subscriptions.id"],
            name=op.f("fk_restarts_business_id_customer_id_new_subscription_id"),
        ),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id", "subscription_id"],
            ["subscriptions.business_id", "subscriptions.customer_id", "subscriptions.id"],
            name=op.f("fk_restarts_business_id_customer_id_subscription_id"),
        ),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_restarts")),
        sa.UniqueConstraint("business_id", "new_subscription_id", name=op.f("uq_restarts_business_id_new_subscription_id")),
    )
    op.create_index(
        "uq_restarts_open",
        "restarts",
        ["business_id", "subscription_id"],
        unique=True,
        sqlite_where=sa.text("failed_at IS NULL"),
        postgresql_where=sa.text("failed_at IS NULL"),
    )
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in statements("restarts", CustomerOwned):
            connection.exec_driver_sql(statement)
