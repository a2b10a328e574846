"""Add the offset of a test deployment's billing clock."""

import sqlalchemy as sa
from alembic import op

from core.models import UTCDateTime
from core.rls import statements

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "turned_clock",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("offset_us", sa.BigInteger(), nullable=False),
        sa.Column("goal", UTCDateTime(), nullable=True),
        sa.Column("left_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_turned_clock")),
    )
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in statements("turned_clock", None):
            connection.exec_driver_sql(statement)
