"""Record when each recurring job last ran and last succeeded."""

import sqlalchemy as sa
from alembic import op

from core.models import UTCDateTime
from core.rls import statements

revision = "0026"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job_runs",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("ran_at", UTCDateTime(), nullable=False),
        sa.Column("succeeded_at", UTCDateTime(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_job_runs")),
    )
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in statements("job_runs", None):
            connection.exec_driver_sql(statement)
