"""Store the address under which a customer paid or accepted. A business that changes the address is unrecognized under the new one."""

import sqlalchemy as sa
from alembic import op

from core.models import UTCDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("customers", sa.Column("known_key", sa.String(), nullable=True))
    op.add_column("customers", sa.Column("declined_key", sa.String(), nullable=True))
    op.add_column("customers", sa.Column("address_since", UTCDateTime(), nullable=True))
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
    _remember()


def _remember() -> None:
    """Fill the addresses. If the business changed a row's address, only answers since then count, not earlier payments."""
    row = sa.table("customers", *(sa.column(name) for name in (
        "business_id", "customer_id", "email_key", "known_key", "declined_key", "first_paid_at", "accepted_at", "declined_at", "address_since")))
    event = sa.table("events", *(sa.column(name) for name in ("business_id", "customer_id", "type", "at")))
    changed = sa.select(sa.func.max(event.c.at)).where(
        event.c.business_id == row.c.business_id, event.c.customer_id == row.c.customer_id, event.c.type == "customer.email_changed")
    run = op.get_bind().execute
    run(sa.update(row).values(address_since=changed.scalar_subquery()))
    run(sa.update(row).values(known_key=row.c.email_key).where(
        row.c.accepted_at.is_not(None) | (row.c.first_paid_at.is_not(None) & row.c.address_since.is_(None))))
    run(sa.update(row).values(declined_key=row.c.email_key).where(row.c.declined_at.is_not(None)))
