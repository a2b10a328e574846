"""Mark the refunds that customers made themselves under the refund policy of the business."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("refunds", sa.Column("by_policy", sa.Boolean(), nullable=False, server_default=sa.false()))
