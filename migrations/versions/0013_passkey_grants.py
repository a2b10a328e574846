"""Record which passkey opened a session, so that removing the passkey ends the session."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("session_grants", sa.Column("passkey_id", sa.String(), nullable=True))
