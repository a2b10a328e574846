"""Who allowed an app to learn something: the row may have another holder later. What was allowed before is asked once more."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("app_consents", sa.Column("given_by", sa.String(), nullable=True))
