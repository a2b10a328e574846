"""Index invoices by number alone, for people who recover their address with a receipt."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_invoices_number", "invoices", ["number"])
