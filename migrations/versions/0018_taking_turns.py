"""Add lanes so that businesses take turns, back-off for failed rows of recurring jobs, and lanes for app logouts.

Record who created each API key: a key ends with the membership of its creator.
"""

import sqlalchemy as sa
from alembic import op

from core.models import BusinessOwned, UTCDateTime
from core.rls import statements

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("lane", sa.String(), nullable=False, server_default="system"))
    op.create_index("ix_outbox_lane", "outbox", ["state", "lane", "due_at", "id"], unique=False)
    op.create_table(
        "job_failures",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("row_id", sa.String(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("retry_at", UTCDateTime(), nullable=False),
        sa.Column("failed_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.business_id"], name=op.f("fk_job_failures_business_id")),
        sa.PrimaryKeyConstraint("business_id", "id", name=op.f("pk_job_failures")),
    )
    op.create_index("ix_job_failures_retry", "job_failures", ["retry_at"], unique=False)
    op.add_column("app_sessions", sa.Column("logout_due_at", UTCDateTime(), nullable=True))
    op.add_column("app_sessions", sa.Column("logout_attempts", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("ix_app_sessions_logout", "app_sessions", ["business_id", "app_id", "logout_due_at"], unique=False)
    op.add_column("api_keys", sa.Column("created_by", sa.String(), nullable=True))
    op.add_column("provider_states", sa.Column("outcome", sa.String(), nullable=True))
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in statements("job_failures", BusinessOwned):
            connection.exec_driver_sql(statement)
    # rows of owned tables are guarded for the owner of the database too (FORCE): this transaction may see all of them
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
    _fill()


def _fill() -> None:
    """Fill the lanes of waiting work, the due logouts, and the creators of existing keys."""
    for statement in (
        "UPDATE outbox SET lane = CASE WHEN substr(type, 1, 5) = 'auth.' THEN 'auth' ELSE COALESCE(business_id, 'system') END WHERE state = 'pending'",
        "UPDATE app_sessions SET logout_due_at = left_at WHERE EXISTS (SELECT 1 FROM outbox WHERE outbox.type = 'app.session_left'"
        " AND outbox.state = 'pending' AND outbox.business_id = app_sessions.business_id AND outbox.noun_id = app_sessions.id)",
        "UPDATE api_keys SET created_by = (SELECT MAX(events.actor_id) FROM events WHERE events.business_id = api_keys.business_id"
        " AND events.noun_id = api_keys.id AND events.type = 'api_key.created' AND events.actor_type = 'staff')",
    ):
        op.get_bind().exec_driver_sql(statement)
