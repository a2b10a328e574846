"""Record when an external account last answered, and its last failure."""

import sqlalchemy as sa
from alembic import op

from core.models import UTCDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("elsewhere_accounts", sa.Column("heard_at", UTCDateTime(), nullable=True))
    op.add_column("elsewhere_accounts", sa.Column("failed_at", UTCDateTime(), nullable=True))
    op.add_column("elsewhere_accounts", sa.Column("failure", sa.String(), nullable=True))
