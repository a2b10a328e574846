"""Add changes of the price that existing subscribers pay."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.models import Catalogue, CustomerOwned, UTCDateTime
from core.rls import statements

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "price_changes",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("product_id", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("unit_minor", sa.BigInteger(), nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("effective_at", UTCDateTime(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("planned_at", UTCDateTime(), nullable=True),
        sa.Column("stopped_at", UTCDateTime(), nullable=True),
        sa.CheckConstraint("unit_minor >= 0", name=op.f("ck_price_changes_unit")),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_price_changes_business_id")),
        sa.ForeignKeyConstraint(["business_id", "product_id"], ["products.business_id", "products.id"],
                                name=op.f("fk_price_changes_business_id_product_id")),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_price_changes")),
    )
    op.create_index("ix_price_changes_product", "price_changes", ["business_id", "product_id", "created_at"], unique=False)
    running = sa.text("stopped_at IS NULL")
    op.create_index("ix_price_changes_running", "price_changes", ["business_id", "planned_at"], unique=False,
                    sqlite_where=running, postgresql_where=running)
    op.create_table(
        "subscription_price_changes",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("price_change_id", sa.String(), nullable=False),
        sa.Column("subscription_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("old_unit_minor", sa.BigInteger(), nullable=False),
        sa.Column("unit_minor", sa.BigInteger(), nullable=False),
        sa.Column("old_total_minor", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("needs_consent", sa.Boolean(), nullable=False),
        sa.Column("jurisdiction", sa.String(), nullable=True),
        sa.Column("announce_at", UTCDateTime(), nullable=False),
        sa.Column("announced_at", UTCDateTime(), nullable=True),
        sa.Column("applies_at", UTCDateTime(), nullable=False),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("answered_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_subscription_price_changes_business_id")),
        sa.ForeignKeyConstraint(["business_id", "customer_id"], ["customers.business_id", "customers.customer_id"],
                                name=op.f("fk_subscription_price_changes_business_id_customer_id")),
        sa.ForeignKeyConstraint(
            ["business_id", "customer_id", "subscription_id"],
            ["subscriptions.business_id", "subscriptions.customer_id", "subscriptions.id"],
            name=op.f("fk_subscription_price_changes_business_id_customer_id_subscription_id"),
        ),
        sa.ForeignKeyConstraint(["business_id", "price_change_id"], ["price_changes.business_id", "price_changes.id"],
                                name=op.f("fk_subscription_price_changes_business_id_price_change_id")),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_subscription_price_changes")),
        sa.UniqueConstraint("business_id", "price_change_id", "subscription_id",
                            name=op.f("uq_subscription_price_changes_business_id_price_change_id_subscription_id")),
    )
    is_open = sa.text("status IN ('planned', 'announced')")
    op.create_index("uq_subscription_price_changes_open", "subscription_price_changes", ["business_id", "subscription_id"], unique=True,
                    sqlite_where=is_open, postgresql_where=is_open)
    op.create_index("ix_subscription_price_changes_due", "subscription_price_changes", ["status", "announce_at"], unique=False)
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for table, kind in (("price_changes", Catalogue), ("subscription_price_changes", CustomerOwned)):
            for statement in statements(table, kind):
                connection.exec_driver_sql(statement)
