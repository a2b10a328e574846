"""Add reconciliation exceptions, and indexes for the lists of a business."""

import sqlalchemy as sa
from alembic import op

from core.models import BusinessOwned, UTCDateTime
from core.rls import statements

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "parked_money",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("noun", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("theirs_minor", sa.BigInteger(), nullable=True),
        sa.Column("theirs_currency", sa.String(), nullable=True),
        sa.Column("noted_at", UTCDateTime(), nullable=False),
        sa.Column("closed_at", UTCDateTime(), nullable=True),
        sa.Column("note", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_parked_money_business_id")),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_parked_money")),
    )
    op.create_index("ix_parked_money_open", "parked_money", ["business_id", "closed_at", "noted_at"], unique=False)
    op.create_index("ix_refunds_created", "refunds", ["business_id", "created_at", "id"], unique=False)
    op.create_index("ix_events_business", "events", ["business_id", "at", "id"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        for statement in statements("parked_money", BusinessOwned):
            op.get_bind().exec_driver_sql(statement)
