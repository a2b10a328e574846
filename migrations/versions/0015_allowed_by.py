"""Record who gave a consent, because the customer row may get another holder. Earlier consents are requested again."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("app_consents", sa.Column("given_by", sa.String(), nullable=True))
