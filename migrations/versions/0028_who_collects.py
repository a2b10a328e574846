"""Record since when and why rows of jobs fail, and the progress of migration steps. Undecided subscriptions wait for the business.

Up to version 0022 an account that was read over the network could set `collected_by: us`, so its subscriptions were also charged here.
Revision 0023 took those rows for local ones. Their events show that they were imported, and no source reports them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.engine import Connection

from core.migration_steps import RowBatch, FillStep, IndexStep, NotNullStep
from core.models import UTCDateTime
from core.rls import statements

revision = "0028"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "migration_steps",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("after", sa.String(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("done_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_migration_steps")),
    )
    op.add_column("job_failures", sa.Column("sentence", sa.String(), nullable=False, server_default=""))
    op.add_column("job_failures", sa.Column("began_at", UTCDateTime(), nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        for statement in statements("migration_steps", None):
            op.get_bind().exec_driver_sql(statement)


def _began(connection: Connection, batch: RowBatch) -> int:
    return connection.execute(sa.text(f"UPDATE job_failures SET began_at = failed_at WHERE {batch.where} AND began_at IS NULL"),
                              batch.params).rowcount


def _undecided(connection: Connection, batch: RowBatch) -> int:
    of = "business_id = subscriptions.business_id"
    return connection.execute(sa.text(
        f"UPDATE subscriptions SET collected_by = 'undecided', version = version + 1 WHERE {batch.where}"
        " AND collected_by = 'us' AND account_id IS NULL AND status IN ('active', 'on_hold', 'past_due', 'paused')"
        f" AND EXISTS (SELECT 1 FROM events e WHERE e.{of} AND e.noun_id = subscriptions.id AND e.type = 'subscription.loaded')"
        f" AND NOT EXISTS (SELECT 1 FROM source_ids s WHERE s.{of} AND s.kind = 'subscription' AND s.row_id = subscriptions.id)"),
        batch.params).rowcount


steps = (
    FillStep("began_at", "job_failures", ("business_id", "id"), _began),
    NotNullStep("began_at is set", "job_failures", "began_at"),
    FillStep("undecided", "subscriptions", ("business_id", "id"), _undecided,
         report="{rows} subscriptions are billed by another system, and an earlier version would have charged them here as well. "
                "Nobody is charged for them here until the business decides (console: Sales, Subscriptions)."),
    IndexStep("ix_subscriptions_undecided", "subscriptions", ("business_id", "id"), where="collected_by = 'undecided'"),
)
