"""Add the files with which staff move saved payment methods to another account."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.models import BusinessOwned, JSONType, UTCDateTime
from core.rls import statements

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

ACCOUNT = ["payment_accounts.business_id", "payment_accounts.id"]


def upgrade() -> None:
    op.create_table(
        "method_move_files",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("to_account_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("lines", JSONType, nullable=False),
        sa.Column("moves", JSONType, nullable=False),
        sa.Column("line_count", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("moved_before", sa.BigInteger(), nullable=False),
        sa.Column("move_count", sa.BigInteger(), nullable=False),
        sa.Column("problems", JSONType, nullable=False),
        sa.Column("due_at", UTCDateTime(), nullable=True),
        sa.Column("checked_at", UTCDateTime(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_method_move_files_business_id")),
        sa.ForeignKeyConstraint(["business_id", "id"], ACCOUNT, name=op.f("fk_method_move_files_business_id_id")),
        sa.ForeignKeyConstraint(["business_id", "to_account_id"], ACCOUNT, name=op.f("fk_method_move_files_business_id_to_account_id")),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_method_move_files")),
    )
    op.create_index("ix_method_move_files_due", "method_move_files", ["due_at"], unique=False)
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in statements("method_move_files", BusinessOwned):
            connection.exec_driver_sql(statement)
