"""Add consumer or business to customers, and to subscriptions and payments as it was when the contract was concluded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("customers", sa.Column("customer_type", sa.String(), nullable=True))
    op.add_column("customers", sa.Column("customer_type_by", sa.String(), nullable=True))
    op.add_column("subscriptions", sa.Column("customer_type", sa.String(), nullable=True))
    op.add_column("payments", sa.Column("customer_type", sa.String(), nullable=True))
