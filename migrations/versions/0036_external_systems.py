"""Let a business be billed by several systems: the cursor of a pull as text, the account's own id, and the position in its events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.models import UTCDateTime

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("pull_cursors", sa.Column("cursor", sa.String(), nullable=True))
    op.execute("UPDATE pull_cursors SET cursor = CAST(page AS VARCHAR) WHERE page > 0")  # a pull that was interrupted continues
    op.add_column("external_accounts", sa.Column("reference", sa.String(), nullable=True))
    op.add_column("external_accounts", sa.Column("events_until", UTCDateTime(), nullable=True))
    op.add_column("external_accounts", sa.Column("events_due_at", UTCDateTime(), nullable=True))
