"""Add the outcome of each email, and when the email of a sign-in code was sent."""

import sqlalchemy as sa
from alembic import op

from core.models import UTCDateTime
from core.rls import statements

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "email_log",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("business_id", sa.String(), nullable=True),
        sa.Column("address_hash", sa.String(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("code", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("deferred_at", UTCDateTime(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email_log")),
    )
    op.create_index("ix_email_log_state", "email_log", ["state", "updated_at"], unique=False)
    op.create_index("ix_email_log_updated", "email_log", ["updated_at"], unique=False)
    op.create_index("ix_email_log_address", "email_log", ["address_hash", "created_at"], unique=False)
    op.create_index("ix_email_log_deferred", "email_log", ["deferred_at"], unique=False)
    op.add_column("challenges", sa.Column("sent_at", UTCDateTime(), nullable=True))
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in statements("email_log", None):
            connection.exec_driver_sql(statement)
