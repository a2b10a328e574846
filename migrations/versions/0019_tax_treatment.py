"""Add the tax treatment of each line, credit lines, and the tax at which unused credit was paid."""

import sqlalchemy as sa
from alembic import op

from core.models import JSONType

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("quotes", sa.Column("credit_parts", JSONType, nullable=True))
    with op.batch_alter_table("invoice_lines") as lines:
        lines.add_column(sa.Column("kind", sa.String(), nullable=False, server_default="item"))
        lines.add_column(sa.Column("tax_code", sa.String(), nullable=True))
        lines.add_column(sa.Column("tax_reason", sa.String(), nullable=True))
        lines.drop_constraint(op.f("ck_invoice_lines_line_refunds"), type_="check")
        lines.create_check_constraint(
            op.f("ck_invoice_lines_line_refunds"), "refunded_minor = 0 OR (refunded_minor > 0 AND refunded_minor <= net_minor + tax_minor)")
    _treat()


def _treat() -> None:
    """Set the tax category of lines with tax. The reason is unknown for lines without tax."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
    line = sa.table("invoice_lines", sa.column("tax_code"), sa.column("tax_bps"))
    connection.execute(sa.update(line).where(line.c.tax_bps > 0).values(tax_code="S"))
